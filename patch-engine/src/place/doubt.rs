//! Hunks whose lines stand somewhere, or seem to have landed, but say too little to be believed.

use std::collections::HashSet;
use std::ops::Range;

use super::decide::{Found, Verdict};
use super::form::{Form, Forms};
use super::refusal::{ambiguous, no_match};
use super::seat::changes;
use crate::hints;
use crate::hunks::HunkLines;
use crate::lines::{Lines, is_telling};

/// Brackets and blanks stand in many places. Where the edit's other hunks have landed, or stand in another form, such an
/// `old` more likely stands there by chance.
pub(super) fn weak_ones(forms: &mut Forms<'_, '_>, lines: &[HunkLines<'_>], verdicts: &mut [Verdict<'_>]) {
    let others = |verdict: &Verdict<'_>| match verdict {
        Verdict::Seated(seat) => seat.landed || seat.form > Form::Trailing,
        Verdict::Refused(_) | Verdict::Doubtful { .. } | Verdict::Nowhere => false,
    };
    if !verdicts.iter().any(others) {
        return;
    }
    let file = forms.file;
    for (index, (verdict, hunk)) in verdicts.iter_mut().zip(lines).enumerate() {
        let Verdict::Seated(seat) = &*verdict else { continue };
        let weak = !hunk.old.is_empty() && !hunk.old.iter().any(is_telling);
        if weak && !seat.landed && seat.form <= Form::Trailing {
            let hint = hints::landed_or_not(index);
            let refusal = ambiguous(file, index, &hunk.old, &[seat.full.start], hint);
            let places = forms.index(Form::Punctuation).places(&[&hunk.new]).pop().unwrap_or_default();
            *verdict = match places.as_slice() {
                [] => Verdict::Refused(refusal),
                _ => {
                    let new = Found { form: Form::Punctuation, places };
                    Verdict::Doubtful { new, refusal, somewhere: None }
                }
            };
        }
    }
}

/// So few lines close up in many places.
const LITTLE_CONTEXT: usize = 2;

/// One deleted line of so many may stand elsewhere by chance.
const FEW: usize = 3;

/// A deletion has not landed where its little context closes up while lines of it still stand, once and brought by no
/// other hunk, and all that it left behind stands more often.
pub(super) fn deletions(forms: &mut Forms<'_, '_>, lines: &[HunkLines<'_>], verdicts: &mut [Verdict<'_>]) {
    for (index, (verdict, hunk)) in verdicts.iter_mut().zip(lines).enumerate() {
        let Verdict::Seated(seat) = &*verdict else { continue };
        if !seat.landed || !hunk.only_deletes() || hunk.new.len() > LITTLE_CONTEXT {
            continue;
        }
        let text = forms.index(Form::Punctuation);
        let often = |id: u32| text.postings.of(id).len();
        let telling = |lines: &Lines<'_>, of: Range<usize>| -> Vec<u32> {
            let telling = of.map(|line| lines.get(line)).filter(|line| is_telling(line));
            telling.filter_map(|line| text.number(line)).collect()
        };
        let others = lines.iter().enumerate().filter(|(other, _)| *other != index);
        let brought: HashSet<u32> =
            others.flat_map(|(_, other)| telling(&other.new, other.new_core(0))).collect();
        let left_behind = telling(&hunk.new, 0..hunk.new.len());
        let closes_anywhere = left_behind.into_iter().all(|id| often(id) > 1);
        let stands = |id: u32| often(id) == 1 && !brought.contains(&id);
        let deleted = telling(&hunk.old, hunk.old_core(0));
        let standing = deleted.iter().filter(|id| stands(**id)).count();
        if closes_anywhere && standing * FEW > hunk.telling_deleted().count() {
            *verdict = Verdict::Refused(no_match(index, None, hints::perhaps_deleted(index)));
        }
    }
}

/// So many lines that say something stand between the same neighbours as before by no chance.
const STILL_THERE_MIN: usize = 3;
/// And with those neighbours are so many in a hundred of all lines of `old`.
const STILL_THERE_PERCENT: usize = 60;

