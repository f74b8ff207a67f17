//! One automaton over all patterns, which are runs of symbols.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::forms::{Pattern, Patterns};
use crate::grams::Grams;

pub(crate) struct Matcher {
    automaton: NFA,
    patterns: Vec<Pattern>,
    pub start: StateID,
    /// How many symbols back the longest beginning of a pattern starts, for every state.
    depths: Vec<u8>,
    /// Where a pattern may begin.
    pub grams: Grams,
}

impl Matcher {
    /// None if there is too much for an automaton.
    pub fn new(patterns: Patterns) -> Option<Self> {
        let Patterns { symbols, about, .. } = patterns;
        // Every match is wanted, the overlapping ones too: what is left of a second secret is a leak.
        let mut builder = NFA::builder();
        let automaton = builder.match_kind(MatchKind::Standard).prefilter(false).build(&symbols).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut depths = Vec::new();
        for pattern in &symbols {
            let mut state = start;
            for (depth, symbol) in (1..).zip(pattern) {
                state = automaton.next_state(Anchored::No, state, *symbol);
                if depths.len() <= state.as_usize() {
                    depths.resize(state.as_usize() + 1, 0);
                }
                depths.get_mut(state.as_usize()).map(|known| *known = depth)?;
            }
        }
        Some(Self { automaton, patterns: about, start, depths, grams: Grams::new(&symbols) })
    }

    #[inline]
    pub fn next(&self, state: StateID, symbol: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, symbol)
    }

    #[inline]
    pub fn is_match(&self, state: StateID) -> bool {
        self.automaton.is_match(state)
    }

    #[inline]
    pub fn depth(&self, state: StateID) -> usize {
        self.depths.get(state.as_usize()).copied().map_or(0, usize::from)
    }

    /// The patterns that end at a state that is a match, the longest first.
    pub fn ending(&self, state: StateID) -> impl Iterator<Item = &Pattern> {
        (0..self.automaton.match_len(state))
            .filter_map(move |index| self.patterns.get(self.automaton.match_pattern(state, index).as_usize()))
    }
}
