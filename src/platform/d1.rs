//! D1 with the few calls that the stores need: JSON text out, guarded changes counted, failures told apart.

use std::rc::Rc;

use shared_contracts::problem::ProblemKind;
use worker::wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, D1Result};

use super::failure::{Failure, Outcome};

/// A parameter of a statement. D1 counts in 53 bits, which milliseconds and sizes here never leave.
#[derive(Debug, Clone)]
pub enum Arg {
    Null,
    Number(f64),
    Text(String),
}

macro_rules! args_from {
    ($($kind:ty),+) => {$(
        impl From<$kind> for Arg {
            fn from(value: $kind) -> Self {
                Self::Number(value as f64)
            }
        }
    )+};
}
args_from!(u8, u16, u32, i32, u64, usize, f64);

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Number(f64::from(u8::from(value)))
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Parameters by position; ids and hashes go in as their text.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::platform::d1::Arg::from($value)),*] };
}

/// A statement with its parameters, for a batch.
pub type Statement<'a> = (&'a str, &'a [Arg]);

#[derive(Clone)]
pub struct Db(pub Rc<D1Database>);

#[derive(serde::Deserialize)]
struct RecordRow {
    record: Option<String>,
}

impl Db {
    fn bound(&self, sql: &str, args: &[Arg]) -> Outcome<D1PreparedStatement> {
        let values: Vec<JsValue> = args
            .iter()
            .map(|arg| match arg {
                Arg::Null => JsValue::NULL,
                Arg::Number(number) => JsValue::from_f64(*number),
                Arg::Text(text) => JsValue::from_str(text),
            })
            .collect();
        self.0.prepare(sql).bind(&values).map_err(failed)
    }

    /// The one column `record` of the first row: JSON text made by the statement.
    pub async fn record(&self, sql: &str, args: &[Arg]) -> Outcome<Option<String>> {
        let row = self.bound(sql, args)?.first::<RecordRow>(None).await.map_err(failed)?;
        Ok(row.and_then(|row| row.record))
    }

    /// [`Self::record`], read as the type it is.
    pub async fn typed<T: serde::de::DeserializeOwned>(&self, sql: &str, args: &[Arg]) -> Outcome<Option<T>> {
        let record = self.record(sql, args).await?;
        record.map(|text| parse(&text)).transpose()
    }

    /// How many rows a statement changed; a guarded update that found its guard broken changed none.
    pub async fn change(&self, sql: &str, args: &[Arg]) -> Outcome<usize> {
        changes(&self.bound(sql, args)?.run().await.map_err(failed)?)
    }

    /// All statements in one transaction; how many rows each changed.
    pub async fn change_all(&self, statements: &[Statement<'_>]) -> Outcome<Vec<usize>> {
        let bound =
            statements.iter().map(|(sql, args)| self.bound(sql, args)).collect::<Outcome<Vec<_>>>()?;
        self.0.batch(bound).await.map_err(failed)?.iter().map(changes).collect()
    }
}

/// JSON that our own statements made; if it cannot be read, the schema and the contract disagree.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(|error| Failure::internal("reading a record", error))
}

fn changes(result: &D1Result) -> Outcome<usize> {
    let meta = result.meta().map_err(failed)?;
    Ok(meta.and_then(|meta| meta.changes).unwrap_or(0))
}

/// What D1 says of itself when the same request may succeed a moment later.
const PASSING: [&str; 6] = [
    "overloaded",
    "too many requests",
    "SQLITE_BUSY",
    "Network connection lost",
    "caused object to be reset",
    "due to transient issue",
];

fn failed(error: worker::Error) -> Failure {
    let cause = match &error {
        worker::Error::D1(error) => error.cause(),
        worker::Error::UnknownJsError { message, cause, .. } => {
            cause.as_ref().map_or_else(|| message.clone(), |cause| format!("{message}: {cause}"))
        }
        other => other.to_string(),
    };
    if cause.contains("UNIQUE constraint failed") {
        return Failure::problem(ProblemKind::Conflict, "Something with this identity exists already");
    }
    if cause.contains("FOREIGN KEY constraint failed") {
        return Failure::problem(ProblemKind::Conflict, "Something that this refers to is gone");
    }
    if PASSING.iter().any(|passing| cause.contains(passing)) {
        worker::console_error!("D1: {cause}");
        return Failure::problem(
            ProblemKind::Overloaded,
            "The database is overloaded or away; try again in a moment",
        );
    }
    Failure::internal("D1", cause)
}
