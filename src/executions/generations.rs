//! What the plane itself writes into a log, and which lease may: the hub's side of leases.

use shared_contracts::append::AppendAnswer;
use shared_contracts::events::{EventBody, Usage};
use shared_contracts::executions::{ExecutionState, Outcome as Ended};

use super::commands::Identity;
use super::hub::{ExecutionHub, Opened, WRITER_TAG, as_written, standing};
use super::log::Standing;
use crate::platform::failure::{Failure, Outcome};

impl ExecutionHub {
    pub(super) fn begin(&self, opened: &Opened, identity: Identity) -> Outcome<()> {
        if opened.standing.borrow().is_some() {
            return Ok(());
        }
        let standing = Standing { identity, generation: 0, closed: true, ended: None, recorded: false };
        opened.log.keep(&standing)?;
        *opened.standing.borrow_mut() = Some(standing);
        self.say(opened, status(ExecutionState::Queued, "Waiting for a container agent"))
    }

    /// Answers the sequence of the lease's first event.
    pub(super) fn open_generation(
        &self,
        opened: &Opened,
        identity: Identity,
        generation: u32,
        machine: &str,
    ) -> Outcome<u64> {
        self.begin(opened, identity)?;
        let mut standing = standing(opened)?;
        let is_spent =
            generation < standing.generation || (generation == standing.generation && standing.closed);
        if standing.ended.is_some() || is_spent {
            return Err(Failure::wrong_state("The execution has ended, or this lease is gone"));
        }
        if generation > standing.generation {
            standing.generation = generation;
            standing.closed = false;
            self.keep(opened, standing)?;
            // The writer counts from what the log holds now.
            opened.told.set(0);
            self.say(opened, status(ExecutionState::Leased, &format!("Taken by container agent {machine}")))?;
        }
        Ok(as_written(opened) + 1)
    }

    pub(super) fn close_generation(&self, opened: &Opened, generation: u32, reason: &str) -> Outcome<()> {
        let mut standing = standing(opened)?;
        if standing.ended.is_some() || generation < standing.generation {
            return Ok(());
        }
        // A lease that never got here is fenced too: its opening may still be on the way.
        let was_open = !standing.closed;
        standing.generation = generation;
        standing.closed = true;
        self.keep(opened, standing)?;
        if !was_open {
            return Ok(());
        }
        self.say(opened, EventBody::Lost { reason: reason.to_owned() })?;
        for writer in self.state.get_websockets_with_tag(WRITER_TAG) {
            let answer = AppendAnswer::Fenced { generation, reason: reason.to_owned() };
            let _ = writer.send(&answer);
        }
        Ok(())
    }

    pub(super) fn end(
        &self,
        opened: &Opened,
        identity: Identity,
        generation: u32,
        outcome: Ended,
        reason: String,
    ) -> Outcome<()> {
        self.begin(opened, identity)?;
        let mut standing = standing(opened)?;
        if standing.ended.is_some() || generation < standing.generation {
            return Ok(());
        }
        if generation > standing.generation {
            // A lease that D1 knows and that never got here: D1 believes no end that is older than it.
            standing.generation = generation;
            self.keep(opened, standing)?;
        }
        let body = EventBody::Ended {
            outcome,
            exit_code: None,
            exit_signal: None,
            reason,
            usage: Usage::default(),
            patch_batch_id: None,
        };
        self.say(opened, body)
    }
}

fn status(state: ExecutionState, message: &str) -> EventBody {
    EventBody::Status { state, message: message.to_owned() }
}
