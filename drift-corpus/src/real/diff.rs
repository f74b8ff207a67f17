//! Two versions of a file, line by line.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput, sources::lines};

use crate::edit::{Hunk, Sign};

/// Lines of the first text and what stands in their place in the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub before: Range<usize>,
    pub after: Range<usize>,
}

pub fn differences(before: &str, after: &str) -> Vec<Difference> {
    let input = InternedInput::new(lines(before), lines(after));
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_lines(&input);
    let range = |range: Range<u32>| range.start as usize..range.end as usize;
    diff.hunks().map(|hunk| Difference { before: range(hunk.before), after: range(hunk.after) }).collect()
}

pub fn lines_of(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Differences that share context make one hunk.
pub fn groups(differences: &[Difference], context: usize) -> impl Iterator<Item = &[Difference]> {
    differences.chunk_by(move |above, below| below.before.start - above.before.end <= 2 * context)
}

pub fn hunk(before: &[&str], after: &[&str], group: &[Difference], context: usize) -> Hunk {
    let first = group.first().expect("a group holds a difference").before.start;
    let last = group.last().expect("a group holds a difference").before.end;
    let start = first.saturating_sub(context);
    let mut lines = Vec::new();
    let mut put = |sign, from: &[&str]| lines.extend(from.iter().map(|line| (sign, (*line).to_owned())));
    let mut at = start;
    for difference in group {
        put(Sign::Context, &before[at..difference.before.start]);
        put(Sign::Removed, &before[difference.before.clone()]);
        put(Sign::Added, &after[difference.after.clone()]);
        at = difference.before.end;
    }
    put(Sign::Context, &before[at..(last + context).min(before.len())]);
    Hunk { start, within: None, lines }
}
