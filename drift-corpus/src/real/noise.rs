//! A right patch as models and chat windows spoil it. The edit that is meant stays the same.

use crate::drift::typographic;
use crate::edit::{Hunk, Sign};
use crate::format::Format;
use crate::rng::Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    WrongStarts,
    WrongCounts,
    BareHeads,
    StrippedSpace,
    TabsForSpaces,
    Shifted,
    CurlyQuotes,
    CrlfTarget,
}

pub const NOISES: [Noise; 8] = [
    Noise::WrongStarts,
    Noise::WrongCounts,
    Noise::BareHeads,
    Noise::StrippedSpace,
    Noise::TabsForSpaces,
    Noise::Shifted,
    Noise::CurlyQuotes,
    Noise::CrlfTarget,
];

impl Noise {
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongStarts => "noise: wrong start lines",
            Self::WrongCounts => "noise: wrong counts",
            Self::BareHeads => "noise: bare @@ ... @@",
            Self::StrippedSpace => "noise: stripped trailing space",
            Self::TabsForSpaces => "noise: tabs for spaces",
            Self::Shifted => "noise: block shifted",
            Self::CurlyQuotes => "noise: curly quotes",
            Self::CrlfTarget => "noise: CRLF target",
        }
    }

    pub fn fits(self, format: Format) -> bool {
        let is_in_heads = matches!(self, Self::WrongStarts | Self::WrongCounts | Self::BareHeads);
        !is_in_heads || format.is_unified()
    }

    /// The patch with this noise; none where it would change nothing, or the meaning.
    pub fn spoil(
        self,
        format: Format,
        path: &str,
        hunks: &[Hunk],
        rng: &mut Rng,
    ) -> Option<(Vec<Hunk>, String)> {
        if !self.keeps_meaning(hunks) {
            return None;
        }
        let mut spoiled = hunks.to_vec();
        match self {
            Self::WrongStarts => spoiled.iter_mut().for_each(|hunk| hunk.start = rng.below(900)),
            Self::StrippedSpace => each_line(&mut spoiled, |_, line| trimmed(line)),
            Self::TabsForSpaces => each_line(&mut spoiled, |_, line| tabbed(line)),
            Self::Shifted => shift(&mut spoiled, rng.chance(50)),
            // The added lines are what is wanted, whatever they hold.
            Self::CurlyQuotes => each_line(&mut spoiled, |sign, line| match sign {
                Sign::Added => line.to_owned(),
                Sign::Context | Sign::Removed => typographic(line),
            }),
            Self::WrongCounts | Self::BareHeads | Self::CrlfTarget => {}
        }
        let mut patch = format.write(path, &spoiled);
        let head = |line: &str| line.starts_with("@@ -");
        match self {
            Self::WrongCounts => patch = heads(&patch, head, |line| miscounted(line, rng)),
            Self::BareHeads => patch = heads(&patch, head, |_| "@@ ... @@".to_owned()),
            // A blank context line is then an empty line of the patch.
            Self::StrippedSpace => patch = heads(&patch, |line| line == " ", |_| String::new()),
            _ => {}
        }
        (self == Self::CrlfTarget || patch != format.write(path, hunks)).then_some((spoiled, patch))
    }
}

impl Noise {
    /// Whether what is meant can still be read from what is left.
    fn keeps_meaning(self, hunks: &[Hunk]) -> bool {
        let lines = || hunks.iter().flat_map(|hunk| &hunk.lines);
        let stands = |hunk: &Hunk, is_wanted: &dyn Fn(&str) -> bool| {
            hunk.lines.iter().any(|(sign, line)| *sign != Sign::Added && is_wanted(line))
        };
        match self {
            // `--- a` is a removed `-- a` only where counts are right.
            Self::WrongCounts | Self::BareHeads => {
                !lines().any(|(_, line)| line.starts_with("-- ") || line.starts_with("++ "))
            }
            Self::StrippedSpace => {
                let added = |hunk: &Hunk, other: &str| {
                    hunk.lines
                        .iter()
                        .any(|(sign, line)| *sign == Sign::Added && trimmed(line) == trimmed(other))
                };
                let is_lost = |hunk: &Hunk| {
                    let changed = hunk.lines.iter().filter(|(_, line)| trimmed(line) != *line);
                    changed.into_iter().any(|(_, line)| added(hunk, line))
                };
                !hunks.iter().any(is_lost)
            }
            // The lines that stand say what a tab is worth.
            Self::TabsForSpaces => {
                !lines().any(|(_, line)| line.contains('\t'))
                    && hunks
                        .iter()
                        .all(|hunk| stands(hunk, &|line| line.starts_with("    ") && !line.trim().is_empty()))
            }
            Self::Shifted => hunks.iter().all(|hunk| stands(hunk, &|line| !line.trim().is_empty())),
            // What an added line holds of them must not be told from what a model made of others.
            Self::CurlyQuotes => !lines().any(|(sign, line)| {
                *sign == Sign::Added
                    && line.contains(['\u{2013}', '\u{2014}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}'])
            }),
            Self::WrongStarts | Self::CrlfTarget => true,
        }
    }
}

