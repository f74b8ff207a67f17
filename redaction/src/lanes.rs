//! Reads a block of text literally in four places at once.
//!
//! A step of an automaton waits for the one before it; four that know nothing of each other take hardly longer than
//! one. Each lane but the first begins as if nothing stood before it, and its first symbols are read again with what
//! does stand there, until both agree: they do after a few.

use std::collections::HashMap;

use aho_corasick::automaton::StateID;

use crate::matcher::Matcher;
use crate::view::{Kind, is_symbol, kind};

/// A shorter block is not worth it.
const BLOCK_BYTES_MIN: usize = 256;
/// Where a secret stands the whole block is read again.
pub(crate) const BLOCK_BYTES_MAX: usize = 2 * 1024;
const LANES: usize = 4;

/// 16 MB: some fifty tokens.
const CELLS_MAX: usize = 4 * 1024 * 1024;

/// Flags of a cell: a pattern ends here; or this was a `\` or `%`.
const MATCH: u32 = 1 << 31;
const OPENING: u32 = 1 << 30;

/// The automaton as a row of cells for each state. A cell is where the next row starts, with its flags: what is to be
/// done about a byte is decided when the table is made, dropped bytes too, and reading has no branch that depends on text.
pub(crate) struct Table {
    cells: Vec<u32>,
    /// Which cell of a row a byte is.
    columns: [u8; 256],
    width: usize,
    states: Vec<StateID>,
    rows: HashMap<StateID, u32>,
}

/// A block in which no secret stands literally.
pub(crate) struct Block {
    pub length: usize,
    /// The state after it.
    pub state: StateID,
    /// Where a `\` or `%` stands, and the state before it.
    pub openings: Vec<(usize, StateID)>,
}

impl Table {
    pub fn new(matcher: &Matcher, patterns: &[Vec<u8>], states: Vec<StateID>) -> Option<Self> {
        let mut used = [false; 256];
        for symbol in patterns.iter().flatten() {
            used.get_mut(usize::from(*symbol)).map(|used| *used = true)?;
        }
        // A byte for each column: one for all that is dropped, one for all symbols that are in no pattern.
        let mut heads: Vec<(u8, bool)> = Vec::new();
        let mut columns = [0; 256];
        for ((byte, column), used) in (0..=u8::MAX).zip(&mut columns).zip(used) {
            let alone = used || kind(byte) == Kind::Opening;
            let like = heads.iter().position(|(head, other)| !alone && !other && kind(*head) == kind(byte));
            *column = like.unwrap_or(heads.len()) as u8;
            if like.is_none() {
                heads.push((byte, alone));
            }
        }
        let width = heads.len();
        if states.len() * width > CELLS_MAX {
            return None;
        }
        let rows: HashMap<StateID, u32> =
            states.iter().enumerate().map(|(row, state)| (*state, (row * width) as u32)).collect();
        let mut cells = Vec::with_capacity(states.len() * width);
        for state in &states {
            for (head, _) in &heads {
                let next = if is_symbol(*head) { matcher.next(*state, *head) } else { *state };
                let matched = if is_symbol(*head) && matcher.is_match(next) { MATCH } else { 0 };
                let opening = if kind(*head) == Kind::Opening { OPENING } else { 0 };
                cells.push(rows.get(&next)? | matched | opening);
            }
        }
        Some(Self { cells, columns, width, states, rows })
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
    fn next(&self, row: u32, byte: u8) -> u32 {
        // There is always a cell; if not, the block is read closely.
        self.cells.get(row as usize + usize::from(self.columns[usize::from(byte)])).copied().unwrap_or(MATCH)
    }

    fn state(&self, row: u32) -> Option<StateID> {
        self.states.get(row as usize / self.width).copied()
    }

    /// What `text` begins with, read from `state`; None if that is too short or a secret ends in it.
    pub fn look(&self, start: StateID, state: StateID, text: &[u8]) -> Option<Block> {
        let lane_bytes = text.len().min(BLOCK_BYTES_MAX) / LANES;
        if lane_bytes * LANES < BLOCK_BYTES_MIN {
            return None;
        }
        let (start, first) = (*self.rows.get(&start)?, *self.rows.get(&state)?);
        let mut parts = text.chunks_exact(lane_bytes);
        let lanes: [&[u8]; LANES] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let mut openings: [Vec<(usize, u32)>; LANES] = Default::default();

        let mut rows = [first, start, start, start];
        let [one, two, three, four] = lanes;
        for (at, (((one, two), three), four)) in one.iter().zip(two).zip(three).zip(four).enumerate() {
            let [a, b, c, d] = rows;
            let next = [self.next(a, *one), self.next(b, *two), self.next(c, *three), self.next(d, *four)];
            let [e, f, g, h] = next;
            rows = next;
            if (e | f | g | h) >= OPENING {
                if (e | f | g | h) >= MATCH {
                    return None;
                }
                for ((openings, before), row) in openings.iter_mut().zip([a, b, c, d]).zip(&mut rows) {
                    openings.extend((*row >= OPENING).then_some((at, before)));
                    *row &= !OPENING;
                }
            }
        }

        let mut row = first;
        let mut found = Vec::new();
        for (number, ((lane, end), mut openings)) in lanes.into_iter().zip(rows).zip(openings).enumerate() {
            let assumed = if number == 0 { first } else { start };
            row = self.corrected(lane, row, assumed, end, &mut openings)?;
            for (at, before) in openings {
                found.push((number * lane_bytes + at, self.state(before)?));
            }
        }
        Some(Block { length: lane_bytes * LANES, state: self.state(row)?, openings: found })
    }

    /// The row after a lane that was read from `assumed` to `end`, and is truly entered in `row`.
    fn corrected(
        &self,
        lane: &[u8],
        mut row: u32,
        mut assumed: u32,
        end: u32,
        openings: &mut [(usize, u32)],
    ) -> Option<u32> {
        let mut openings = openings.iter_mut();
        for byte in lane {
            if row == assumed {
                return Some(end);
            }
            if kind(*byte) == Kind::Opening
                && let Some((_, before)) = openings.next()
            {
                *before = row;
            }
            (row, assumed) = (self.next(row, *byte), self.next(assumed, *byte) & !OPENING);
            if row >= MATCH {
                return None;
            }
            row &= !OPENING;
        }
        Some(if row == assumed { end } else { row })
    }
}
