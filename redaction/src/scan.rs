//! Where secrets stand in text that comes in parts.
//!
//! Text is read in two views at once, literally and decoded (see [`crate::view`]), both by the same automaton.
//! Outside of escapes the views are the same: their states meet again a few symbols after an escape, and from then on
//! one step serves both.

use std::collections::VecDeque;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};

use crate::forms::{PATTERN_SYMBOLS_MAX, Pattern};
use crate::matcher::{Kind as Searched, Matcher};
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
        match &matcher.automaton {
            Searched::Table(dfa) => self.read_with(matcher, dfa, text, ended),
            Searched::Lists(nfa) => self.read_with(matcher, nfa, text, ended),
        }
    }

    fn read_with(&mut self, matcher: &Matcher, automaton: &impl Automaton, text: &[u8], ended: bool) {
        loop {
            if self.literal == self.decoded {
                self.read_plain(matcher, automaton, text);
            }
            let rest = text.get(self.at..).unwrap_or_default();
            let Some(first) = rest.first() else { return };
            if kind(*first) != Kind::Opening {
                // The views still differ: one byte in both.
                self.at += 1;
                if is_symbol(*first) {
                    self.step(matcher, automaton, text, View::Literal, *first);
                    self.step(matcher, automaton, text, View::Decoded, *first);
                }
                continue;
            }
            match read(rest, ended, Decode::ALL) {
                Read::Incomplete => return,
                Read::Literal(length) => {
                    for byte in rest.iter().take(length) {
                        self.at += 1;
                        if is_symbol(*byte) {
                            self.step(matcher, automaton, text, View::Literal, *byte);
                            self.step(matcher, automaton, text, View::Decoded, *byte);
                        }
                    }
                }
                Read::Escape(escape) => {
                    let start = self.at;
                    for byte in rest.iter().take(escape.bytes) {
                        self.at += 1;
                        if is_symbol(*byte) {
                            self.step(matcher, automaton, text, View::Literal, *byte);
                        }
                    }
                    self.remember(Token { start, end: self.at, symbols: 0 });
                    for symbol in escape.symbols() {
                        if let Some(token) = self.tokens.back_mut() {
                            token.symbols += 1;
                        }
                        self.step(matcher, automaton, text, View::Decoded, symbol);
                    }
                }
            }
        }
    }

    /// The fast way: while the views agree, up to what may be an escape.
    fn read_plain(&mut self, matcher: &Matcher, automaton: &impl Automaton, text: &[u8]) {
        let mut state = self.literal;
        let mut at = self.at;
        for byte in text.get(at..).unwrap_or_default() {
            let kind = kind(*byte);
            let next = automaton.next_state(Anchored::No, state, *byte);
            // No branch for what is dropped: there is no telling where the next space comes.
            state = if kind == Kind::Kept { next } else { state };
            if kind == Kind::Opening {
                break;
            }
            at += 1;
            if automaton.is_special(state) && kind == Kind::Kept && automaton.is_match(state) {
                self.matched(matcher, automaton, text, state, at, &[View::Literal, View::Decoded]);
            }
        }
        (self.at, self.literal, self.decoded) = (at, state, state);
    }

    fn step(&mut self, matcher: &Matcher, automaton: &impl Automaton, text: &[u8], view: View, symbol: u8) {
        let state = match view {
            View::Literal => &mut self.literal,
            View::Decoded => &mut self.decoded,
        };
        *state = automaton.next_state(Anchored::No, *state, symbol);
        let state = *state;
        if automaton.is_match(state) {
            self.matched(matcher, automaton, text, state, self.at, &[view]);
        }
    }

    fn remember(&mut self, token: Token) {
        while self.tokens.front().is_some_and(|oldest| oldest.end + MATCH_BYTES_MAX < token.start) {
            self.tokens.pop_front();
        }
        self.tokens.push_back(token);
    }

    /// A pattern ends at `end`. The others that end there too are inside of the longest, if its gaps are short enough.
    fn matched(
        &mut self,
        matcher: &Matcher,
        automaton: &impl Automaton,
        text: &[u8],
        state: StateID,
        end: usize,
        views: &[View],
    ) {
        let found = matcher.ending(automaton, state).find_map(|pattern| {
            let starts = views.iter().filter_map(|view| self.back(text, end, pattern.symbols, view).ok());
            Some((starts.min()?, *pattern))
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
