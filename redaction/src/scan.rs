//! Where secrets stand in text that comes in parts.
//!
//! Text is read in two views at once, literally and decoded (see [`crate::view`]), both by the same automaton. Outside
//! of escapes the views are the same: their states meet again a few symbols after an escape. From then on text is only
//! looked through (see [`crate::grams`]), up to where a pattern may begin, or an escape.

use std::collections::VecDeque;

use aho_corasick::automaton::StateID;
use memchr::memchr2;

use crate::forms::{PATTERN_SYMBOLS_MAX, Pattern};
use crate::grams::Looked;
use crate::matcher::Matcher;
use crate::view::{Decode, Escape, GAP_BYTES_MAX, Kind, Read, TOKEN_BYTES_MAX, is_symbol, kind, read};

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
    /// To here it is read closely.
    closely_to: usize,
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
        let (literal, decoded) = (matcher.start, matcher.start);
        Self { literal, decoded, at: 0, closely_to: 0, tokens, regions }
    }

    /// Reads on in `text`, which is what is held and what came since. `ended` says that nothing will follow.
    pub fn read(&mut self, matcher: &Matcher, text: &[u8], ended: bool) {
        let mut opening = self.at;
        while self.at < text.len() {
            if self.at >= self.closely_to && self.literal == self.decoded {
                if opening <= self.at {
                    let rest = text.get(self.at..).unwrap_or_default();
                    opening = self.at + memchr2(b'\\', b'%', rest).unwrap_or(rest.len());
                }
                self.look(matcher, text, opening);
            }
            if !self.read_one(matcher, text, ended) {
                return;
            }
        }
    }

    /// Goes on to where a pattern may begin, or the one that has begun may go on; at most to the next `\` or `%`, which
    /// is at `opening`. The views agree: what has begun is the same symbols in both.
    fn look(&mut self, matcher: &Matcher, text: &[u8], opening: usize) {
        let depth = matcher.depth(self.literal);
        let from = self.back(text, self.at, depth, &View::Literal).unwrap_or_else(|start| start);
        let Looked { clear, end } = matcher.grams.look(text.get(..opening).unwrap_or_default(), from);
        if clear > self.at {
            (self.at, self.literal, self.decoded) = (clear, matcher.start, matcher.start);
        }
        self.closely_to = end.max(self.at) + 1;
    }

    /// Reads one byte or one escape in both views. False if more text is needed.
    pub fn read_one(&mut self, matcher: &Matcher, text: &[u8], ended: bool) -> bool {
        let rest = text.get(self.at..).unwrap_or_default();
        let Some(first) = rest.first() else { return false };
        match kind(*first) {
            Kind::Kept | Kind::Dropped => self.read_byte(matcher, text, *first),
            Kind::Opening => match read(rest, ended, Decode::ALL) {
                Read::Incomplete => return false,
                Read::Literal(length) => {
                    for byte in rest.iter().take(length) {
                        self.read_byte(matcher, text, *byte);
                    }
                }
                Read::Escape(escape) => self.read_escape(matcher, text, &escape),
            },
        }
        true
    }

    #[inline]
    fn read_byte(&mut self, matcher: &Matcher, text: &[u8], byte: u8) {
        self.at += 1;
        if is_symbol(byte) {
            let literal = matcher.next(self.literal, byte);
            let is_same = self.literal == self.decoded;
            let decoded = if is_same { literal } else { matcher.next(self.decoded, byte) };
            self.enter(matcher, text, View::Literal, literal);
            self.enter(matcher, text, View::Decoded, decoded);
        }
    }

    fn read_escape(&mut self, matcher: &Matcher, text: &[u8], escape: &Escape) {
        let start = self.at;
        for byte in text.iter().skip(start).take(escape.bytes) {
            self.at += 1;
            if is_symbol(*byte) {
                self.enter(matcher, text, View::Literal, matcher.next(self.literal, *byte));
            }
        }
        self.remember(Token { start, end: self.at, symbols: 0 });
        for symbol in escape.symbols() {
            if let Some(token) = self.tokens.back_mut() {
                token.symbols += 1;
            }
            self.enter(matcher, text, View::Decoded, matcher.next(self.decoded, symbol));
        }
    }

    fn enter(&mut self, matcher: &Matcher, text: &[u8], view: View, state: StateID) {
        match view {
            View::Literal => self.literal = state,
            View::Decoded => self.decoded = state,
        }
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
                View::Decoded => tokens.next_if(|token| token.end == at),
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
        self.closely_to = self.closely_to.saturating_sub(count);
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
