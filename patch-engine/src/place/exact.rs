//! Where runs of lines stand byte for byte, in one pass over the file: each run is known by its longest line, each line
//! by its length and a few of its bytes. Nothing of the file is indexed.

use super::form::{Form, Forms};
use super::occurrences::OCCURRENCES_MAX;
use crate::hunks::HunkLines;
use crate::lines::Lines;

/// A run's longest line.
struct Anchor {
    key: u64,
    /// Lines of the run above it.
    above: usize,
    run: usize,
}

/// For each run (an empty one finds nothing) the first places where it stands, overlapping ones too.
pub(crate) fn exact_places(forms: &mut Forms<'_, '_>, runs: &[&Lines<'_>]) -> Vec<Vec<usize>> {
    match by_anchors(forms.file, runs) {
        Some(places) => places,
        // So much repetition that comparing takes long.
        None => forms.index(Form::Exact).places(runs),
    }
}

fn by_anchors(file: &Lines<'_>, runs: &[&Lines<'_>]) -> Option<Vec<Vec<usize>>> {
    let mut anchors: Vec<Anchor> = Vec::with_capacity(runs.len());
    for (run, lines) in runs.iter().enumerate() {
        let longest = (0..lines.len()).max_by_key(|line| lines.offset(line + 1) - lines.offset(*line));
        anchors.extend(longest.map(|above| Anchor { key: key(lines.get(above).as_bytes()), above, run }));
    }
    anchors.sort_unstable_by_key(|anchor| anchor.key);
    // A word for each anchor: however many there are, few other lines are looked for among them.
    let mut seen = vec![0_u64; anchors.len().next_power_of_two().max(64)];
    let mask = seen.len() - 1;
    let bit = move |key: u64| ((key >> 20) as usize & mask, 1_u64 << (key >> 58));
    for anchor in &anchors {
        let (word, bit) = bit(anchor.key);
        if let Some(word) = seen.get_mut(word) {
            *word |= bit;
        }
    }
    let mut places = vec![Vec::new(); runs.len()];
    let mut bytes_left =
        4 * (file.text().len() + runs.iter().map(|run| run.text().len()).sum::<usize>()) + 4_096;
    for (line, bytes) in file.byte_lines().enumerate() {
        let key = key(bytes);
        let (word, bit) = bit(key);
        if seen.get(word).is_none_or(|word| word & bit == 0) {
            continue;
        }
        let first = anchors.partition_point(|anchor| anchor.key < key);
        for anchor in anchors.iter().skip(first).take_while(|anchor| anchor.key == key) {
            let (Some(at), Some(run)) = (line.checked_sub(anchor.above), runs.get(anchor.run)) else {
                continue;
            };
            let Some(found) = places.get_mut(anchor.run).filter(|found| found.len() < OCCURRENCES_MAX) else {
                bytes_left = bytes_left.checked_sub(1)?;
                continue;
            };
            bytes_left = bytes_left.checked_sub(run.text().len())?;
            if file.slice(at..at + run.len()) == run.text() {
                found.push(at);
            }
        }
    }
    Some(places)
}

/// Whether the file is just what a hunk without `old` brings.
pub(super) fn is_all(file: &Lines<'_>, lines: &[HunkLines<'_>]) -> bool {
    matches!(lines, [hunk] if hunk.old.is_empty() && hunk.new.text() == file.text())
}

/// The `old` of each hunk, then its `new`.
pub(super) fn runs<'lines, 'hunk>(lines: &'lines [HunkLines<'hunk>]) -> Vec<&'lines Lines<'hunk>> {
    lines.iter().flat_map(|hunk| [&hunk.old, &hunk.new]).collect()
}

/// Length, first and last eight bytes and sixteen between, mixed: lines that look alike often differ in a name or number
/// in the middle.
fn key(bytes: &[u8]) -> u64 {
    let word = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_le_bytes(*bytes));
    let at = |at: usize| word(bytes.get(at..).and_then(<[u8]>::first_chunk)).unwrap_or_default();
    let (first, last) = match (word(bytes.first_chunk()), word(bytes.last_chunk())) {
        (Some(first), Some(last)) => (first, last),
        _ => bytes.iter().fold((0, 0), |(sum, _), byte| (sum << 8 | u64::from(*byte), 0)),
    };
    let ends = (first ^ (bytes.len() as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ last;
    let middle =
        at(bytes.len() / 4).wrapping_mul(0xc2b2_ae3d_27d4_eb4f) ^ at(bytes.len() / 2).rotate_left(32);
    (ends ^ middle.rotate_left(17)).wrapping_mul(0xff51_afd7_ed55_8ccd)
}
