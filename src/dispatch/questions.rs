//! What container agents are asked about their containers, and which answer belongs to whose question.
//!
//! A question waits in memory, at most a few seconds. If the object goes meanwhile, so does the request that asked; an
//! answer that comes afterwards finds no question, because numbers only rise, from one life of the object to the next.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{FutureExt as _, Shared, join_all, select};
use garde::Validate as _;
use shared_contracts::containers::{ContainerAnswer, ContainerCommand, ContainerFacts, ContainerId};
use shared_contracts::dispatch::ToContainerAgent;
use shared_contracts::ids::{ContainerAgentId, OwnerId};
use shared_contracts::limits::{CONTAINER_ANSWER_SECONDS, CONTAINER_QUESTIONS_MAX};
use shared_contracts::problem::ProblemKind;

use super::commands::Told;
use super::connection::{self, Agent, Connection};
use super::ledger::Ledger;
use super::object::Dispatcher;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};

/// Numbers of one millisecond; together they stay below 2^53 until the year 2248.
const NUMBERS_PER_MS: u64 = 1 << 10;

/// Those that wait for an answer, by their numbers.
#[derive(Default)]
pub struct Questions {
    last: Cell<u64>,
    open: RefCell<HashMap<u64, Open>>,
}

struct Open {
    asked: ContainerAgentId,
    answer: oneshot::Sender<ContainerAnswer>,
}

/// A question until it is dropped, answered or not.
struct Question<'a> {
    of: &'a Questions,
    number: u64,
    answer: oneshot::Receiver<ContainerAnswer>,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.of.open.borrow_mut().remove(&self.number);
    }
}

impl Questions {
    fn ask(&self, asked: ContainerAgentId, now_ms: u64) -> Outcome<Question<'_>> {
        if self.open.borrow().len() >= CONTAINER_QUESTIONS_MAX {
            let detail = "Too many questions wait for container agents; ask again in a moment";
            return Err(Failure::problem(ProblemKind::Overloaded, detail));
        }
        let number = self.last.get().max(now_ms * NUMBERS_PER_MS) + 1;
        self.last.set(number);
        let (sender, answer) = oneshot::channel();
        self.open.borrow_mut().insert(number, Open { asked, answer: sender });
        Ok(Question { of: self, number, answer })
    }

    /// Only who was asked answers; what nobody waits for is dropped.
    fn answered(&self, by: ContainerAgentId, number: u64, answer: ContainerAnswer) {
        let mut open = self.open.borrow_mut();
        if open.get(&number).is_some_and(|question| question.asked == by)
            && let Some(question) = open.remove(&number)
        {
            let _ = question.answer.send(answer);
        }
    }

    /// Its connection is gone: nobody waits for it any longer.
    pub(super) fn left(&self, agent: ContainerAgentId) {
        self.open.borrow_mut().retain(|_, question| question.asked != agent);
    }
}

impl Question<'_> {
    /// None where it was not answered in time, or cannot be any more.
    async fn answer<F: Future<Output = ()>>(mut self, deadline: Shared<F>) -> Option<ContainerAnswer> {
        use futures::future::Either::{Left, Right};
        match select(&mut self.answer, deadline).await {
            Left((answer, _)) => answer.ok(),
            Right(_) => None,
        }
    }
}

