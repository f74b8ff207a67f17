//! What the answers of container agents come to. Pure.

use shared_contracts::containers::{Container, ContainerAnswer, ContainerId};
use shared_contracts::ids::ContainerAgentId;
use shared_contracts::limits::{CONTAINER_ANSWER_SECONDS, CONTAINER_REFUSAL_BYTES_MAX};
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::text::beginning;

use crate::dispatch::commands::Told;
use crate::platform::failure::{Failure, Outcome};

#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    pub id: ContainerAgentId,
    pub name: String,
}

/// All that was listed, and who did not.
pub fn listed(told: Vec<Told>) -> (Vec<Container>, Vec<ContainerAgentId>) {
    let (mut found, mut silent) = (Vec::new(), Vec::new());
    for Told { container_agent_id, name, answer } in told {
        let Some(ContainerAnswer::Listed { containers }) = answer else {
            silent.push(container_agent_id);
            continue;
        };
        found.extend(containers.into_iter().map(|facts| Container {
            container_agent_id,
            container_agent: name.clone(),
            facts,
        }));
    }
    (found, silent)
}

/// Of those that were asked for one container, the one that has it: what it answered, or why it refused. Where nobody
/// has it, somebody who was silent may.
pub fn of_one(id: ContainerId, told: Vec<Told>) -> Outcome<(Machine, ContainerAnswer)> {
    let (mut refusal, mut silent) = (None, Vec::new());
    for Told { container_agent_id, name, answer } in told {
        match answer {
            None => silent.push(format!("`{name}`")),
            Some(ContainerAnswer::Refused { problem }) if problem.kind == ProblemKind::NotFound => {}
            Some(ContainerAnswer::Refused { problem }) => refusal = Some((name, problem)),
            Some(answer) => return Ok((Machine { id: container_agent_id, name }, answer)),
        }
    }
    if let Some((name, problem)) = refusal {
        return Err(refused(&name, &problem));
    }
    if silent.is_empty() {
        return Err(Failure::not_found("container", id));
    }
    let detail = format!(
        "Container {id} is not where it can be asked about: {} did not answer within {CONTAINER_ANSWER_SECONDS} s, or \
         is not connected; try again when it is",
        silent.join(", ")
    );
    Err(Failure::problem(ProblemKind::MachineSilent, detail))
}

/// In the machine's words, but as a problem of ours: only what a container may really be in the way of is passed on.
fn refused(machine: &str, problem: &Problem) -> Failure {
    let kind = match problem.kind {
        ProblemKind::WrongState | ProblemKind::Conflict => ProblemKind::WrongState,
        _ => ProblemKind::MachineFailed,
    };
    let detail = beginning(&problem.detail, CONTAINER_REFUSAL_BYTES_MAX);
    Failure::problem(kind, format!("Container agent `{machine}`: {detail}"))
}

pub fn not_an_answer(machine: &str) -> Failure {
    let detail =
        format!("Container agent `{machine}` answered something else than what it was asked; update it");
    Failure::problem(ProblemKind::MachineFailed, detail)
}

#[cfg(test)]
mod tests {
    use shared_contracts::ids::ExecutionId;

    use super::*;

    fn told(n: u128, answer: Option<ContainerAnswer>) -> Told {
        Told { container_agent_id: ContainerAgentId::new(1, n), name: format!("m{n}"), answer }
    }

    fn refusal(kind: ProblemKind, detail: &str) -> Option<ContainerAnswer> {
        Some(ContainerAnswer::Refused { problem: Problem::new(kind, detail) })
    }

    fn judged(answers: Vec<Option<ContainerAnswer>>) -> Result<ContainerAnswer, Box<Problem>> {
        let id = ContainerId { execution_id: ExecutionId::new(1, 1), generation: 1 };
        let told = (1..).zip(answers).map(|(n, answer)| told(n, answer)).collect();
        of_one(id, told).map(|(_, answer)| answer).map_err(|failure| Box::new(failure.into_problem()))
    }

    #[test]
    fn who_has_it_decides_whoever_else_is_silent() {
        let has = Some(ContainerAnswer::Removed);
        let absent = || refusal(ProblemKind::NotFound, "not here");
        assert_eq!(judged(vec![None, absent(), has.clone()]), Ok(ContainerAnswer::Removed));
        assert_eq!(judged(vec![refusal(ProblemKind::WrongState, "runs"), has]), Ok(ContainerAnswer::Removed));
        let problem = judged(vec![None, refusal(ProblemKind::WrongState, "it runs")]).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::WrongState);
        assert!(problem.detail.contains("`m2`: it runs"), "{problem}");
        let problem = judged(vec![absent(), None]).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::MachineSilent);
        assert!(problem.detail.contains("`m2`"), "{problem}");
        assert_eq!(judged(vec![absent(), absent()]).unwrap_err().kind, ProblemKind::NotFound);
        assert_eq!(judged(Vec::new()).unwrap_err().kind, ProblemKind::NotFound);
    }

    #[test]
    fn a_machine_says_little_and_nothing_of_other_peoples_business() {
        for kind in [ProblemKind::Unauthenticated, ProblemKind::Internal, ProblemKind::Overloaded] {
            let problem = judged(vec![refusal(kind, &"x".repeat(100_000))]).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::MachineFailed);
            assert!(problem.detail.len() < CONTAINER_REFUSAL_BYTES_MAX + 100);
        }
    }

    #[test]
    fn who_lists_nothing_readable_is_silent() {
        let empty = Some(ContainerAnswer::Listed { containers: Vec::new() });
        let (found, silent) =
            listed(vec![told(1, empty), told(2, None), told(3, Some(ContainerAnswer::Removed))]);
        assert!(found.is_empty());
        assert_eq!(silent, [ContainerAgentId::new(1, 2), ContainerAgentId::new(1, 3)]);
    }
}
