//! Cases and their truth: hunk by hunk, its lines and their neighbours unchanged between the version that the patch was
//! made against and the target, and standing there only once.

use std::ops::Range;

use super::diff::{Difference, differences, groups, hunk, lines_of};
use super::fetch::Files;
use super::noise::{NOISES, Noise};
use crate::case::Case;
use crate::edit::{Hunk, Sign};
use crate::format::{FORMATS, Format};
use crate::rng::Rng;
use crate::truth::Expected;

pub struct Real {
    pub cases: Vec<Case>,
    pub changed_files: usize,
    pub crates: usize,
}

const SEED: u64 = 0x6869_7374_6f72_7931;
/// Beyond it a file is rewritten, not edited.
const HUNKS_MAX: usize = 40;

/// What a patch meets.
#[derive(Clone, Copy)]
enum Target {
    Itself,
    Older,
    Later,
    Landed,
    LandedLater,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Itself => "the version it was made against",
            Self::Older => "an older version",
            Self::Later => "a later version",
            Self::Landed => "landed",
            Self::LandedLater => "landed, then a later version",
        }
    }
}

pub fn cases(histories: &[(&'static str, Vec<Files>)]) -> Real {
    let mut real = Real { cases: Vec::new(), changed_files: 0, crates: histories.len() };
    for (name, versions) in histories {
        for (number, pair) in versions.windows(2).enumerate() {
            for (path, before) in &pair[0] {
                let Some(after) = pair[1].get(path).filter(|after| *after != before) else { continue };
                real.changed_files += 1;
                let older = number.checked_sub(1).and_then(|older| versions[older].get(path));
                let later = versions.get(number + 2).and_then(|later| later.get(path));
                let file = format!("{name}/{number}/{path}");
                let mut rng = Rng::named(SEED, &file);
                let forth = Pair { file: &file, path, before, after };
                // A later version has the change already; what it has not is the change taken back.
                let back = Pair { file: &file, path, before: after, after: before };
                let meetings = [
                    (&forth, Target::Itself, Some(before)),
                    (&forth, Target::Older, older.filter(|older| *older != before)),
                    (&back, Target::Later, later.filter(|later| *later != after)),
                    (&forth, Target::Landed, Some(after)),
                    (&forth, Target::LandedLater, later.filter(|later| *later != after)),
                ];
                for (pair, target, current) in meetings {
                    if let Some(current) = current {
                        pair.cases(target, current, &mut rng, &mut real.cases);
                    }
                }
            }
        }
    }
    real
}

struct Pair<'text> {
    file: &'text str,
    path: &'text str,
    before: &'text str,
    after: &'text str,
}

impl Pair<'_> {
    fn cases(&self, target: Target, current: &str, rng: &mut Rng, cases: &mut Vec<Case>) {
        for format in FORMATS {
            let context = context_of(format);
            let changes = differences(self.before, self.after);
            if changes.is_empty() || changes.len() > HUNKS_MAX {
                return;
            }
            let (before, after) = (lines_of(self.before), lines_of(self.after));
            let hunks: Vec<Hunk> =
                groups(&changes, context).map(|group| hunk(&before, &after, group, context)).collect();
            if !hunks.iter().all(|hunk| can_be_written(hunk, format)) {
                continue;
            }
            let Some(truth) = self.truth(target, current, &changes, format, &hunks) else { continue };
            let kind = match (&truth.0, target) {
                (Expected::Conflict, Target::Older | Target::Later | Target::LandedLater) => "a conflict",
                _ => target.name(),
            };
            let case =
                |name: &str, kind, current: String, hunks, patch, truth: (Expected, Option<Expected>)| Case {
                    name: format!("{}/{name}/{}", self.file, format.name()),
                    kind,
                    format,
                    path: self.path.to_owned(),
                    base: self.before.to_owned(),
                    after: self.after.to_owned(),
                    current,
                    hunks,
                    patch,
                    with_base: Some(truth.0),
                    without_base: truth.1,
                };
            let patch = format.write(self.path, &hunks);
            cases.push(case(kind, kind, current.to_owned(), hunks.clone(), patch, truth.clone()));
            // One noise for each patch that has one right place.
            let noise = *rng.pick::<Noise>(&NOISES);
            let is_placed = matches!(truth, (Expected::Right(_), Some(Expected::Right(_))));
            if is_placed && noise.fits(format) && ![self.before, self.after, current].concat().contains('\r')
            {
                let Some((hunks, patch)) = noise.spoil(format, self.path, &hunks, rng) else { continue };
                let (current, truth) = match (noise, truth) {
                    (Noise::CrlfTarget, (Expected::Right(right), _)) => {
                        let right = Expected::Right(right.replace('\n', "\r\n"));
                        (current.replace('\n', "\r\n"), (right.clone(), Some(right)))
                    }
                    (_, truth) => (current.to_owned(), truth),
                };
                cases.push(case(
                    &format!("{kind}, {}", noise.name()),
                    noise.name(),
                    current,
                    hunks,
                    patch,
                    truth,
                ));
            }
        }
    }

    /// With the base and without. None where the versions do not tell.
    fn truth(
        &self,
        target: Target,
        current: &str,
        changes: &[Difference],
        format: Format,
        hunks: &[Hunk],
    ) -> Option<(Expected, Option<Expected>)> {
        let lines = lines_of(current);
        let regions: Vec<&[Difference]> = groups(changes, context_of(format)).collect();
        let (before, after) = (lines_of(self.before), lines_of(self.after));
        // Only line numbers say which of two equal places in the base is meant.
        let stands_once = |hunk: &Hunk| count(&before, &lines_of(&hunk.old_side())) <= 1;
        let is_known_in_base = format.is_unified() || hunks.iter().all(stands_once);
        if matches!(target, Target::Landed | Target::LandedLater) {
            let moved = differences(self.after, current);
            let stays = |group: &&[Difference]| !is_touched(&around(group, |change| &change.after), &moved);
            let old_is_gone = hunks.iter().all(|hunk| {
                let (old, new) = (hunk.old_side(), hunk.new_side());
                let within = count(&lines_of(&new), &lines_of(&old));
                count(&lines, &lines_of(&old)) == within && within <= 1
            });
            if !regions.iter().all(stays) {
                return None;
            }
            let without = old_is_gone.then_some(Expected::AlreadyApplied);
            let with = match is_known_in_base {
                true => Expected::AlreadyApplied,
                false => Expected::AlreadyAppliedOrRefused,
            };
            return Some((with, without));
        }
        let moved = differences(self.before, current);
        let mut is_unique = true;
        for (group, hunk) in regions.iter().zip(hunks) {
            if stands_elsewhere(&lines, hunk, offset_above(&moved, group)) {
                return None;
            }
            let region = around(group, |change| &change.before);
            if is_touched(&region, &moved) {
                // Who only sees other terminators is not in anybody's way.
                if changes_terminators(hunk) {
                    return None;
                }
                return self
                    .is_conflict(group, &before, &after, &lines)
                    .then_some((Expected::Conflict, Some(Expected::Conflict)));
            }
            let core = &before[region.start.min(before.len())..region.end.min(before.len())];
            is_unique &= count(&lines, core) == 1;
        }
        let right = self.moved_along(changes, &moved, &lines, &after);
        let known = |is_known, right| match is_known {
            true => Expected::Right(right),
            false => Expected::RightOrRefused(right),
        };
        Some((known(is_known_in_base, right.clone()), Some(known(is_unique, right))))
    }

    /// The target with each change made where its lines are now.
    fn moved_along(
        &self,
        changes: &[Difference],
        moved: &[Difference],
        lines: &[&str],
        after: &[&str],
    ) -> String {
        let mut text = String::new();
        let mut at = 0;
        for change in changes {
            let start =
                (change.before.start as isize + offset_above(moved, std::slice::from_ref(change))) as usize;
            text.extend(lines[at..start].iter().copied());
            text.extend(after[change.after.clone()].iter().copied());
            at = start + change.before.len();
        }
        text.extend(lines[at..].iter().copied());
        text
    }

    /// Lines that were to be replaced are nowhere, and neither are those that were to come.
    fn is_conflict(&self, group: &[Difference], before: &[&str], after: &[&str], lines: &[&str]) -> bool {
        group.iter().any(|change| {
            let (old, new) = (&before[change.before.clone()], &after[change.after.clone()]);
            let is_code = |lines: &[&str]| lines.iter().any(|line| line.trim().len() > 3);
            is_code(old) && is_code(new) && count(lines, old) == 0 && count(lines, new) == 0
        })
    }
}

