//! One automaton over all patterns, which are runs of symbols.

use std::collections::HashMap;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::forms::{Pattern, Patterns};
use crate::lanes::Table;

pub(crate) struct Matcher {
    automaton: NFA,
    patterns: Vec<Pattern>,
    pub start: StateID,
    /// How many symbols back the longest beginning of a pattern starts, for every state but the first.
    depths: HashMap<StateID, usize>,
    /// The same automaton for reading fast; None if it would be too large.
    pub table: Option<Table>,
}

impl Matcher {
    /// None if there is too much for an automaton.
    pub fn new(patterns: Patterns) -> Option<Self> {
        let Patterns { symbols, about, .. } = patterns;
        // Every match is wanted, the overlapping ones too: what is left of a second secret is a leak.
        let mut builder = NFA::builder();
        let automaton = builder.match_kind(MatchKind::Standard).prefilter(false).build(&symbols).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut depths = HashMap::new();
        for pattern in &symbols {
            let mut state = start;
            for (before, symbol) in pattern.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *symbol);
                depths.insert(state, before + 1);
            }
        }
        let mut matcher = Self { automaton, patterns: about, start, depths, table: None };
        let mut states: Vec<StateID> = matcher.depths.keys().copied().chain([start]).collect();
        // Where text mostly is, close together.
        states.sort_unstable_by_key(|state| (matcher.depth(*state), *state));
        matcher.table = Table::new(&matcher, &symbols, states);
        Some(matcher)
    }

    #[inline]
    pub fn next(&self, state: StateID, symbol: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, symbol)
    }

    #[inline]
    pub fn is_match(&self, state: StateID) -> bool {
        self.automaton.is_match(state)
    }

    pub fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or(0)
    }

    /// The patterns that end at a state that is a match, the longest first.
    pub fn ending(&self, state: StateID) -> impl Iterator<Item = &Pattern> {
        (0..self.automaton.match_len(state))
            .filter_map(move |index| self.patterns.get(self.automaton.match_pattern(state, index).as_usize()))
    }
}