fn each_line(hunks: &mut [Hunk], spoil: impl Fn(Sign, &str) -> String) {
    for (sign, line) in hunks.iter_mut().flat_map(|hunk| &mut hunk.lines) {
        *line = spoil(*sign, line);
    }
}

fn trimmed(line: &str) -> String {
    let end = if line.ends_with('\n') { "\n" } else { "" };
    line.trim_end().to_owned() + end
}

fn tabbed(line: &str) -> String {
    let rest = line.trim_start_matches("    ");
    "\t".repeat((line.len() - rest.len()) / 4) + rest
}

/// Every line four columns in, or out where all have them.
fn shift(hunks: &mut [Hunk], inwards: bool) {
    let is_blank = |line: &str| line.trim().is_empty();
    let can_go_out =
        hunks.iter().flat_map(|hunk| &hunk.lines).all(|(_, line)| is_blank(line) || line.starts_with("    "));
    each_line(hunks, |_, line| match line.strip_prefix("    ") {
        _ if is_blank(line) => line.to_owned(),
        Some(rest) if can_go_out && !inwards => rest.to_owned(),
        _ => format!("    {line}"),
    });
}

fn heads(patch: &str, is_head: impl Fn(&str) -> bool, mut spoil: impl FnMut(&str) -> String) -> String {
    let line = |line: &str| match line.strip_suffix('\n') {
        Some(head) if is_head(head) => spoil(head) + "\n",
        _ => line.to_owned(),
    };
    patch.split_inclusive('\n').map(line).collect()
}

/// `@@ -12,7 +12,8 @@` with counts that are a little off.
fn miscounted(head: &str, rng: &mut Rng) -> String {
    let mut off = |range: &str| {
        let (start, count) = range.split_once(',').unwrap_or((range, "1"));
        let count: usize = count.parse().unwrap_or(1);
        format!("{start},{}", (count + rng.between(1, 3)).saturating_sub(2 * rng.below(2)).max(1))
    };
    let words: Vec<&str> = head.split(' ').collect();
    let (old, new) = (off(words[1]), off(words[2]));
    format!("@@ {old} {new} @@")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_meaning(noise: Noise, lines: &[(Sign, &str)]) -> bool {
        let lines = lines.iter().map(|(sign, line)| (*sign, (*line).to_owned())).collect();
        noise.keeps_meaning(&[Hunk { start: 0, within: None, lines }])
    }

    #[test]
    fn counts_must_be_right_where_a_removed_line_looks_like_a_header() {
        for noise in [Noise::WrongCounts, Noise::BareHeads] {
            assert!(keeps_meaning(noise, &[(Sign::Removed, "--a;\n"), (Sign::Added, "a -- b\n")]));
            assert!(!keeps_meaning(noise, &[(Sign::Removed, "-- a comment\n")]), "{noise:?}");
            assert!(!keeps_meaning(noise, &[(Sign::Added, "++ an item\n")]), "{noise:?}");
        }
        assert!(keeps_meaning(Noise::WrongStarts, &[(Sign::Removed, "-- a comment\n")]));
    }

    #[test]
    fn blanks_at_the_end_must_stay_where_an_added_line_differs_in_them() {
        let strips = |lines: &[(Sign, &str)]| keeps_meaning(Noise::StrippedSpace, lines);
        assert!(strips(&[(Sign::Context, "a  \n"), (Sign::Added, "b\n")]));
        assert!(!strips(&[(Sign::Removed, "a  \n"), (Sign::Added, "a\n")]));
        assert!(!strips(&[(Sign::Added, "a \n")]), "its own blanks would be lost");
    }

    #[test]
    fn added_quotes_must_not_look_like_spoiled_ones() {
        let curls = |lines: &[(Sign, &str)]| keeps_meaning(Noise::CurlyQuotes, lines);
        assert!(curls(&[(Sign::Context, "\u{201c}a\u{201d}\n"), (Sign::Added, "\"b\"\n")]));
        assert!(!curls(&[(Sign::Added, "\u{201c}b\u{201d}\n")]));
    }
}
