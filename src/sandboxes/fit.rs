//! Whether a connected container agent has the sandbox that an execution needs; where none has, why. Pure.

use shared_contracts::limits::{UNFIT_MACHINES_NAMED_MAX, UNFIT_REASON_BYTES_MAX};
use shared_contracts::problem::ProblemKind;
use shared_contracts::sandboxes::{OfferedSandbox, SandboxNeed, fitting};
use shared_contracts::text::beginning;

use crate::container_agents::Machine;
use crate::platform::failure::{Failure, Outcome};

/// Where nobody is connected, it waits for whoever comes.
pub fn require_fitting(machines: &[Machine], need: &SandboxNeed) -> Outcome<()> {
    if machines.is_empty() || machines.iter().any(|machine| fitting(&machine.sandboxes, need).is_some()) {
        return Ok(());
    }
    Err(Failure::problem(ProblemKind::NoFittingSandbox, refusal(machines, need)))
}

fn refusal(machines: &[Machine], need: &SandboxNeed) -> String {
    let mut wanted = format!("a sandbox of tier `{}` or stronger", need.tier.as_str());
    if let Some(provider) = need.provider {
        wanted.push_str(&format!(" made by `{}`", provider.as_str()));
    }
    if let Some(image) = &need.image {
        wanted.push_str(&format!(" with the image `{}`", image.escape_debug()));
    }
    let mut text = format!("The execution needs {wanted}, and no connected container agent has one.");
    for machine in machines.iter().take(UNFIT_MACHINES_NAMED_MAX) {
        text.push_str(&format!(" `{}` {};", machine.name, shortfall(&machine.sandboxes, need)));
    }
    if let Some(more) = machines.len().checked_sub(UNFIT_MACHINES_NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more;"));
    }
    text.push_str(
        " ask for less, or mend the machine: `patchbay-agent doctor` there says what is missing and how to get it",
    );
    text
}

/// What the best of a machine's sandboxes is, and what it is not.
fn shortfall(sandboxes: &[OfferedSandbox], need: &SandboxNeed) -> String {
    let of_the_provider = sandboxes
        .iter()
        .filter(|sandbox| need.provider.is_none_or(|provider| provider == sandbox.provider))
        .max_by_key(|sandbox| sandbox.tier);
    let Some(sandbox) = of_the_provider else { return "does not have that provider".into() };
    let (provider, tier) = (sandbox.provider.as_str(), sandbox.tier.as_str());
    if sandbox.tier < need.tier {
        let reason = beginning(&sandbox.reason, UNFIT_REASON_BYTES_MAX);
        return format!("has `{provider}` of tier `{tier}` ({reason})");
    }
    let images = sandbox.images.iter().map(|image| format!("`{image}`")).collect::<Vec<_>>().join(", ");
    let images = if images.is_empty() { "none".into() } else { images };
    format!(
        "has `{provider}` of tier `{tier}` with the images {}",
        beginning(&images, UNFIT_REASON_BYTES_MAX)
    )
}

#[cfg(test)]
mod tests {
    use shared_contracts::sandboxes::{SandboxProvider, SandboxTier};

    use super::super::tests::{machine, offered};
    use super::*;

    fn refused(machines: &[Machine], need: &SandboxNeed) -> String {
        match require_fitting(machines, need) {
            Err(Failure::Problem(problem)) => problem.detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_has_is_refused_with_each_machines_reason() {
        use SandboxProvider::{Namespaces, Oci};
        let weak = machine(
            "weak",
            vec![
                offered(Namespaces, SandboxTier::Limited, &["host"]),
                offered(Oci, SandboxTier::Engine, &["debian"]),
            ],
        );
        let need = |tier| SandboxNeed { tier, ..SandboxNeed::default() };
        assert!(require_fitting(std::slice::from_ref(&weak), &need(SandboxTier::Limited)).is_ok());
        assert!(require_fitting(&[], &need(SandboxTier::Strong)).is_ok(), "nobody is connected: it waits");
        let text = refused(std::slice::from_ref(&weak), &need(SandboxTier::Strong));
        assert!(text.contains("`weak` has `namespaces` of tier `limited` (is limited)"), "{text}");
        let image =
            SandboxNeed { image: Some("alpine".into()), tier: SandboxTier::None, provider: Some(Oci) };
        let text = refused(&[weak], &image);
        assert!(text.contains("made by `oci` with the image `alpine`"), "{text}");
        assert!(text.contains("`weak` has `oci` of tier `engine` with the images `debian`"), "{text}");
        let alone = machine("alone", vec![offered(Namespaces, SandboxTier::Strong, &["host"])]);
        let oci = SandboxNeed { provider: Some(Oci), ..SandboxNeed::default() };
        assert!(refused(&[alone], &oci).contains("`alone` does not have that provider"));
    }

    #[test]
    fn a_refusal_is_short_however_many_machines_say_however_much() {
        let mut chatty = offered(SandboxProvider::Namespaces, SandboxTier::Engine, &[]);
        chatty.reason = "ü".repeat(1_000);
        let machines: Vec<_> = (0..50).map(|n| machine(&format!("m{n}"), vec![chatty.clone()])).collect();
        let text = refused(&machines, &SandboxNeed::default());
        assert!(text.len() < 4_000 && text.contains("and 45 more"), "{}: {text}", text.len());
    }
}
