//! What this machine offers: its kinds of sandbox, how strong each is and why, and which one an execution gets.

use std::path::PathBuf;
use std::sync::Arc;

use shared_contracts::containers::ContainerCleanup;
use shared_contracts::sandboxes::{
    Finding, OfferedSandbox, SandboxNeed, SandboxProvider, SandboxTier, fitting,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::config::Settings;
use crate::doctor::{self, Examined};
use crate::images::{Fault, Image, ImageLimits, ImageReference, Images, ReferenceError};
use crate::run;
use crate::sandbox::Provider;
use crate::sandbox::namespaces::Namespaces;
use crate::sandbox::namespaces::warm::Warm;
use crate::sandbox::oci::{IsHeld, Oci};

/// The image that is this machine's own programs.
pub const HOST: &str = "host";

/// Whether an image is made of this machine's own files, and so nothing that an engine could run.
pub fn is_of_this_machine(image: &str) -> bool {
    image == HOST || image.starts_with("dir:") || image.starts_with("tar:")
}

/// Whether it is an image, or a pattern of such, that needs no engine.
pub fn is_understood(image: &str) -> bool {
    image == "*" || image.ends_with("/*") || image.parse::<ImageReference>().is_ok()
}

/// The strongest of these.
pub fn strongest(sandboxes: &[OfferedSandbox]) -> SandboxTier {
    sandboxes.iter().map(|sandbox| sandbox.tier).max().unwrap_or(SandboxTier::None)
}

/// Every kind of sandbox that was looked for here.
pub struct Offer {
    namespaces: Namespaces,
    engine: Option<Oci>,
    images: Images,
    pub sandboxes: Vec<OfferedSandbox>,
}

/// The sandbox that one execution gets.
pub struct Chosen<'a> {
    pub provider: &'a dyn Provider,
    pub kind: SandboxProvider,
    /// Its name.
    pub image: String,
    /// What the back end mounts or runs for it; none is the machine's own programs.
    pub mounted: Option<PathBuf>,
    /// What the image wants in its environment.
    pub environment: Vec<(String, String)>,
    /// Stays on this machine as long as this does.
    _unpacked: Option<Image>,
}

/// The store of unpacked images below the state directory.
pub fn open_images(settings: &Settings) -> Result<Images, Fault> {
    let store_bytes_max = settings.image_store_mb.saturating_mul(1024 * 1024);
    let limits = ImageLimits { store_bytes_max, ..ImageLimits::default() };
    Images::open(&settings.state_dir.join("images"), limits, settings.registries.clone())
}

impl Offer {
    /// Call it with the state directory's lock held. Needs tokio's runtime.
    pub fn new(
        settings: &Settings,
        instance: String,
        Examined { sandboxes, engine }: Examined,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let images = open_images(settings)?;
        let engine = engine.map(|engine| engine.of_instance(instance.clone()));
        let mut namespaces = run::provider(settings, instance, &settings.state_dir);
        if settings.warm_slots > 0 {
            let warm = Warm::new(settings.warm_slots, &settings.state_dir.join("warm"))?;
            tokio::spawn(Arc::clone(&warm).keep(namespaces.clone()));
            namespaces.warm = Some(warm);
        }
        Ok(Self { namespaces, engine, images, sandboxes })
    }

    /// What waits goes. Call it when nothing runs any more.
    pub async fn close(&self) {
        self.namespaces.close().await;
    }

    /// The strongest that it has.
    pub fn tier(&self) -> SandboxTier {
        strongest(&self.sandboxes)
    }

    /// Removes containers that nobody looks after.
    pub async fn sweep(&self, is_held: &IsHeld) -> Vec<ContainerCleanup> {
        let Some(engine) = &self.engine else { return Vec::new() };
        engine.sweep(is_held).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "containers could not be looked through");
            Vec::new()
        })
    }

    /// The same every five minutes, for as long as anybody listens.
    pub async fn keep_clean(&self, is_held: &IsHeld, told: UnboundedSender<ContainerCleanup>) {
        if let Some(engine) = &self.engine {
            engine.keep_clean(is_held, told).await;
        }
    }

    /// The plane offers only what fits, as far as it knows; this machine knows better.
    pub async fn choose(&self, need: &SandboxNeed) -> Result<Chosen<'_>, String> {
        let Some(sandbox) = fitting(&self.sandboxes, need) else { return Err(self.refusal(need)) };
        let image = need.image.clone().or_else(|| sandbox.images.first().cloned());
        let image = image.filter(|image| !image.ends_with('*')).unwrap_or_else(|| HOST.to_owned());
        if let (SandboxProvider::Oci, Some(engine)) = (sandbox.provider, &self.engine) {
            // The engine keeps and knows its images itself.
            let environment =
                engine.image_environment(Some(&image)).await.map_err(|error| error.to_string())?;
            let mounted = Some(PathBuf::from(&image));
            let kind = sandbox.provider;
            return Ok(Chosen { provider: engine, kind, image, mounted, environment, _unpacked: None });
        }
        let reference = image.parse().map_err(|error: ReferenceError| error.to_string())?;
        let unpacked = self.images.get(&reference).await.map_err(|error| error.to_string())?;
        Ok(Chosen {
            provider: &self.namespaces,
            kind: sandbox.provider,
            image,
            mounted: unpacked.root.clone(),
            environment: unpacked.environment.clone(),
            _unpacked: Some(unpacked),
        })
    }

    fn refusal(&self, need: &SandboxNeed) -> String {
        let wanted = [
            Some(format!("a sandbox that is at least `{}`", need.tier.as_str())),
            need.provider.map(|provider| format!("of `{}`", provider.as_str())),
            need.image.as_ref().map(|image| format!("with the image `{image}`")),
        ];
        let has = self.sandboxes.iter().map(|sandbox| {
            let (provider, tier) = (sandbox.provider.as_str(), sandbox.tier.as_str());
            format!("`{provider}` is `{tier}` ({}), images: {}", sandbox.reason, sandbox.images.join(", "))
        });
        let wanted: Vec<_> = wanted.into_iter().flatten().collect();
        format!("it needs {}; here {}", wanted.join(" "), has.collect::<Vec<_>>().join("; "))
    }
}

/// What `doctor` found of one kind, as it is told to the plane.
pub fn offered(
    provider: SandboxProvider,
    tier: SandboxTier,
    findings: Vec<Finding>,
    images: Vec<String>,
) -> OfferedSandbox {
    let reason = doctor::reason(tier, &findings);
    OfferedSandbox { provider, tier, reason, images, findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_says_what_was_wanted_and_what_is_here() {
        let directory = tempfile::tempdir().unwrap();
        let flags = crate::config::Flags { state_dir: Some(directory.path().into()), ..Default::default() };
        let settings = Settings::load(&flags).unwrap();
        let strong =
            offered(SandboxProvider::Namespaces, SandboxTier::Limited, Vec::new(), vec![HOST.into()]);
        let examined = Examined { sandboxes: vec![strong], engine: None };
        let offer = Offer::new(&settings, "0123456789ab".into(), examined).unwrap();
        let need =
            SandboxNeed { tier: SandboxTier::Strong, provider: None, image: Some("a@sha256:0".into()) };
        let text = offer.refusal(&need);
        for part in
            ["at least `strong`", "the image `a@sha256:0`", "`namespaces` is `limited`", "images: host"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
