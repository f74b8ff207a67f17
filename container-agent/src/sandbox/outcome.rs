//! What the end of a payload means.

use shared_contracts::executions::Limits;

use super::{Exit, Usage};

/// How a payload ended. Where a limit was in its way, that is the outcome, whatever it made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Exit(i32),
    Signal(i32),
    /// The kernel killed some of it at its memory limit.
    OutOfMemory,
    /// It ran as long as it may.
    TimedOut,
    /// Forks were refused at its process limit.
    TooManyProcesses,
    /// It could write no more.
    DiskFull,
    /// Because somebody asked for it, or its lease was lost.
    KilledByAgent,
}

/// What the agent did to it before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interference {
    None,
    TimeLimit,
    Killed,
}

impl Outcome {
    /// A command that ended well has met no limit that mattered to it.
    pub fn of(exit: Exit, interference: Interference, usage: &Usage) -> Self {
        match (interference, exit) {
            (Interference::Killed, _) => Self::KilledByAgent,
            (Interference::TimeLimit, _) => Self::TimedOut,
            (Interference::None, Exit::Code(0)) => Self::Exit(0),
            _ if usage.out_of_memory_kills > 0 => Self::OutOfMemory,
            _ if usage.disk_full => Self::DiskFull,
            _ if usage.refused_forks > 0 => Self::TooManyProcesses,
            (Interference::None, Exit::Code(code)) => Self::Exit(code),
            (Interference::None, Exit::Signal(signal)) => Self::Signal(signal),
        }
    }

    /// In a sentence, with the limit that was reached.
    pub fn describe(self, exit: Exit, usage: &Usage, limits: &Limits) -> String {
        let ended = match exit {
            Exit::Code(code) => format!("the command ended with exit code {code}"),
            Exit::Signal(signal) => format!("the command was killed by signal {signal}"),
        };
        match self {
            Self::Exit(_) | Self::Signal(_) => ended,
            Self::OutOfMemory => format!(
                "{ended}; out of memory: the kernel killed {} of its processes at the limit of {} MB (files written in the \
                 sandbox count)",
                usage.out_of_memory_kills, limits.memory_mb
            ),
            Self::DiskFull => format!("{ended}; disk full: the limit of {} MB was reached", limits.disk_mb),
            Self::TooManyProcesses => {
                format!("{ended}; too many processes: the limit of {} was reached", limits.processes)
            }
            Self::TimedOut => format!("stopped after {} s, its time limit", limits.wall_seconds),
            Self::KilledByAgent => format!("{ended}: it was told to stop"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_was_reached_is_the_outcome() {
        let limits = Limits::default();
        let nothing = Usage::default();
        let of = |exit, usage: &Usage| Outcome::of(exit, Interference::None, usage);
        assert_eq!(of(Exit::Code(0), &nothing), Outcome::Exit(0));
        assert_eq!(of(Exit::Code(3), &nothing), Outcome::Exit(3));
        assert_eq!(of(Exit::Signal(11), &nothing), Outcome::Signal(11));
        for (usage, outcome, says) in [
            (Usage { out_of_memory_kills: 1, ..nothing }, Outcome::OutOfMemory, "limit of 2048 MB"),
            (Usage { disk_full: true, ..nothing }, Outcome::DiskFull, "disk full: the limit of 2048 MB"),
            (Usage { refused_forks: 1, ..nothing }, Outcome::TooManyProcesses, "limit of 1024 was reached"),
        ] {
            assert_eq!(of(Exit::Code(2), &usage), outcome);
            assert!(outcome.describe(Exit::Code(2), &usage, &limits).contains(says));
            // What did not keep it from ending well was no obstacle.
            assert_eq!(of(Exit::Code(0), &usage), Outcome::Exit(0));
        }
        let killed = Outcome::of(Exit::Signal(9), Interference::Killed, &nothing);
        assert_eq!(killed, Outcome::KilledByAgent);
        assert_eq!(Outcome::of(Exit::Code(0), Interference::TimeLimit, &nothing), Outcome::TimedOut);
    }
}
