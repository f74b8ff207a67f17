//! When two lines count as the same: each form is coarser than the one before it.

use std::borrow::Cow;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use shared_contracts::patches::PlacementStep;

use super::occurrences::{Postings, occurrences};
use crate::lines::{Lines, content};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Exact,
    /// But for the line terminator.
    Ending,
    /// But for blanks at the end.
    Trailing,
    /// But for blanks at the beginning.
    Indentation,
    /// But for typographic quotes, dashes and spaces.
    Punctuation,
}

impl Form {
    /// The forms below the exact one, strictest first.
    pub(crate) const COARSE: [Self; 4] = [Self::Ending, Self::Trailing, Self::Indentation, Self::Punctuation];

    /// What of the line counts. No line of two is the same in one form and not in a coarser one.
    pub(crate) fn key(self, line: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(line),
            Self::Ending => Cow::Borrowed(content(line)),
            Self::Trailing => Cow::Borrowed(without_blanks_at_end(content(line))),
            Self::Indentation => Cow::Borrowed(without_blanks(content(line))),
            Self::Punctuation => folded(without_blanks(content(line))),
        }
    }

    pub(crate) fn step(self) -> PlacementStep {
        match self {
            Self::Exact => PlacementStep::Exact,
            Self::Ending => PlacementStep::LineEndings,
            Self::Trailing => PlacementStep::TrailingSpace,
            Self::Indentation => PlacementStep::Indentation,
            Self::Punctuation => PlacementStep::Punctuation,
        }
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0xc)
}

fn without_blanks_at_end(line: &str) -> &str {
    let end = line.bytes().rposition(|byte| !is_blank(&byte)).map_or(0, |last| last + 1);
    line.get(..end).unwrap_or_default()
}

fn without_blanks(line: &str) -> &str {
    let start = line.bytes().take_while(is_blank).count();
    without_blanks_at_end(line.get(start..).unwrap_or_default())
}

fn folded(line: &str) -> Cow<'_, str> {
    if line.is_ascii() {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len());
    for letter in line.chars() {
        match fold(letter) {
            Some(plain) => text.push_str(plain),
            None => text.push(letter),
        }
    }
    let trimmed = text.trim();
    if trimmed.len() < text.len() { Cow::Owned(trimmed.to_owned()) } else { Cow::Owned(text) }
}

/// The ASCII that a typographic character stands for; none for all others.
pub(crate) fn fold(letter: char) -> Option<&'static str> {
    Some(match letter {
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{2035}' | '\u{ff07}' => "'",
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{2036}' | '\u{ff02}' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => "-",
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => " ",
        '\u{2026}' => "...",
        '\u{200b}' | '\u{2060}' | '\u{feff}' => "",
        _ => return None,
    })
}

pub(crate) type Mixing = BuildHasherDefault<Mixer>;

/// Hashes a line eight bytes at a time. Lines chosen to collide only make it slow, as their sender would.
#[derive(Default)]
pub(crate) struct Mixer(u64);

impl Mixer {
    /// One product of 64 bits: WebAssembly has no wider one.
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= 0xa076_1d64_78bd_642f;
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(bytes.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        self.mix(last);
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    // What ends a string; its length is mixed in already.
    fn write_u8(&mut self, _: u8) {}

    // The upper bits are the well mixed ones; tables look at the lower ones.
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// The hash of a text.
pub(crate) fn mixed(text: &str) -> u64 {
    let mut mixer = Mixer::default();
    mixer.write(text.as_bytes());
    mixer.finish()
}

/// A line of a run that the file does not have.
const UNKNOWN: u32 = u32::MAX;

/// Room is made at once for as many different lines; a file of more may be all the same line.
const LINES_EXPECTED_MAX: usize = 1 << 14;

/// Different lines, numbered as they come. Growing looks at no line again.
struct Numbers<'text> {
    keys: Vec<Cow<'text, str>>,
    /// Half a hash and a number; twice as many as keys at least, and a power of two.
    slots: Vec<(u32, u32)>,
}

impl<'text> Numbers<'text> {
    fn with_room(lines: usize) -> Self {
        let slots = vec![(0, UNKNOWN); (2 * lines).next_power_of_two().max(16)];
        Self { keys: Vec::with_capacity(lines), slots }
    }

