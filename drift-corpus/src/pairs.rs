//! Two contents of a file, generated: code and texts of few different lines, edited in any way; files that come, go, are
//! empty, lose their last line's terminator, or change all of them.

use crate::grammar::LANGUAGES;
use crate::rng::Rng;
use crate::round_trip::Pair;
use crate::source::{edited, source};
use crate::text::join;

/// What the engine promises to lead there and back.
pub const PAIRS: usize = 100_000;
const SEED: u64 = 0x7468_6572_6562_6163;
/// Lines that repeat leave a hunk many places; lines that look like a patch's own must not be taken for it.
const LINES: [&str; 14] = [
    "a",
    "b",
    "}",
    "",
    "    a",
    "\ta",
    "ü“",
    "-",
    "+a",
    " a",
    "--- a/x",
    "@@ -1 +1 @@",
    "*** End Patch",
    "```",
];

pub fn pair(number: usize) -> Pair {
    let mut rng = Rng::named(SEED, &number.to_string());
    let language = *rng.pick(&LANGUAGES);
    let grammar = language.grammar();
    let is_code = rng.chance(40);
    let lines: Vec<String> = if is_code {
        source(language, &mut rng).text.lines.into_iter().map(|line| line.text).collect()
    } else {
        (0..rng.below(40)).map(|_| (*rng.pick(&LINES)).to_owned()).collect()
    };
    let mut wanted = lines.clone();
    for _ in 0..rng.between(1, 6) {
        change(&mut wanted, &mut rng, |line, rng| match is_code {
            true => edited(line, grammar, rng),
            false => (*rng.pick(&LINES)).to_owned(),
        });
    }
    let terminator = if rng.chance(85) { "\n" } else { "\r\n" };
    let new_terminator = if rng.chance(97) { terminator } else { "\n" };
    let mut written = |lines: &[String], terminator| {
        let is_closed = rng.chance(85);
        join(lines.iter().map(String::as_str), terminator, is_closed)
    };
    let (before, after) = (written(&lines, terminator), written(&wanted, new_terminator));
    let (is_there, stays) = (rng.chance(97), rng.chance(97));
    Pair {
        name: format!("pair {number}"),
        path: format!("src/store.{}", grammar.extension),
        before: (is_there || !stays).then_some(before),
        after: stays.then_some(after),
    }
}

/// A run of lines goes, comes, comes again, moves, or is edited.
fn change(lines: &mut Vec<String>, rng: &mut Rng, mut edited: impl FnMut(&str, &mut Rng) -> String) {
    let start = rng.below(lines.len() + 1);
    let end = (start + rng.below(4)).min(lines.len());
    match rng.below(5) {
        0 => drop(lines.drain(start..end)),
        1 => {
            let new: Vec<String> = (0..rng.between(1, 3)).map(|_| edited("new", rng)).collect();
            drop(lines.splice(start..start, new));
        }
        2 => {
            let copy = lines[start..end].to_vec();
            let at = rng.below(lines.len() + 1);
            drop(lines.splice(at..at, copy));
        }
        3 => {
            let moved: Vec<String> = lines.drain(start..end).collect();
            let at = rng.below(lines.len() + 1);
            drop(lines.splice(at..at, moved));
        }
        _ => {
            for line in &mut lines[start..end] {
                *line = edited(line, rng);
            }
        }
    }
}
