//! One edit and the file it meets, with the right answer.

use crate::edit::Hunk;
use crate::format::Format;
use crate::truth::Expected;

#[derive(Debug, Clone)]
pub struct Case {
    /// `rust/lines shifted/udiff-3/17`
    pub name: String,
    /// A row of the table.
    pub kind: &'static str,
    pub format: Format,
    pub path: String,
    /// What the edit was made against.
    pub base: String,
    /// The base with the whole edit made, as three-way merges want it.
    pub after: String,
    /// What the edit meets.
    pub current: String,
    pub hunks: Vec<Hunk>,
    /// The hunks as text in the format.
    pub patch: String,
    /// None where the base does not tell either.
    pub with_base: Option<Expected>,
    /// None where the text without its base says something else than its provenance.
    pub without_base: Option<Expected>,
}