impl Dispatcher {
    /// Whom the lease names, if there is one; otherwise all that are connected and that this owner may use. All are
    /// asked at once, and waited for together.
    pub(super) async fn ask_containers(
        &self,
        ledger: &Ledger,
        owner_id: OwnerId,
        of: Option<ContainerId>,
        command: &ContainerCommand,
    ) -> Outcome<Vec<Told>> {
        let holder = match of {
            Some(id) => ledger.entry(id.execution_id)?.filter(|entry| entry.lease() == Some(id.lease())),
            None => None,
        };
        let holder = holder.and_then(|entry| entry.holder());
        let mut asked = Vec::new();
        for socket in self.state.get_websockets() {
            let Some(Connection { owner_id: agents_owner, shared, agent: Some(agent), .. }) =
                connection::of(&socket)
            else {
                continue;
            };
            let is_asked = (shared || agents_owner == owner_id) && holder.is_none_or(|id| id == agent.id);
            if is_asked {
                let question = self.questions.ask(agent.id, now_ms())?;
                let message =
                    ToContainerAgent::Container { request: question.number, command: command.clone() };
                connection::send(&socket, &message);
                asked.push((agent, question));
            }
        }
        if let Some(id) = holder.filter(|_| asked.is_empty()) {
            return Ok(vec![Told { container_agent_id: id, name: id.to_string(), answer: None }]);
        }
        let deadline = worker::Delay::from(Duration::from_secs(CONTAINER_ANSWER_SECONDS)).shared();
        let told = asked.into_iter().map(|(agent, question)| {
            let deadline = deadline.clone();
            async move {
                let answer = question.answer(deadline).await;
                Told { container_agent_id: agent.id, name: agent.name, answer }
            }
        });
        Ok(join_all(told).await)
    }

    /// An answer is untrusted as everything that a machine says.
    pub(super) fn answered(&self, agent: &Agent, number: u64, answer: ContainerAnswer) -> Outcome<()> {
        let valid = |facts: &ContainerFacts| {
            let broken = |report| Failure::malformed(format!("A container's facts break a rule: {report}"));
            facts.validate().map_err(broken)
        };
        match &answer {
            ContainerAnswer::Listed { containers } => containers.iter().try_for_each(valid)?,
            ContainerAnswer::Container { container } => valid(container)?,
            ContainerAnswer::Stats { .. } | ContainerAnswer::Removed | ContainerAnswer::Refused { .. } => {}
        }
        self.questions.answered(agent.id, number, answer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::future::{pending, ready};

    use super::*;

    fn machine(n: u128) -> ContainerAgentId {
        ContainerAgentId::new(1, n)
    }

    #[test]
    fn only_who_was_asked_answers_and_once() {
        let questions = Questions::default();
        let question = questions.ask(machine(1), 5).unwrap();
        let number = question.number;
        questions.answered(machine(2), number, ContainerAnswer::Removed);
        questions.answered(machine(1), number + 1, ContainerAnswer::Removed);
        let listed = ContainerAnswer::Listed { containers: Vec::new() };
        questions.answered(machine(1), number, listed.clone());
        questions.answered(machine(1), number, ContainerAnswer::Removed);
        assert_eq!(block_on(question.answer(pending().shared())), Some(listed));
        assert!(questions.open.borrow().is_empty());
    }

    #[test]
    fn who_is_silent_or_leaves_is_waited_for_no_longer() {
        let questions = Questions::default();
        let silent = questions.ask(machine(1), 5).unwrap();
        assert_eq!(block_on(silent.answer(ready(()).shared())), None);
        let left = questions.ask(machine(1), 5).unwrap();
        let stays = questions.ask(machine(2), 5).unwrap();
        questions.left(machine(1));
        assert_eq!(block_on(left.answer(pending().shared())), None);
        questions.answered(machine(2), stays.number, ContainerAnswer::Removed);
        assert_eq!(block_on(stays.answer(pending().shared())), Some(ContainerAnswer::Removed));
        assert!(questions.open.borrow().is_empty(), "an unanswered question is forgotten too");
    }

    #[test]
    fn numbers_rise_from_one_life_to_the_next() {
        let before = Questions::default();
        let numbers: Vec<_> = (0..100).map(|_| before.ask(machine(1), 5).unwrap().number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next));
        let after = Questions::default().ask(machine(1), 6).unwrap().number;
        assert!(numbers.iter().all(|number| *number < after));
    }

    #[test]
    fn only_so_many_wait_at_once() {
        let questions = Questions::default();
        let open: Vec<_> =
            (0..CONTAINER_QUESTIONS_MAX).map(|_| questions.ask(machine(1), 5).unwrap()).collect();
        assert_eq!(questions.ask(machine(1), 5).err().map(|failure| failure.status()), Some(503));
        drop(open);
        assert!(questions.ask(machine(1), 5).is_ok());
    }
}
