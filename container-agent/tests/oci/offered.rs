//! What `doctor` says of an engine, and what is refused with a reason.

use container_agent::sandbox::SandboxError;
use container_agent::sandbox::oci::{EngineSetting, Settings, probe};
use shared_contracts::sandboxes::{Finding, SandboxTier, Verdict};

use crate::engines::{Engine, Kind};
use crate::world::World;

fn row<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
    findings
        .iter()
        .find(|finding| finding.what == what)
        .unwrap_or_else(|| panic!("no row {what}: {findings:?}"))
}

pub async fn the_doctor_tries_a_container(engine: &Engine) {
    let state = tempfile::tempdir().unwrap();
    let settings = engine.settings("0123456789ab");
    let (tier, findings) = probe::probe(settings.clone(), state.path()).await;
    assert_eq!(tier, SandboxTier::Engine, "{findings:#?}");
    let name = match engine.kind {
        Kind::Docker => "docker 20.",
        Kind::Podman => "podman 4.",
    };
    assert!(row(&findings, "engine").found.starts_with(name), "{findings:#?}");
    assert!(row(&findings, "container").found.contains("patchbay-test:latest ran in "), "{findings:#?}");
    // Without an image nothing is tried, and that is said.
    let (tier, findings) = probe::probe(Settings { image: None, ..settings.clone() }, state.path()).await;
    assert_eq!((tier, row(&findings, "image").verdict), (SandboxTier::Engine, Verdict::Limited));
    // An image that is not there is no sandbox.
    let settings = Settings { image: Some("nothing-like-it:1".into()), ..settings };
    let (tier, findings) = probe::probe(settings.clone(), state.path()).await;
    let found = &row(&findings, "container").found;
    assert!(
        tier == SandboxTier::None && found.contains("nothing-like-it:1") && found.contains("pull"),
        "{found}"
    );
    // Neither is an engine that is off, or not there.
    for (engine, says) in [
        (EngineSetting::Off, "engine = \"off\""),
        (EngineSetting::Socket(state.path().join("nobody")), "does not answer"),
    ] {
        let (tier, findings) = probe::probe(Settings { engine, ..settings.clone() }, state.path()).await;
        let row = row(&findings, "engine");
        assert!(tier == SandboxTier::None && row.found.contains(says) && !row.fix.is_empty(), "{row:?}");
    }
}

pub async fn an_image_that_cannot_be_had_is_named(engine: &Engine) {
    let world = World::new(engine).await;
    let digest = "0".repeat(64);
    let nowhere = format!("127.0.0.1:1/nothing@sha256:{digest}");
    for (image, says) in
        [("nothing-like-it:1", "or name it by its digest"), (&nowhere, "could not pull the image")]
    {
        let mut spec = world.spec("true");
        spec.mounts.image = Some(image.into());
        let Err(SandboxError::Setup(text)) = world.prepare(spec).await.map(drop) else { panic!("{image}") };
        assert!(text.contains(image) && text.contains(says), "{text}");
    }
    let mut spec = world.spec("true");
    spec.directory = world.state.path().join("a:b");
    let Err(SandboxError::Setup(text)) = world.prepare(spec).await.map(drop) else { panic!("it was made") };
    assert!(text.contains("has `:` in it"), "{text}");
    world.assert_clean(engine).await;
}