    /// The number, or the slot that it would have.
    fn find(&self, hash: u32, key: &str) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots.get(at) {
                Some((there, number)) if *number != UNKNOWN => {
                    if *there == hash && self.keys.get(*number as usize).is_some_and(|known| known == key) {
                        return Ok(*number);
                    }
                }
                _ => return Err(at),
            }
            at = (at + 1) & mask;
        }
    }

    fn of(&self, key: &str) -> Option<u32> {
        self.find(half_hash(key), key).ok()
    }

    fn of_or_next(&mut self, key: Cow<'text, str>) -> u32 {
        let hash = half_hash(&key);
        let at = match self.find(hash, &key) {
            Ok(number) => return number,
            Err(at) => at,
        };
        let number = self.keys.len() as u32;
        self.keys.push(key);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = (hash, number);
        }
        if 2 * self.keys.len() > self.slots.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        let mask = 4 * self.slots.len() - 1;
        let mut slots = vec![(0, UNKNOWN); mask + 1];
        for (hash, number) in self.slots.iter().filter(|(_, number)| *number != UNKNOWN) {
            let mut at = *hash as usize & mask;
            while slots.get(at).is_some_and(|(_, taken)| *taken != UNKNOWN) {
                at = (at + 1) & mask;
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = (*hash, *number);
            }
        }
        self.slots = slots;
    }
}

fn half_hash(key: &str) -> u32 {
    (mixed(key) >> 32) as u32
}

/// The file's lines as numbers, equal where the lines are the same in a form.
pub(crate) struct Index<'text> {
    form: Form,
    numbers: Numbers<'text>,
    pub(crate) file: Vec<u32>,
    pub(crate) postings: Postings,
}

impl<'text> Index<'text> {
    fn new(form: Form, file: &Lines<'text>) -> Self {
        let mut numbers = Numbers::with_room(file.len().min(LINES_EXPECTED_MAX));
        let ids: Vec<u32> = file.iter().map(|line| numbers.of_or_next(form.key(line))).collect();
        let postings = Postings::new(&ids, numbers.keys.len());
        Self { form, numbers, file: ids, postings }
    }

    /// The number of a line, if the file has it.
    pub(crate) fn number(&self, line: &str) -> Option<u32> {
        self.numbers.of(&self.form.key(line))
    }

    /// The lines of the file that are this one.
    pub(crate) fn lines_of(&self, line: &str) -> &[u32] {
        self.number(line).map_or(&[], |id| self.postings.of(id))
    }

    pub(crate) fn run(&self, lines: &Lines<'_>) -> Vec<u32> {
        lines.iter().map(|line| self.number(line).unwrap_or(UNKNOWN)).collect()
    }

    /// The first few places where some of these lines stand in a row.
    pub(crate) fn places_of(&self, lines: &Lines<'_>, row: Range<usize>) -> Vec<usize> {
        let row: Option<Vec<u32>> = row.map(|line| self.number(lines.get(line))).collect();
        let places = row.map(|row| occurrences(&self.file, &self.postings, &[&row]));
        places.and_then(|mut places| places.pop()).unwrap_or_default()
    }

    /// Where each run of lines stands, as far as the first few places.
    pub(crate) fn places(&self, runs: &[&Lines<'_>]) -> Vec<Vec<usize>> {
        let runs: Vec<Vec<u32>> = runs.iter().map(|run| self.run(run)).collect();
        let runs: Vec<&[u32]> =
            runs.iter().map(|run| if run.contains(&UNKNOWN) { &[][..] } else { run.as_slice() }).collect();
        occurrences(&self.file, &self.postings, &runs)
    }
}

/// The file in every form that was asked for; most files are asked for none.
pub(crate) struct Forms<'file, 'text> {
    pub(crate) file: &'file Lines<'text>,
    made: Vec<Index<'text>>,
    /// All that are made stay.
    pub(crate) lasting: bool,
}

impl<'file, 'text> Forms<'file, 'text> {
    pub(crate) fn new(file: &'file Lines<'text>) -> Self {
        Self { file, made: Vec::new(), lasting: false }
    }

    /// For many edits, of which each may ask for any form.
    pub(crate) fn lasting(file: &'file Lines<'text>) -> Self {
        Self { lasting: true, ..Self::new(file) }
    }

    pub(crate) fn index(&mut self, form: Form) -> &Index<'text> {
        let at = match self.made.iter().position(|index| index.form == form) {
            Some(at) => at,
            None => {
                // Of one edit only the coarsest is asked for again later; the others need not stay in memory.
                self.made.retain(|index| self.lasting || index.form == Form::Punctuation);
                self.made.push(Index::new(form, self.file));
                self.made.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or pushed just now")]
        &self.made[at]
    }
}