fn context_of(format: Format) -> usize {
    if format == Format::Unified1 { 1 } else { 3 }
}

/// Whether the format has a way to say it: search/replace cannot hold its own marks, and the last two cannot insert
/// beside nothing.
fn can_be_written(hunk: &Hunk, format: Format) -> bool {
    let has_marks = || {
        let is_mark = |line: &str| {
            ["<<<<<<<", "=======", ">>>>>>>", "```"].iter().any(|mark| line.trim_start().starts_with(mark))
        };
        hunk.lines.iter().any(|(_, line)| is_mark(line))
    };
    // Only a unified diff can say that lines lose or get a terminator.
    let is_closed = |(sign, line): &(Sign, String)| *sign == Sign::Context || line.ends_with('\n');
    format.is_unified()
        || !changes_terminators(hunk)
            && (hunk.lines.iter().all(is_closed) && !hunk.old_side().trim().is_empty() && !has_marks())
}

/// By how many lines the target has grown above the first of these changes.
fn offset_above(moved: &[Difference], group: &[Difference]) -> isize {
    let first = group.first().map_or(0, |change| change.before.start);
    let earlier = moved.iter().filter(|other| other.before.end <= first);
    earlier.map(|other| other.after.len() as isize - other.before.len() as isize).sum()
}

