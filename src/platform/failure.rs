//! How an operation fails: with a problem for the caller, or inside, where the cause is logged and not shown.

use std::fmt::Display;

use shared_contracts::problem::{Fault, Problem, ProblemKind};

pub type Outcome<T> = Result<T, Failure>;

#[derive(Debug)]
pub enum Failure {
    /// The caller's to know and to mend.
    Problem(Box<Problem>),
    /// Ours: what was being done, and the cause, for the log alone.
    Internal { doing: &'static str, cause: String },
}

impl Failure {
    pub fn problem(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem::new(kind, detail)))
    }

    pub fn internal(doing: &'static str, cause: impl Display) -> Self {
        Self::Internal { doing, cause: cause.to_string() }
    }

    /// `what` is a kind of thing, such as `project`. Another owner's thing is absent, too.
    pub fn not_found(what: &str, id: impl Display) -> Self {
        Self::problem(ProblemKind::NotFound, format!("There is no {what} {id} among yours"))
    }

    pub fn wrong_state(detail: impl Into<String>) -> Self {
        Self::problem(ProblemKind::WrongState, detail)
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::problem(ProblemKind::Malformed, detail)
    }

    pub fn too_large(what: &str, limit: u64, unit: &str) -> Self {
        Self::problem(ProblemKind::TooLarge, format!("{what} may have at most {limit} {unit}; send less"))
    }

    /// One field that breaks a rule.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let fault = Fault { field: field.into(), message: message.into() };
        Self::faults("A field breaks a rule; mend it and send again", vec![fault])
    }

    /// Fields that break rules, each named.
    pub fn faults(detail: &str, faults: Vec<Fault>) -> Self {
        Self::Problem(Box::new(Problem { faults, ..Problem::new(ProblemKind::Invalid, detail) }))
    }

    /// Of the HTTP answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Problem(problem) => problem.status,
            Self::Internal { .. } => ProblemKind::Internal.status(),
        }
    }

    /// What the caller is told.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Problem(problem) => *problem,
            Self::Internal { .. } => Problem::new(
                ProblemKind::Internal,
                "The operation failed inside and may be sent again; the cause is in the plane's log",
            ),
        }
    }

    /// Writes the cause to the log, where it is one of ours. Called once, where the failure is handled.
    pub fn log(&self, operation: &str) {
        if let Self::Internal { doing, cause } = self {
            worker::console_error!("{operation}: {doing}: {cause}");
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        Self::internal("platform", error)
    }
}
