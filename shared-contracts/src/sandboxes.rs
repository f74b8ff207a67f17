//! Sandboxes: what a machine offers, what an execution may ask for.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::limits::{FINDING_BYTES_MAX, FINDINGS_MAX, IMAGE_BYTES_MAX, IMAGES_OFFERED_MAX};
use crate::text::one_line;

/// How strong a machine's sandbox is; the order is the strength.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SandboxTier {
    /// No isolation to speak of. Never offered work unless it asks for `none`.
    None,
    /// A container of Docker or Podman: their walls, and a daemon beside them that is as strong as root.
    Engine,
    /// Every wall of the agent's own sandbox stands, but some limit cannot be enforced on this machine.
    #[default]
    Limited,
    /// Every wall and every limit.
    Strong,
}

impl SandboxTier {
    pub const ALL: [Self; 4] = [Self::None, Self::Engine, Self::Limited, Self::Strong];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Engine => "engine",
            Self::Limited => "limited",
            Self::Strong => "strong",
        }
    }
}

/// What makes the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SandboxProvider {
    /// The container agent itself, from the kernel's namespaces; nothing needs to be installed.
    Namespaces,
    /// Docker or Podman on the machine.
    Oci,
}

impl SandboxProvider {
    pub const ALL: [Self; 2] = [Self::Namespaces, Self::Oci];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Oci => "oci",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    Good,
    /// Works, with something less.
    Limited,
    /// No sandbox without it.
    Missing,
}

/// One row of `patchbay-agent doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    #[garde(length(bytes, min = 1, max = FINDING_BYTES_MAX))]
    pub what: String,
    #[garde(skip)]
    pub verdict: Verdict,
    #[garde(length(bytes, max = FINDING_BYTES_MAX))]
    pub found: String,
    #[garde(length(bytes, max = FINDING_BYTES_MAX))]
    pub meaning: String,
    /// Empty where nothing needs fixing.
    #[garde(length(bytes, max = FINDING_BYTES_MAX))]
    pub fix: String,
}

/// A kind of sandbox on one machine, whether it can be used or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OfferedSandbox {
    #[garde(skip)]
    pub provider: SandboxProvider,
    /// `none` where it cannot be used.
    #[garde(skip)]
    pub tier: SandboxTier,
    /// Why it is of this tier.
    #[garde(length(bytes, max = FINDING_BYTES_MAX))]
    pub reason: String,
    /// Images it runs; the first is used where an execution names none. `*` stands for any image of a registry that is
    /// named by its digest, `registry.example.com/team/*` for any of those below that.
    #[garde(length(max = IMAGES_OFFERED_MAX), inner(length(bytes, min = 1, max = IMAGE_BYTES_MAX), custom(one_line)))]
    pub images: Vec<String>,
    /// What was looked at, for `doctor` and for people who ask why.
    #[garde(length(max = FINDINGS_MAX), dive)]
    pub findings: Vec<Finding>,
}

/// What of a sandbox an execution needs. The lease goes to a container agent that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxNeed {
    /// The weakest that will do.
    pub tier: SandboxTier,
    /// Any unless given.
    pub provider: Option<SandboxProvider>,
    /// The machine's first unless given.
    pub image: Option<String>,
}

impl OfferedSandbox {
    /// That of a container agent that says no more than its tier.
    pub fn of_tier(tier: SandboxTier) -> Self {
        Self {
            provider: SandboxProvider::Namespaces,
            tier,
            reason: "Its container agent says no more than this; a newer one says why".into(),
            images: vec!["host".into()],
            findings: Vec::new(),
        }
    }

    pub fn has(&self, need: &SandboxNeed) -> bool {
        // One that cannot be used runs no image at all.
        !self.images.is_empty()
            && self.tier >= need.tier
            && need.provider.is_none_or(|provider| provider == self.provider)
            && need.image.as_deref().is_none_or(|image| self.runs(image))
    }

    fn runs(&self, image: &str) -> bool {
        let by_digest = image.contains("@sha256:");
        self.images.iter().any(|offered| {
            let below = offered.strip_suffix('*').filter(|prefix| prefix.is_empty() || prefix.ends_with('/'));
            offered == image || (by_digest && below.is_some_and(|prefix| image.starts_with(prefix)))
        })
    }
}

/// The strongest of these that has what is needed.
pub fn fitting<'a>(offered: &'a [OfferedSandbox], need: &SandboxNeed) -> Option<&'a OfferedSandbox> {
    offered.iter().filter(|sandbox| sandbox.has(need)).max_by_key(|sandbox| sandbox.tier)
}

/// A kind of sandbox, over all container agents that this owner may use: what a person can choose from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxKind {
    pub id: SandboxProvider,
    pub name: String,
    pub description: String,
    /// Of all connected container agents together, sorted.
    pub supported_images: Vec<String>,
    /// None where machines differ in it.
    pub default_image: Option<String>,
    /// The strongest tier that is connected.
    pub tier: SandboxTier,
    /// Executions at once, over all of them.
    pub max_concurrent: u32,
    /// The most that one machine gives an execution.
    pub resource_limits: SandboxMaxima,
    /// Whether a connected container agent has it.
    pub is_available: bool,
    /// Whether it needs to be set up on the machine.
    pub requires_config: bool,
    /// Why it is not available, or is less than strong.
    pub reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxMaxima {
    pub memory_mb: u32,
    pub cpu_cores: f64,
    pub wall_seconds: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxKinds {
    pub items: Vec<SandboxKind>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(provider: SandboxProvider, tier: SandboxTier, images: &[&str]) -> OfferedSandbox {
        let images = images.iter().map(|image| (*image).to_owned()).collect();
        OfferedSandbox { provider, tier, reason: String::new(), images, findings: Vec::new() }
    }

    #[test]
    fn the_strongest_that_has_everything_is_taken() {
        let machine = [
            offered(SandboxProvider::Oci, SandboxTier::Engine, &["debian", "a/*"]),
            offered(SandboxProvider::Namespaces, SandboxTier::Strong, &["host"]),
        ];
        let need = |tier, provider, image: Option<&str>| SandboxNeed {
            tier,
            provider,
            image: image.map(str::to_owned),
        };
        let chosen = |need: SandboxNeed| fitting(&machine, &need).map(|sandbox| sandbox.provider);
        let (namespaces, oci) = (Some(SandboxProvider::Namespaces), Some(SandboxProvider::Oci));
        assert_eq!(chosen(need(SandboxTier::None, None, None)), namespaces);
        assert_eq!(chosen(need(SandboxTier::Engine, oci, None)), oci);
        assert_eq!(chosen(need(SandboxTier::Limited, oci, None)), None);
        assert_eq!(chosen(need(SandboxTier::Engine, None, Some("debian"))), oci);
        assert_eq!(chosen(need(SandboxTier::Engine, None, Some("a/b@sha256:00"))), oci);
        for other in ["a/b:latest", "ab/c@sha256:00", "b/a/c@sha256:00", "dir:/a/@sha256:"] {
            assert_eq!(chosen(need(SandboxTier::Engine, None, Some(other))), None, "{other}");
        }
        assert_eq!(chosen(need(SandboxTier::Limited, None, Some("host"))), namespaces);
    }
}