/// Whether all that a hunk shows of the file stands once, and not where the line diff followed it to: of two twins the
/// diff took one, the text says the other, and nobody knows.
fn stands_elsewhere(lines: &[&str], hunk: &Hunk, offset: isize) -> bool {
    let old = hunk.old_side();
    let old = lines_of(&old);
    if old.is_empty() {
        return false;
    }
    let mut places = (0..lines.len()).filter(|at| lines[*at..].starts_with(&old));
    let followed = (hunk.start as isize + offset) as usize;
    matches!((places.next(), places.next()), (Some(at), None) if at != followed)
}

/// Whether both `\n` and `\r\n` end its lines.
fn changes_terminators(hunk: &Hunk) -> bool {
    let ends_in_crlf = |(_, line): &(Sign, String)| line.ends_with("\r\n");
    hunk.lines.iter().any(ends_in_crlf) && !hunk.lines.iter().all(ends_in_crlf)
}

/// The lines of a hunk from its first change to its last, with one neighbour on each side.
fn around(group: &[Difference], side: impl Fn(&Difference) -> &Range<usize>) -> Range<usize> {
    let (first, last) = (group.first().expect("not empty"), group.last().expect("not empty"));
    side(first).start.saturating_sub(1)..side(last).end + 1
}

fn is_touched(region: &Range<usize>, moved: &[Difference]) -> bool {
    moved.iter().any(|change| {
        let range = &change.before;
        if range.is_empty() {
            region.start < range.start && range.start < region.end
        } else {
            range.start < region.end && region.start < range.end
        }
    })
}

/// How often these lines stand there, whatever their indentation and their ends.
fn count(lines: &[&str], wanted: &[&str]) -> usize {
    if wanted.is_empty() {
        return 0;
    }
    let is_same = |window: &&[&str]| window.iter().zip(wanted).all(|(one, other)| one.trim() == other.trim());
    lines.windows(wanted.len()).filter(is_same).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunk(start: usize, lines: &[(Sign, &str)]) -> Hunk {
        let lines = lines.iter().map(|(sign, line)| (*sign, (*line).to_owned())).collect();
        Hunk { start, within: None, lines }
    }

    #[test]
    fn lines_that_stand_once_elsewhere_than_followed_to_are_known_to_nobody() {
        let meant = hunk(1, &[(Sign::Context, "a\n"), (Sign::Added, "new\n"), (Sign::Context, "b\n")]);
        let elsewhere = |text: &str, offset| stands_elsewhere(&lines_of(text), &meant, offset);
        assert!(!elsewhere("x\na\nb\n", 0));
        assert!(!elsewhere("x\ny\na\nb\n", 1));
        assert!(elsewhere("x\ny\na\nb\n", 0));
        assert!(!elsewhere("x\ny\na\nb\na\nb\n", 0), "it stands twice");
        assert!(!elsewhere("x\ny\n", 0), "it stands nowhere");
        let shows_nothing = hunk(0, &[(Sign::Added, "new\n")]);
        assert!(!stands_elsewhere(&["x\n"], &shows_nothing, 1));
    }

    #[test]
    fn a_hunk_with_both_kinds_of_terminators_changes_them() {
        let changes = |old, new| changes_terminators(&hunk(0, &[(Sign::Removed, old), (Sign::Added, new)]));
        assert!(changes("a\r\n", "a\n"));
        assert!(changes("a\n", "a\r\n"));
        assert!(!changes("a\r\n", "b\r\n"));
        assert!(!changes("a\n", "b\n"));
    }
}
