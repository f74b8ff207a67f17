//! Finds out where no pattern begins without reading every symbol.
//!
//! A gram is four symbols in a row. Of the grams of a text one in so many is looked at, near enough to each other that
//! one of them is among the first grams of any pattern that stands there. Where it is no first gram of any, none
//! begins.

use crate::view::is_symbol;

const GRAM_SYMBOLS: usize = 4;

/// The shortest pattern decides how far apart the grams may be that are looked at. Further than this saves hardly
/// anything, and more grams are known by chance.
const STRIDE_MAX: usize = 24;

/// With one bit of so many set, chance seldom makes a gram known.
const BITS_A_GRAM: usize = 32;
/// 512 KB: what a processor has near it. With thousands of secrets chance is less seldom.
const BITS_MAX: usize = 1 << 22;

/// The first grams of all patterns.
pub(crate) struct Grams {
    /// A bit for each hash of a gram. Grams of the same hash are taken for each other.
    known: Vec<u64>,
    hash_bits: u32,
    stride: usize,
}

/// What [`Grams::look`] found.
pub(crate) struct Looked {
    /// No pattern begins before it.
    pub clear: usize,
    /// Between there and here one may begin.
    pub end: usize,
}

impl Grams {
    pub fn new(patterns: &[Vec<u8>]) -> Self {
        let shortest = patterns.iter().map(Vec::len).min().unwrap_or(usize::MAX);
        let stride = shortest.saturating_sub(GRAM_SYMBOLS).clamp(1, STRIDE_MAX);
        let bits = (patterns.len() * stride * BITS_A_GRAM).next_power_of_two().clamp(64, BITS_MAX);
        let mut grams = Self { known: vec![0; bits / 64], hash_bits: bits.ilog2(), stride };
        for gram in patterns.iter().flat_map(|pattern| pattern.windows(GRAM_SYMBOLS).take(stride + 1)) {
            let (word, bit) = grams.place(gram.first_chunk().copied().unwrap_or_default());
            if let Some(word) = grams.known.get_mut(word) {
                *word |= bit;
            }
        }
        grams
    }

    /// Which word, and which bit of it.
    #[inline(always)]
    fn place(&self, gram: [u8; GRAM_SYMBOLS]) -> (usize, u64) {
        let hash = u32::from_le_bytes(gram).wrapping_mul(0x9e37_79b1) >> (u32::BITS - self.hash_bits);
        (hash as usize / 64, 1 << (hash % 64))
    }

    #[inline(always)]
    fn is_known(&self, gram: [u8; GRAM_SYMBOLS]) -> bool {
        let (word, bit) = self.place(gram);
        self.known.get(word).is_none_or(|word| word & bit != 0)
    }

    /// Looks through `text`, read literally, for the next place where a pattern may begin, which is at its end at
    /// last. None begins before `clear`, or it was found already.
    pub fn look(&self, text: &[u8], mut clear: usize) -> Looked {
        // A pattern that begins at `clear` or up to the gram has at most so many symbols before the gram.
        while let Some((at, gram)) = gram_from(text, clear + self.stride - 1) {
            // Two that follow each other are hardly ever known by chance.
            if self.is_known(gram) && gram_from(text, at + 1).is_none_or(|(_, next)| self.is_known(next)) {
                return Looked { clear, end: at + 1 };
            }
            clear = at + 1;
        }
        // Too near to the end for that, the last gram still tells of what begins before it.
        let last = text.len().saturating_sub(GRAM_SYMBOLS).max(clear);
        if let Some((at, gram)) = gram_from(text, last)
            && !self.is_known(gram)
        {
            clear = at + 1;
        }
        Looked { clear, end: text.len() }
    }
}

/// The first gram at `from` or after it, and where it begins.
#[inline(always)]
fn gram_from(text: &[u8], from: usize) -> Option<(usize, [u8; GRAM_SYMBOLS])> {
    let next = *text.get(from..)?.first_chunk()?;
    if next.into_iter().fold(true, |all, byte| all & is_symbol(byte)) {
        return Some((from, next));
    }
    let mut symbols = (from..).zip(text.get(from..)?).filter(|(_, byte)| is_symbol(**byte));
    let (at, first) = symbols.next()?;
    let mut next = || symbols.next().map(|(_, byte)| *byte);
    Some((at, [*first, next()?, next()?, next()?]))
}
