//! One automaton over all patterns, which are runs of symbols.

use std::collections::HashMap;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind, dfa::DFA};

use crate::forms::{Pattern, Patterns};

/// Up to here (about 16 MB) every state is a row of a table; above, states are lists, which take a fortieth of the
/// memory and twice the time.
const TABLE_SYMBOLS_MAX: usize = 32 * 1024;

pub(crate) struct Matcher {
    pub automaton: Kind,
    pub patterns: Vec<Pattern>,
    pub start: StateID,
    /// How many symbols back the longest beginning of a pattern starts, for every state that has one.
    depths: HashMap<StateID, usize>,
}

pub(crate) enum Kind {
    Table(DFA),
    Lists(NFA),
}

impl Matcher {
    /// None if there is too much for an automaton.
    pub fn new(patterns: Patterns) -> Option<Self> {
        let Patterns { symbols, about, .. } = patterns;
        // Every match is wanted, the overlapping ones too: what is left of a second secret is a leak.
        let total: usize = symbols.iter().map(Vec::len).sum();
        let automaton = if total <= TABLE_SYMBOLS_MAX {
            Kind::Table(DFA::builder().match_kind(MatchKind::Standard).prefilter(false).build(&symbols).ok()?)
        } else {
            Kind::Lists(NFA::builder().match_kind(MatchKind::Standard).prefilter(false).build(&symbols).ok()?)
        };
        let (start, depths) = match &automaton {
            Kind::Table(dfa) => depths(dfa, &symbols)?,
            Kind::Lists(nfa) => depths(nfa, &symbols)?,
        };
        Some(Self { automaton, patterns: about, start, depths })
    }

    pub fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or(0)
    }

    /// The patterns that end at a state that is a match, the longest first.
    pub fn ending(&self, automaton: &impl Automaton, state: StateID) -> impl Iterator<Item = &Pattern> {
        (0..automaton.match_len(state))
            .filter_map(move |index| self.patterns.get(automaton.match_pattern(state, index).as_usize()))
    }
}

fn depths(automaton: &impl Automaton, patterns: &[Vec<u8>]) -> Option<(StateID, HashMap<StateID, usize>)> {
    let start = automaton.start_state(Anchored::No).ok()?;
    let mut depths = HashMap::new();
    for pattern in patterns {
        let mut state = start;
        for (before, symbol) in pattern.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, *symbol);
            depths.insert(state, before + 1);
        }
    }
    Some((start, depths))
}
