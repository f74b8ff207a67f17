//! An answer against the truth.

use std::collections::BTreeSet;

use crate::truth::{Expected, without_typography};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it said that the edit is in place.
    pub is_done: bool,
    /// The file afterwards.
    pub content: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The right text; or a refusal where that is the right answer.
    Right,
    /// It could have been placed.
    Refused,
    /// Another text than the right one, and said to be done.
    Wrong,
    /// Refused, and yet the file is not as it was.
    Half,
}

pub fn judge(expected: &Expected, current: &str, answer: &Answer) -> Verdict {
    if !answer.is_done {
        return match expected {
            _ if answer.content != current => Verdict::Half,
            Expected::Right(_) | Expected::AlreadyApplied => Verdict::Refused,
            Expected::RightOrRefused(_)
            | Expected::AlreadyAppliedOrRefused
            | Expected::Ambiguous(_)
            | Expected::Conflict => Verdict::Right,
        };
    }
    let is_right = match expected {
        Expected::Right(text) | Expected::RightOrRefused(text) | Expected::Ambiguous(text) => {
            answer.content == *text || is_in_the_files_style(&answer.content, text, current)
        }
        Expected::AlreadyApplied | Expected::AlreadyAppliedOrRefused => answer.content == current,
        Expected::Conflict => false,
    };
    if is_right { Verdict::Right } else { Verdict::Wrong }
}

/// A new line may take over the typographic punctuation that the file has in the line it replaces, or not.
fn is_in_the_files_style(content: &str, wanted: &str, current: &str) -> bool {
    if current.is_ascii() {
        return false;
    }
    let standing: BTreeSet<&str> = current.lines().collect();
    let is_alike = |(one, other): (&str, &str)| {
        one == other || !standing.contains(other) && without_typography(one) == without_typography(other)
    };
    content.split('\n').count() == wanted.split('\n').count()
        && content.split('\n').zip(wanted.split('\n')).all(is_alike)
}