/// A hunk has not landed where its `new` stands, but what it takes away still stands elsewhere between its own
/// neighbours: that is where it was meant to go, and its `new` another's lines.
pub(super) fn still_pending(
    forms: &mut Forms<'_, '_>,
    lines: &[HunkLines<'_>],
    verdicts: &mut [Verdict<'_>],
) {
    for (index, (verdict, hunk)) in verdicts.iter_mut().zip(lines).enumerate() {
        let Verdict::Seated(seat) = &*verdict else { continue };
        if !seat.landed || hunk.old.len() <= hunk.new.len() {
            continue;
        }
        let file = forms.file;
        let text = forms.index(Form::Punctuation);
        let telling = |of: Range<usize>| of.filter(|line| is_telling(hunk.old.get(*line))).count();
        let row = |of: &Range<usize>| of.start.saturating_sub(1)..(of.end + 1).min(hunk.old.len());
        let taken: Vec<Range<usize>> =
            changes(hunk).into_iter().map(|(old, _)| old).filter(|old| !old.is_empty()).collect();
        let shown: usize = taken.iter().map(|old| telling(row(old))).sum();
        let is_most = shown * 100 >= telling(0..hunk.old.len()) * STILL_THERE_PERCENT;
        let still = taken.iter().map(|old| telling(old.clone())).sum::<usize>();
        let stand = || taken.iter().all(|old| !text.places_of(&hunk.old, row(old)).is_empty());
        if still >= STILL_THERE_MIN && is_most && stand() {
            let refusal = ambiguous(file, index, &hunk.new, &[seat.full.start], hints::landed_or_not(index));
            *verdict = Verdict::Refused(refusal);
        }
    }
}

#[cfg(test)]
mod tests {
    use shared_contracts::patches::{Hunk, OperationOutcome};

    use super::super::{Base, Placement, place};

    fn deletion() -> Hunk {
        let old = "return -1;\ncheck(account);\nstore += 39;\nreturn -1;\n".into();
        Hunk { old, new: "return -1;\nreturn -1;\n".into(), ..Hunk::default() }
    }

    #[test]
    fn a_deletion_whose_line_still_stands_has_not_landed() {
        let edited = "return -1;\ncheck(batch);\nstore += 39;\nreturn -1;\nelse\nreturn -1;\nreturn -1;\n";
        let came = place(edited, Base::Unknown, &[deletion()]);
        assert!(matches!(came, Err(OperationOutcome::NoMatch { .. })), "{came:?}");
    }

    #[test]
    fn a_deletion_whose_line_another_hunk_brings_has_landed() {
        let brings =
            Hunk { old: "tail\nend\n".into(), new: "tail\nstore += 39;\nend\n".into(), ..Hunk::default() };
        let landed = "return -1;\nreturn -1;\nelse\nreturn -1;\ntail\nstore += 39;\nend\n";
        assert_eq!(place(landed, Base::Unknown, &[deletion(), brings]), Ok(Placement::Landed));
    }

    #[test]
    fn a_deletion_that_left_a_rare_line_behind_has_landed() {
        let old = "send(6);\nstore += 39;\nreturn -1;\n".into();
        let hunk = Hunk { old, new: "send(6);\nreturn -1;\n".into(), ..Hunk::default() };
        let landed = "send(6);\nreturn -1;\nelse\nstore += 39;\nreturn -1;\n";
        assert_eq!(place(landed, Base::Unknown, &[hunk]), Ok(Placement::Landed));
    }

    #[test]
    fn a_hunk_has_not_landed_while_what_it_takes_away_stands_between_its_neighbours() {
        let taken = "above();\none();\ntwo();\nthree();\nbelow();\n";
        let hunk = Hunk {
            old: format!("far();\n{taken}"),
            new: "far();\nabove();\nbelow();\n".into(),
            ..Hunk::default()
        };
        let twin = "far();\nabove();\nbelow();\nend();\n";
        let came = |file: &str| place(file, Base::Unknown, std::slice::from_ref(&hunk));
        assert_eq!(came(twin), Ok(Placement::Landed));
        let pending = came(&format!("{twin}edited();\n{taken}"));
        assert!(matches!(pending, Err(OperationOutcome::Ambiguous { .. })), "{pending:?}");
        // Between other neighbours they are others.
        let others = taken.replace("above", "other");
        assert_eq!(came(&format!("{twin}edited();\n{others}")), Ok(Placement::Landed));
    }
}
