//! Watches over a running payload: what it uses each second, and what its end means.

use std::sync::Arc;
use std::time::Duration;

use shared_contracts::events::{EventBody, EventSource};
use shared_contracts::executions::{self, Limits};

use crate::clock;
use crate::execution::Ending;
use crate::output::spool::Spool;
use crate::sandbox::outcome::{Interference, Outcome};
use crate::sandbox::{Control, Exit, SandboxError, Usage};

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
pub async fn measure(control: Arc<dyn Control>, spool: Arc<Spool>) {
    let (mut before, mut at) = (control.usage().await, clock::now());
    while !spool.is_closed() {
        tokio::time::sleep(MEASURE_EVERY).await;
        let (usage, now) = (control.usage().await, clock::now());
        let cpu_percent = cpu_percent(&before, &usage, now.duration_since(at));
        let (memory_bytes, processes) = (usage.memory_bytes, usage.processes);
        spool
            .event(EventSource::Container, EventBody::ResourceUsage { memory_bytes, cpu_percent, processes });
        (before, at) = (usage, now);
    }
}

/// 100 is one core.
pub fn cpu_percent(before: &Usage, after: &Usage, between: Duration) -> f64 {
    let cpu_seconds = after.cpu_us.saturating_sub(before.cpu_us) as f64 / 1e6;
    (cpu_seconds / between.as_secs_f64().max(0.001) * 1_000.0).round() / 10.0
}

/// What the end means.
pub fn judge(
    exit: Result<Exit, SandboxError>,
    cause: Cause,
    usage: &Usage,
    limits: &Limits,
    ran_for: Duration,
) -> Ending {
    let exit = match exit {
        Ok(exit) => exit,
        Err(error) => return Ending::failed(format!("the sandbox was lost: {error}")),
    };
    let interference = match &cause {
        Cause::Itself => Interference::None,
        Cause::TimeLimit => Interference::TimeLimit,
        Cause::Cancelled(_) => Interference::Killed,
    };
    let met = Outcome::of(exit, interference, usage);
    let (outcome, reason) = match (cause, met) {
        (Cause::Cancelled(reason), _) => (executions::Outcome::Cancelled, reason),
        (_, Outcome::TimedOut) => (executions::Outcome::TimedOut, met.describe(exit, usage, limits)),
        (_, Outcome::Exit(0)) => {
            let seconds = ran_for.as_secs_f64();
            (executions::Outcome::Succeeded, format!("the command ended well after {seconds:.1} s"))
        }
        _ => (executions::Outcome::Failed, met.describe(exit, usage, limits)),
    };
    Ending { outcome, exit: Some(exit), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_judged_by_its_cause_first() {
        let limits = Limits::default();
        let judge =
            |exit, cause, usage: &Usage| judge(Ok(exit), cause, usage, &limits, Duration::from_secs(1));
        let killed = Usage { out_of_memory_kills: 1, ..Usage::default() };
        let ending = judge(Exit::Signal(9), Cause::Itself, &killed);
        assert_eq!(ending.outcome, executions::Outcome::Failed);
        assert!(ending.reason.contains("out of memory"), "{}", ending.reason);
        let fine = Usage::default();
        assert_eq!(judge(Exit::Code(0), Cause::Itself, &fine).outcome, executions::Outcome::Succeeded);
        assert_eq!(judge(Exit::Signal(15), Cause::TimeLimit, &fine).outcome, executions::Outcome::TimedOut);
        assert_eq!(judge(Exit::Code(0), Cause::Cancelled("stop".into()), &fine).reason, "stop");
    }

    #[test]
    fn a_hundred_percent_is_one_core() {
        let (before, after) = (Usage::default(), Usage { cpu_us: 1_500_000, ..Usage::default() });
        assert!((cpu_percent(&before, &after, Duration::from_secs(1)) - 150.0).abs() < 0.01);
    }
}
