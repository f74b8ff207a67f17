//! Watches over a running payload: what it uses each second, and what its end means.

use std::sync::Arc;
use std::time::Duration;

use shared_contracts::events::{EventBody, EventSource};
use shared_contracts::executions::{Limits, Outcome};

use crate::clock;
use crate::execution::Ending;
use crate::output::spool::Spool;
use crate::sandbox::{Exit, Sample, SandboxError, UsageProbe};

/// Between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(2);
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Why a payload came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    Itself,
    TimeLimit,
    Cancelled(String),
}

/// One event a second, until the log is closed or the payload has ended.
pub async fn measure(usage: Arc<dyn UsageProbe>, spool: Arc<Spool>) {
    let (mut before, mut at) = (usage.sample(), clock::now());
    while !spool.is_closed() {
        tokio::time::sleep(MEASURE_EVERY).await;
        let (sample, now) = (usage.sample(), clock::now());
        let seconds = now.duration_since(at).as_secs_f64().max(0.001);
        let cpu_seconds = sample.cpu_us.saturating_sub(before.cpu_us) as f64 / 1e6;
        let cpu_percent = (cpu_seconds / seconds * 1_000.0).round() / 10.0;
        let body = EventBody::ResourceUsage {
            memory_bytes: sample.memory_bytes,
            cpu_percent,
            processes: sample.processes,
        };
        spool.event(EventSource::Container, body);
        (before, at) = (sample, now);
    }
}

/// What the end means.
pub fn judge(
    exit: Result<Exit, SandboxError>,
    cause: Cause,
    sample: &Sample,
    limits: &Limits,
    ran_for: Duration,
) -> Ending {
    let exit = match exit {
        Ok(exit) => exit,
        Err(error) => return Ending::failed(format!("the sandbox was lost: {error}")),
    };
    let (outcome, reason) = match (cause, exit) {
        (Cause::Cancelled(reason), _) => (Outcome::Cancelled, reason),
        (Cause::TimeLimit, _) => {
            (Outcome::TimedOut, format!("stopped after {} s, its time limit", limits.wall_seconds))
        }
        (Cause::Itself, Exit::Code(0)) => {
            (Outcome::Succeeded, format!("the command ended well after {:.1} s", ran_for.as_secs_f64()))
        }
        (Cause::Itself, exit) => (Outcome::Failed, format!("{}{}", how(exit), hints(sample, limits))),
    };
    Ending { outcome, exit: Some(exit), reason }
}

fn how(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("the command ended with exit code {code}"),
        Exit::Signal(signal) => format!("the command was killed by signal {signal}"),
    }
}

fn hints(sample: &Sample, limits: &Limits) -> String {
    let mut text = String::new();
    if sample.out_of_memory_kills > 0 {
        let (kills, memory) = (sample.out_of_memory_kills, limits.memory_mb);
        text.push_str(&format!(
            "; out of memory: the kernel killed {kills} of its processes at the limit of {memory} MB (files written \
             in the sandbox count)"
        ));
    }
    if sample.refused_forks > 0 {
        text.push_str(&format!("; too many processes: the limit of {} was reached", limits.processes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_the_limit_that_was_reached() {
        let limits = Limits::default();
        let judge =
            |exit, cause, sample: &Sample| judge(Ok(exit), cause, sample, &limits, Duration::from_secs(1));
        let killed = Sample { out_of_memory_kills: 1, ..Sample::default() };
        let ending = judge(Exit::Signal(9), Cause::Itself, &killed);
        assert_eq!(ending.outcome, Outcome::Failed);
        assert!(
            ending.reason.contains("out of memory") && ending.reason.contains("2048 MB"),
            "{}",
            ending.reason
        );
        let refused = Sample { refused_forks: 1, ..Sample::default() };
        let ending = judge(Exit::Code(2), Cause::Itself, &refused);
        assert!(
            ending.reason.ends_with("too many processes: the limit of 1024 was reached"),
            "{}",
            ending.reason
        );
        let fine = Sample::default();
        assert_eq!(judge(Exit::Code(0), Cause::Itself, &fine).outcome, Outcome::Succeeded);
        assert_eq!(judge(Exit::Signal(15), Cause::TimeLimit, &fine).outcome, Outcome::TimedOut);
        assert_eq!(judge(Exit::Code(0), Cause::Cancelled("stop".into()), &fine).reason, "stop");
    }
}
