//! The wire form, pinned: what is written here has been said to somebody, so a change of these files is a change of
//! the protocol. `UPDATE_GOLDEN=1 cargo test -p shared-contracts` writes them anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

mod containers;
mod messages;
mod patch_requests;
mod records;

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_contracts::dispatch::*;
use shared_contracts::events::*;
use shared_contracts::executions::*;
use shared_contracts::ids::*;
use shared_contracts::patches::*;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::sandboxes::{Finding, OfferedSandbox, SandboxProvider, SandboxTier, Verdict};

const AT_MS: u64 = 1_795_000_000_000;

fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let pinned = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, pinned, "the wire form of {name} has changed");
    assert_eq!(&serde_json::from_str::<T>(&pinned).unwrap(), value, "{name} does not read back");
}

fn offered() -> Vec<OfferedSandbox> {
    let missing = Finding {
        what: "engine".into(),
        verdict: Verdict::Missing,
        found: "nothing listens at /run/docker.sock".into(),
        meaning: "there is no Docker or Podman".into(),
        fix: "install one, or leave it".into(),
    };
    let of = |provider, tier, reason: &str, images: &[&str], findings| OfferedSandbox {
        provider,
        tier,
        reason: reason.into(),
        images: images.iter().map(|image| (*image).to_owned()).collect(),
        findings,
    };
    vec![
        of(
            SandboxProvider::Namespaces,
            SandboxTier::Strong,
            "every wall and every limit stands",
            &["host", "*"],
            Vec::new(),
        ),
        of(SandboxProvider::Oci, SandboxTier::None, "there is no Docker or Podman", &[], vec![missing]),
    ]
}

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).unwrap()
}

fn lease() -> Lease {
    Lease { execution_id: ExecutionId::new(AT_MS, 1), generation: 2 }
}

fn spec() -> ExecutionSpec {
    ExecutionSpec {
        coding_agent: CodingAgent::Command,
        command: vec!["bash".into(), "-c".into(), "true".into()],
        environment: BTreeMap::from([("LANG".into(), "C.UTF-8".into())]),
        limits: Limits::default(),
        artifacts: vec!["report/**".into()],
        archive_artifacts: true,
        sandbox_tier: SandboxTier::Strong,
        sandbox_provider: None,
        image: None,
        terminal: None,
        secrets: Vec::new(),
        base_revision: 3,
    }
}

proptest! {
    #[test]
    fn log_lines_survive_the_wire(text in ".*", continues: bool, sequence in 1u64..(1 << 53)) {
        let body = EventBody::Log { level: LogLevel::Info, stream: LogStream::Stdout, text, continues };
        let event = Event { sequence, generation: 1, at_ms: AT_MS, source: EventSource::Agent, body };
        let json = serde_json::to_string(&event).unwrap();
        prop_assert!(!json.contains('\n'), "one event is one line");
        prop_assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn contents_survive_the_wire(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let json = serde_json::to_string(&Content::from_bytes(&bytes)).unwrap();
        prop_assert_eq!(serde_json::from_str::<Content>(&json).unwrap().to_bytes().unwrap(), bytes);
    }
}
