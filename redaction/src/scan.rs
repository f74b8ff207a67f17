//! Where secrets stand in text that comes in parts.
//!
//! Text is read in two views at once, literally and decoded (see [`crate::view`]), both by the same automaton.
//! Outside of escapes the views are the same: their states meet again a few symbols after an escape. From then on text
//! is read once for both, in blocks (see [`crate::lanes`]); closely only where a secret stands.

use std::collections::VecDeque;

use aho_corasick::automaton::StateID;

use crate::forms::{PATTERN_SYMBOLS_MAX, Pattern};
use crate::lanes::{BLOCK_BYTES_MAX, Block};
use crate::matcher::Matcher;
use crate::view::{Decode, GAP_BYTES_MAX, Kind, Read, TOKEN_BYTES_MAX, is_symbol, kind, read};

/// The longest stretch of text that can be one match: every symbol an escape after the longest gap.
pub(crate) const MATCH_BYTES_MAX: usize = PATTERN_SYMBOLS_MAX * (TOKEN_BYTES_MAX + GAP_BYTES_MAX);

/// Matches that overlap.
#[derive(Clone)]
pub(crate) struct Region {
    pub start: usize,
    pub end: usize,
    /// The match that starts first; of several the longest.
    pub pattern: Pattern,
    named_end: usize,
    /// Whether its replacement was given out.
    pub announced: bool,
}

/// An escape sequence that was read, and how many symbols it was in the decoded view.
struct Token {
    start: usize,
    end: usize,
    symbols: usize,
}

/// Positions are counted from the start of the text that is still held.
pub(crate) struct Scan {
    literal: StateID,
    decoded: StateID,
    /// Up to here the text was read.
    at: usize,
    /// The escapes that a match may still reach back to.
    tokens: VecDeque<Token>,
    pub regions: VecDeque<Region>,
}

enum View {
    Literal,
    Decoded,
}

impl Scan {
    pub fn new(matcher: &Matcher) -> Self {
        let (tokens, regions) = (VecDeque::new(), VecDeque::new());
        Self { literal: matcher.start, decoded: matcher.start, at: 0, tokens, regions }
    }

    /// Reads on in `text`, which is what is held and what came since. `ended` says that nothing will follow.
    pub fn read(&mut self, matcher: &Matcher, text: &[u8], ended: bool) {
        while self.at < text.len() {
            let rest = text.get(self.at..).unwrap_or_default();
            let table = matcher.table.as_ref().filter(|_| self.literal == self.decoded);
            let go_on = match table.and_then(|table| table.look(matcher.start, self.literal, rest)) {
                Some(block) => self.read_block(matcher, text, ended, &block),
                None => self.read_closely(matcher, text, ended, self.at + BLOCK_BYTES_MAX),
            };
            if !go_on {
                return;
            }
        }
    }

    /// A block without a literal secret: what is left to read are the escapes in it, each until the views agree again.
    /// False if more text is needed.
    fn read_block(&mut self, matcher: &Matcher, text: &[u8], ended: bool, block: &Block) -> bool {
        let start = self.at;
        for (opening, state) in &block.openings {
            // Not if it is a part of what was read already.
            if start + opening >= self.at {
                (self.at, self.literal, self.decoded) = (start + opening, *state, *state);
                while self.at == start + opening || self.literal != self.decoded {
                    if !self.read_one(matcher, text, ended) {
                        return false;
                    }
                }
            }
        }
        if self.at < start + block.length {
            (self.at, self.literal, self.decoded) = (start + block.length, block.state, block.state);
        }
        true
    }

    /// Reads byte by byte, to `end` at least. False if more text is needed.
    fn read_closely(&mut self, matcher: &Matcher, text: &[u8], ended: bool, end: usize) -> bool {
        while self.at < end {
            if !self.read_one(matcher, text, ended) {
                return false;
            }
        }
        true
    }

    /// Reads one byte or one escape in both views. False if more text is needed.
    fn read_one(&mut self, matcher: &Matcher, text: &[u8], ended: bool) -> bool {
        let rest = text.get(self.at..).unwrap_or_default();
        let Some(first) = rest.first() else { return false };
        let read = match kind(*first) {
            Kind::Opening => read(rest, ended, Decode::ALL),
            Kind::Kept | Kind::Dropped => Read::Literal(1),
        };
        match read {
            Read::Incomplete => return false,
            Read::Literal(length) => {
                for byte in rest.iter().take(length) {
                    self.at += 1;
                    if is_symbol(*byte) {
                        self.step(matcher, text, View::Literal, *byte);
                        self.step(matcher, text, View::Decoded, *byte);
                    }
                }
            }
            Read::Escape(escape) => {
                let start = self.at;
                for byte in rest.iter().take(escape.bytes) {
                    self.at += 1;
                    if is_symbol(*byte) {
                        self.step(matcher, text, View::Literal, *byte);
                    }
                }
                self.remember(Token { start, end: self.at, symbols: 0 });
                for symbol in escape.symbols() {
                    if let Some(token) = self.tokens.back_mut() {
                        token.symbols += 1;
                    }
                    self.step(matcher, text, View::Decoded, symbol);
                }
            }
        }
        true
    }

