//! The text that a coding agent or a person sends, in any of five formats, read into operations; and operations written
//! as text again.
//!
//! The way of a text: `sniff` (which format) → `lines` (numbered, unwrapped) → one reader (`unified`, `search_replace`,
//! `codex`, `whole_file`, `json`) → [`Read`]. What a reader forgives it says in the notes. It forgives only where the
//! text has one meaning; anything else is refused with its line, so that a lenient reading never makes a wrong edit.
//! Every reader takes time linear in the text.

mod codex;
mod fences;
mod hints;
mod hunk_lines;
mod json;
mod lines;
mod names;
mod search_replace;
mod sniff;
mod unified;
mod whole_file;
mod write;

#[cfg(test)]
mod tests;

use shared_contracts::patches::{OperationOutcome, PatchFormat, PatchOperation};
use shared_contracts::paths::WorkspacePath;

use self::lines::{Line, lines_of, unwrapped};
pub use self::sniff::sniff;
pub use self::write::{Unwritable, write};
use crate::Parsed;

/// The path as it was sent, empty where the text names none, and why the operation is refused.
type Refused = (String, OperationOutcome);

/// What a text says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    pub format: PatchFormat,
    /// In the order in which they are to be applied. Never empty.
    pub operations: Vec<Parsed>,
    /// What was forgiven, in sentences for the sender.
    pub notes: Vec<String>,
}

/// Nothing in the text is a patch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Counted from 1.
    pub line: u32,
    pub column: u32,
    pub what: String,
    pub hint: String,
}

impl From<Malformed> for OperationOutcome {
    fn from(fault: Malformed) -> Self {
        Self::Malformed {
            line: Some(fault.line),
            column: Some(fault.column),
            what: fault.what,
            hint: fault.hint,
        }
    }
}

/// Reads a patch; of the format given, or of the one it looks like.
pub fn read(text: &str, format: Option<PatchFormat>) -> Result<Read, Malformed> {
    let nothing =
        || Malformed { line: 1, column: 1, what: hints::NO_PATCH.into(), hint: hints::FORMATS.into() };
    let format = format.or_else(|| sniff(text)).ok_or_else(nothing)?;
    let mut output = Output { format: Some(format), ..Output::default() };
    match format {
        PatchFormat::Json => json::read(text, &mut output)?,
        // The bytes of whole files stay as they are.
        PatchFormat::WholeFile => whole_file::read(&lines_of(text), &mut output),
        PatchFormat::UnifiedDiff | PatchFormat::SearchReplace | PatchFormat::Codex => {
            let text = unwrapped(text, &mut output.notes);
            let lines = lines_of(&text);
            match format {
                PatchFormat::UnifiedDiff => unified::read(&lines, &mut output),
                PatchFormat::SearchReplace => search_replace::read(&lines, &mut output),
                _ => codex::read(&lines, &mut output),
            }
        }
    }
    output.finish(format).ok_or_else(|| Malformed {
        line: 1,
        column: 1,
        what: format!("{} is in the text", hints::no_operation(format)),
        hint: hints::shape(format).into(),
    })
}

/// What a reader has found so far.
#[derive(Default)]
struct Output {
    format: Option<PatchFormat>,
    operations: Vec<Parsed>,
    notes: Vec<String>,
    /// The first line passed over that begins a patch in another format.
    another_at: Option<usize>,
    /// How many lines around the patch are none of it, and the first of them.
    skipped: Option<(usize, usize)>,
}

impl Output {
    fn note(&mut self, line: usize, what: impl std::fmt::Display) {
        self.notes.push(format!("line {line}: {what}"));
    }

    /// Passes over a line that is no part of the patch.
    fn skip(&mut self, line: &Line<'_>) {
        if !line.is_blank() {
            let (count, first) = self.skipped.unwrap_or((0, line.number));
            self.skipped = Some((count + 1, first));
        }
        if self.format.is_some_and(|format| sniff::is_of_another(format, line.text())) {
            self.another_at.get_or_insert(line.number);
        }
    }

    fn push(&mut self, operation: PatchOperation) {
        self.operations.push(Ok(operation));
    }

    fn refuse(&mut self, path: impl Into<String>, outcome: impl Into<OperationOutcome>) {
        self.operations.push(Err((path.into(), outcome.into())));
    }

    fn finish(mut self, format: PatchFormat) -> Option<Read> {
        if let Some((count, first)) = self.skipped {
            let lines = if count == 1 { "line" } else { "lines" };
            self.notes.push(format!(
                "text around the patch was skipped ({count} {lines}, the first is line {first})"
            ));
        }
        // A patch of which half is passed over is none.
        if let Some(line) = self.another_at.filter(|_| !self.operations.is_empty()) {
            self.refuse("", fault(line, hints::two_formats(format)));
        }
        (!self.operations.is_empty()).then_some(Read {
            format,
            operations: self.operations,
            notes: self.notes,
        })
    }
}

/// A fault that begins with this line.
fn fault(line: usize, (what, hint): (String, String)) -> Malformed {
    Malformed { line: crate::hunks::to_u32(line), column: 1, what, hint }
}

/// The path that a name stands for. `./` before it means nothing.
fn path(name: &str) -> Result<WorkspacePath, Refused> {
    WorkspacePath::parse(name.strip_prefix("./").unwrap_or(name)).map_err(|why| {
        let why = why.to_string();
        (name.to_owned(), OperationOutcome::DeniedPath { why })
    })
}
