//! Who is next. Pure.
//!
//! Higher priority goes first. Within a priority, owners take turns: the one with the fewest executions running,
//! then the one whose turn was longest ago; within an owner, the oldest. So nobody's hundred tasks stand in the way
//! of another's one. A lease is a turn; an offer that comes to nothing is none.

use std::collections::HashMap;

use shared_contracts::ids::{ContainerAgentId, ExecutionId, OwnerId};
use shared_contracts::sandboxes::{OfferedSandbox, SandboxNeed, fitting};

/// Of each owner's waiting executions only the first so many are looked at, so that a long queue does not make every
/// event slow. What stands behind them waits for them, even where its machine would be free.
pub const LOOKED_AT_PER_OWNER: u64 = 200;

/// An execution that waits and is not on offer.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub execution_id: ExecutionId,
    pub owner_id: OwnerId,
    pub priority: u8,
    pub sandbox: SandboxNeed,
    pub memory_mb: u32,
    pub cpu_cores: f64,
    pub owner_concurrency: u32,
    /// Place in the order of arrival.
    pub arrival: u64,
    /// The container agent that declined it last: asked again only if no other can take it.
    pub declined_by: Option<ContainerAgentId>,
}

/// A connected container agent that is not draining.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub id: ContainerAgentId,
    pub owner_id: OwnerId,
    pub shared: bool,
    pub sandboxes: Vec<OfferedSandbox>,
    /// The most that it gives one execution.
    pub memory_mb_max: u32,
    pub cpu_cores_max: f64,
    /// Capacity less leases and offers.
    pub free: u32,
}

impl Candidate {
    fn can_take(&self, waiting: &Waiting) -> bool {
        self.free > 0
            && (self.shared || self.owner_id == waiting.owner_id)
            && fitting(&self.sandboxes, &waiting.sandbox).is_some()
            && self.memory_mb_max >= waiting.memory_mb
            && self.cpu_cores_max >= waiting.cpu_cores
    }
}

/// What each owner has running or on offer, and the turn at which it was last leased something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    pub active: u32,
    pub last_turn: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub execution_id: ExecutionId,
    pub container_agent_id: ContainerAgentId,
}

/// Offers in the order in which they are made.
pub fn assign(
    mut waiting: Vec<Waiting>,
    mut candidates: Vec<Candidate>,
    mut shares: HashMap<OwnerId, Share>,
) -> Vec<Offer> {
    let mut turn = shares.values().map(|share| share.last_turn).max().unwrap_or(0);
    let mut offers = Vec::new();
    waiting.sort_unstable_by_key(|waiting| waiting.arrival);
    while let Some(index) = next(&waiting, &candidates, &shares) {
        let chosen = waiting.remove(index);
        let Some(candidate) = roomiest(&chosen, &mut candidates) else { break };
        candidate.free -= 1;
        turn += 1;
        let share = shares.entry(chosen.owner_id).or_default();
        *share = Share { active: share.active + 1, last_turn: turn };
        offers.push(Offer { execution_id: chosen.execution_id, container_agent_id: candidate.id });
    }
    offers
}

fn next(waiting: &[Waiting], candidates: &[Candidate], shares: &HashMap<OwnerId, Share>) -> Option<usize> {
    waiting
        .iter()
        .enumerate()
        .filter(|(_, waiting)| candidates.iter().any(|candidate| candidate.can_take(waiting)))
        .map(|(index, waiting)| (index, waiting, shares.get(&waiting.owner_id).copied().unwrap_or_default()))
        .filter(|(_, waiting, share)| share.active < waiting.owner_concurrency)
        .min_by_key(|(_, waiting, share)| {
            (std::cmp::Reverse(waiting.priority), share.active, share.last_turn, waiting.arrival)
        })
        .map(|(index, _, _)| index)
}

fn roomiest<'a>(waiting: &Waiting, candidates: &'a mut [Candidate]) -> Option<&'a mut Candidate> {
    candidates
        .iter_mut()
        .filter(|candidate| candidate.can_take(waiting))
        .max_by_key(|candidate| (Some(candidate.id) != waiting.declined_by, candidate.free))
}

#[cfg(test)]
mod tests {
    use shared_contracts::sandboxes::{SandboxProvider, SandboxTier};

    use super::*;

    fn owner(n: u128) -> OwnerId {
        OwnerId::new(0, n)
    }

    fn waiting(arrival: u64, of: u128, priority: u8) -> Waiting {
        Waiting {
            execution_id: ExecutionId::new(arrival, 0),
            owner_id: owner(of),
            priority,
            sandbox: SandboxNeed::default(),
            memory_mb: 2_048,
            cpu_cores: 2.0,
            owner_concurrency: 5,
            arrival,
            declined_by: None,
        }
    }