    fn step(&mut self, matcher: &Matcher, text: &[u8], view: View, symbol: u8) {
        let state = match view {
            View::Literal => &mut self.literal,
            View::Decoded => &mut self.decoded,
        };
        *state = matcher.next(*state, symbol);
        let state = *state;
        if matcher.is_match(state) {
            self.matched(matcher, text, state, self.at, view);
        }
    }

    fn remember(&mut self, token: Token) {
        while self.tokens.front().is_some_and(|oldest| oldest.end + MATCH_BYTES_MAX < token.start) {
            self.tokens.pop_front();
        }
        self.tokens.push_back(token);
    }

    /// A pattern ends at `end`. The others that end there too are inside of the longest, if its gaps are short enough.
    fn matched(&mut self, matcher: &Matcher, text: &[u8], state: StateID, end: usize, view: View) {
        let found = matcher.ending(state).find_map(|pattern| {
            let start = self.back(text, end, pattern.symbols, &view).ok()?;
            Some((start, *pattern))
        });
        let Some((start, pattern)) = found else { return };
        let mut region = Region { start, end, pattern, named_end: end, announced: false };
        while let Some(last) = self.regions.pop_back_if(|last| last.end > region.start) {
            region.end = region.end.max(last.end);
            region.announced |= last.announced;
            if (last.start, std::cmp::Reverse(last.named_end))
                < (region.start, std::cmp::Reverse(region.named_end))
            {
                Region { start: region.start, pattern: region.pattern, named_end: region.named_end, .. } =
                    last;
            }
        }
        self.regions.push_back(region);
    }

    /// Where the last `symbols` symbols before `end` start; or, if a gap is longer than a match may have, where those
    /// after it start.
    fn back(&self, text: &[u8], end: usize, symbols: usize, view: &View) -> Result<usize, usize> {
        let mut tokens = self.tokens.iter().rev().peekable();
        let (mut at, mut start, mut left) = (end, end, symbols);
        while left > 0 {
            let token = match view {
                View::Literal => None,
                View::Decoded => {
                    while tokens.next_if(|token| token.end > at).is_some() {}
                    tokens.next_if(|token| token.end == at)
                }
            };
            let found = match token {
                Some(token) => {
                    at = token.start;
                    token.symbols
                }
                None => {
                    at = at.checked_sub(1).ok_or(start)?;
                    usize::from(text.get(at).is_some_and(|byte| is_symbol(*byte)))
                }
            };
            if found > 0 {
                (start, left) = (at, left.saturating_sub(found));
            } else if start - at > GAP_BYTES_MAX {
                return Err(start);
            }
        }
        Ok(start)
    }

    /// Up to here everything is decided: no match that is yet to come starts before it.
    pub fn settled(&self, matcher: &Matcher, text: &[u8]) -> usize {
        let starts = [(self.literal, View::Literal), (self.decoded, View::Decoded)].map(|(state, view)| {
            self.back(text, self.at, matcher.depth(state), &view).unwrap_or_else(|start| start)
        });
        starts.into_iter().fold(self.at, usize::min)
    }

    /// How many symbols of a pattern may stand before the end of what was read.
    pub fn begun(&self, matcher: &Matcher) -> usize {
        matcher.depth(self.literal).max(matcher.depth(self.decoded))
    }

    /// The first `count` bytes are no longer held. They are settled.
    pub fn forget(&mut self, count: usize) {
        self.at -= count;
        while self.tokens.pop_front_if(|token| token.end <= count).is_some() {}
        for token in &mut self.tokens {
            (token.start, token.end) = (token.start.saturating_sub(count), token.end - count);
        }
        while self.regions.pop_front_if(|region| region.end <= count).is_some() {}
        for region in &mut self.regions {
            region.start = region.start.saturating_sub(count);
            (region.end, region.named_end) = (region.end - count, region.named_end.saturating_sub(count));
        }
    }
}
