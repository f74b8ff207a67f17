//! Where runs of lines stand in a file: all runs in one pass over its lines (Aho–Corasick with lines as letters), so
//! that the time is linear in file and hunks together, whatever either repeats.

use std::collections::{BTreeMap, VecDeque};

/// More places than this are not looked for: they are candidates to show, and two are already too many to choose.
pub(crate) const OCCURRENCES_MAX: usize = 10;

const ROOT: usize = 0;

/// A prefix of a run.
#[derive(Default)]
struct State {
    /// Lines of the prefix.
    depth: usize,
    /// The longest other prefix that is a suffix of this one.
    fallback: usize,
    /// The next shorter suffix that is a whole run and still looked for; `ROOT` for none.
    shorter_run: usize,
    is_run: bool,
    /// Where the run begins, in lines from 0.
    starts: Vec<usize>,
}

struct Automaton<'run> {
    letters: BTreeMap<&'run str, usize>,
    states: Vec<State>,
    steps: BTreeMap<(usize, usize), usize>,
}

/// For each run (none of them empty finds nothing) the first places where it stands, overlapping ones too.
pub(crate) fn occurrences(file: &[&str], runs: &[&[&str]]) -> Vec<Vec<usize>> {
    let mut automaton =
        Automaton { letters: BTreeMap::new(), states: vec![State::default()], steps: BTreeMap::new() };
    let ends: Vec<usize> = runs.iter().map(|run| automaton.add(run)).collect();
    automaton.link();
    automaton.scan(file);
    ends.iter()
        .map(|end| automaton.states.get(*end).map_or(Vec::new(), |state| state.starts.clone()))
        .collect()
}

impl<'run> Automaton<'run> {
    fn add(&mut self, run: &[&'run str]) -> usize {
        let mut at = ROOT;
        for (depth, line) in run.iter().enumerate() {
            let fresh_letter = self.letters.len();
            let letter = *self.letters.entry(line).or_insert(fresh_letter);
            let fresh_state = self.states.len();
            at = *self.steps.entry((at, letter)).or_insert(fresh_state);
            if at == fresh_state {
                self.states.push(State { depth: depth + 1, ..State::default() });
            }
        }
        if let Some(state) = self.states.get_mut(at) {
            state.is_run = at != ROOT;
        }
        at
    }

    /// Sets fallbacks and shorter runs, short prefixes before long ones because each builds on shorter ones.
    fn link(&mut self) {
        let mut queue = VecDeque::from([ROOT]);
        while let Some(at) = queue.pop_front() {
            let next: Vec<(usize, usize)> =
                self.steps.range((at, 0)..=(at, usize::MAX)).map(|(key, to)| (key.1, *to)).collect();
            for (letter, to) in next {
                let fallback = if at == ROOT { ROOT } else { self.step(self.fallback(at), letter) };
                let falls_on_run = self.states.get(fallback).is_some_and(|state| state.is_run);
                let shorter_run = if falls_on_run { fallback } else { self.shorter_run(fallback) };
                if let Some(state) = self.states.get_mut(to) {
                    state.fallback = fallback;
                    state.shorter_run = shorter_run;
                }
                queue.push_back(to);
            }
        }
    }

    fn fallback(&self, at: usize) -> usize {
        self.states.get(at).map_or(ROOT, |state| state.fallback)
    }

    fn shorter_run(&self, at: usize) -> usize {
        self.states.get(at).map_or(ROOT, |state| state.shorter_run)
    }

    fn step(&self, mut at: usize, letter: usize) -> usize {
        loop {
            if let Some(to) = self.steps.get(&(at, letter)) {
                return *to;
            }
            if at == ROOT {
                return ROOT;
            }
            at = self.fallback(at);
        }
    }

    fn scan(&mut self, file: &[&str]) {
        let mut at = ROOT;
        for (index, line) in file.iter().enumerate() {
            at = match self.letters.get(line) {
                Some(letter) => self.step(at, *letter),
                None => ROOT,
            };
            let mut run = at;
            while run != ROOT {
                if let Some(state) = self.states.get_mut(run)
                    && state.is_run
                    && state.starts.len() < OCCURRENCES_MAX
                {
                    state.starts.push(index + 1 - state.depth);
                }
                run = self.next_open_run(run);
            }
        }
    }

    /// The next shorter run that is not found often enough yet. Full ones are cut out of the chain on the way, so that
    /// many runs that end alike are not walked again at every line.
    fn next_open_run(&mut self, at: usize) -> usize {
        let mut open = self.shorter_run(at);
        while open != ROOT && self.states.get(open).is_some_and(|state| state.starts.len() >= OCCURRENCES_MAX)
        {
            open = self.shorter_run(open);
        }
        if let Some(state) = self.states.get_mut(at) {
            state.shorter_run = open;
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slowly(file: &[&str], run: &[&str]) -> Vec<usize> {
        let places = (0..file.len()).filter(|at| !run.is_empty() && file[*at..].starts_with(run));
        places.take(OCCURRENCES_MAX).collect()
    }

    #[test]
    fn overlapping_places_count() {
        let file = vec!["a\n", "a\n", "a\n"];
        assert_eq!(
            occurrences(&file, &[&["a\n", "a\n"], &["a\n"], &[], &["b\n"]]),
            [vec![0, 1], vec![0, 1, 2], vec![], vec![]]
        );
    }

    #[test]
    fn repetition_does_not_make_it_slow() {
        let file = vec!["a\n"; 300_000];
        let mut long = vec!["a\n"; 150_000];
        let runs: Vec<&[&str]> = (1..1_000).map(|length| &file[..length]).collect();
        assert!(occurrences(&file, &runs).iter().all(|found| found.len() == OCCURRENCES_MAX));
        assert_eq!(occurrences(&file, &[&long])[0].len(), OCCURRENCES_MAX);
        long.push("b\n");
        assert!(occurrences(&file, &[&long])[0].is_empty());
    }

    proptest! {
        #[test]
        fn same_as_the_slow_way(
            file in prop::collection::vec(prop::sample::select(vec!["a\n", "b\n", "c\n", "a"]), 0..60),
            runs in prop::collection::vec(prop::collection::vec(
                prop::sample::select(vec!["a\n", "b\n", "x\n"]), 0..4), 0..6),
        ) {
            let runs: Vec<&[&str]> = runs.iter().map(Vec::as_slice).collect();
            let expected: Vec<Vec<usize>> = runs.iter().map(|run| slowly(&file, run)).collect();
            prop_assert_eq!(occurrences(&file, &runs), expected);
        }
    }
}