    fn machine(n: u128, free: u32) -> Candidate {
        let (id, owner_id) = (ContainerAgentId::new(0, n), owner(1));
        let (memory_mb_max, cpu_cores_max) = (2_048, 2.0);
        let sandboxes = vec![OfferedSandbox::of_tier(SandboxTier::Strong)];
        Candidate { id, owner_id, shared: true, sandboxes, memory_mb_max, cpu_cores_max, free }
    }

    fn order(offers: &[Offer]) -> Vec<u64> {
        offers.iter().map(|offer| offer.execution_id.at_ms()).collect()
    }

    #[test]
    fn owners_take_turns_and_priority_goes_first() {
        let queue =
            vec![waiting(1, 1, 5), waiting(2, 1, 5), waiting(3, 1, 5), waiting(4, 2, 5), waiting(5, 3, 9)];
        assert_eq!(order(&assign(queue, vec![machine(1, 4)], HashMap::new())), [5, 1, 4, 2]);
    }

    #[test]
    fn an_owner_has_at_most_its_concurrency() {
        let queue = (1..=9).map(|arrival| waiting(arrival, 1, 5)).collect();
        let shares = HashMap::from([(owner(1), Share { active: 2, last_turn: 0 })]);
        assert_eq!(order(&assign(queue, vec![machine(1, 20)], shares)), [1, 2, 3]);
    }

    #[test]
    fn only_machines_that_may_and_can() {
        let mut private = machine(1, 5);
        private.shared = false;
        let mut weak = machine(2, 5);
        weak.sandboxes = vec![OfferedSandbox::of_tier(SandboxTier::None)];
        let offers = assign(
            vec![waiting(1, 2, 5), waiting(2, 1, 5)],
            vec![private, weak, machine(3, 0)],
            HashMap::new(),
        );
        assert_eq!(
            offers,
            [Offer { execution_id: ExecutionId::new(2, 0), container_agent_id: ContainerAgentId::new(0, 1) }]
        );
    }

    #[test]
    fn what_no_machine_can_hold_waits_and_holds_up_nobody() {
        let (mut large, mut wide) = (waiting(1, 1, 9), waiting(2, 1, 9));
        large.memory_mb = 2_049;
        wide.cpu_cores = 2.5;
        let queue = vec![large, wide, waiting(3, 1, 5)];
        assert_eq!(order(&assign(queue.clone(), vec![machine(1, 9)], HashMap::new())), [3]);
        let mut larger = machine(2, 1);
        larger.memory_mb_max = 4_096;
        let mut wider = machine(3, 1);
        wider.cpu_cores_max = 4.0;
        let offers = assign(queue, vec![machine(1, 9), larger, wider], HashMap::new());
        let machines: Vec<_> = offers.iter().map(|offer| offer.container_agent_id).collect();
        assert_eq!(order(&offers), [1, 2, 3]);
        assert_eq!(machines, [2, 3, 1].map(|n| ContainerAgentId::new(0, n)));
    }

    #[test]
    fn a_machine_has_the_provider_and_the_image_or_is_not_asked() {
        let need = |provider, image: Option<&str>| SandboxNeed {
            tier: SandboxTier::Engine,
            provider,
            image: image.map(str::to_owned),
        };
        let mut engine = machine(1, 1);
        let images = vec!["debian".to_owned()];
        engine.sandboxes.push(OfferedSandbox {
            provider: SandboxProvider::Oci,
            images,
            ..OfferedSandbox::of_tier(SandboxTier::Engine)
        });
        let taken = |sandbox| {
            let queue = vec![Waiting { sandbox, ..waiting(1, 1, 5) }];
            !assign(queue, vec![engine.clone()], HashMap::new()).is_empty()
        };
        assert!(taken(need(None, None)));
        assert!(taken(need(Some(SandboxProvider::Oci), Some("debian"))));
        assert!(!taken(need(Some(SandboxProvider::Oci), Some("host"))), "it has both, but not together");
        assert!(!taken(need(Some(SandboxProvider::Namespaces), Some("debian"))));
        assert!(!taken(need(None, Some("alpine"))));
        let strong = SandboxNeed { tier: SandboxTier::Limited, ..need(Some(SandboxProvider::Oci), None) };
        assert!(!taken(strong), "its strong one is another provider's");
    }

    #[test]
    fn the_roomiest_machine_is_asked_and_who_declined_is_asked_last() {
        let mut declined = waiting(1, 1, 5);
        declined.declined_by = Some(ContainerAgentId::new(0, 2));
        let offers = assign(vec![declined.clone()], vec![machine(1, 1), machine(2, 3)], HashMap::new());
        assert_eq!(offers[0].container_agent_id, ContainerAgentId::new(0, 1));
        let alone = assign(vec![declined], vec![machine(2, 3)], HashMap::new());
        assert_eq!(alone[0].container_agent_id, ContainerAgentId::new(0, 2));
    }
}
