//! Where runs of lines stand in a file, lines being numbers. First by the rarest line of each run; where lines repeat so
//! much that this takes long, all runs in one pass over the file (Aho–Corasick with lines as letters), so that the time
//! is linear in file and hunks together, whatever either repeats.

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

struct Automaton {
    letters: BTreeMap<u32, usize>,
    states: Vec<State>,
    steps: BTreeMap<(usize, usize), usize>,
}

/// The lines at which each number stands.
pub(crate) struct Postings {
    ends: Vec<u32>,
    lines: Vec<u32>,
}

impl Postings {
    /// Of a file whose lines are numbers below `count`.
    pub(crate) fn new(file: &[u32], count: usize) -> Self {
        let mut ends = vec![0_u32; count + 1];
        for id in file {
            if let Some(end) = ends.get_mut(*id as usize + 1) {
                *end += 1;
            }
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        let mut next = ends.clone();
        let mut lines = vec![0_u32; file.len()];
        for (line, id) in file.iter().enumerate() {
            if let Some(at) = next.get_mut(*id as usize) {
                if let Some(slot) = lines.get_mut(*at as usize) {
                    *slot = line as u32;
                }
                *at += 1;
            }
        }
        Self { ends, lines }
    }

    pub(crate) fn of(&self, id: u32) -> &[u32] {
        match (self.ends.get(id as usize), self.ends.get(id as usize + 1)) {
            (Some(start), Some(end)) => self.lines.get(*start as usize..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// For each run (an empty one finds nothing) the first places where it stands, overlapping ones too.
pub(crate) fn occurrences(file: &[u32], postings: &Postings, runs: &[&[u32]]) -> Vec<Vec<usize>> {
    let mut steps_left = 8 * (file.len() + runs.iter().map(|run| run.len()).sum::<usize>()) + 1_000;
    let by_rarest: Option<Vec<Vec<usize>>> =
        runs.iter().map(|run| by_rarest_line(file, postings, run, &mut steps_left)).collect();
    by_rarest.unwrap_or_else(|| in_one_pass(file, runs))
}

/// None where it takes more steps than are left.
fn by_rarest_line(
    file: &[u32],
    postings: &Postings,
    run: &[u32],
    steps_left: &mut usize,
) -> Option<Vec<usize>> {
    let rarest = run.iter().enumerate().min_by_key(|(_, id)| postings.of(**id).len());
    let Some((offset, rarest)) = rarest else { return Some(Vec::new()) };
    let mut places = Vec::new();
    for line in postings.of(*rarest) {
        let Some(at) = (*line as usize).checked_sub(offset) else { continue };
        let same = file.iter().skip(at).zip(run).take_while(|(one, other)| one == other).count();
        *steps_left = steps_left.checked_sub(same + 1)?;
        if same == run.len() {
            places.push(at);
            if places.len() == OCCURRENCES_MAX {
                break;
            }
        }
    }
    Some(places)
}

fn in_one_pass(file: &[u32], runs: &[&[u32]]) -> Vec<Vec<usize>> {
    let mut automaton =
        Automaton { letters: BTreeMap::new(), states: vec![State::default()], steps: BTreeMap::new() };
    let ends: Vec<usize> = runs.iter().map(|run| automaton.add(run)).collect();
    automaton.link();
    automaton.scan(file);
    ends.iter()
        .map(|end| automaton.states.get(*end).map_or(Vec::new(), |state| state.starts.clone()))
        .collect()
}

impl Automaton {
    fn add(&mut self, run: &[u32]) -> usize {
        let mut at = ROOT;
        for (depth, line) in run.iter().enumerate() {
            let fresh_letter = self.letters.len();
            let letter = *self.letters.entry(*line).or_insert(fresh_letter);
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

    fn scan(&mut self, file: &[u32]) {
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

    fn slowly(file: &[u32], run: &[u32]) -> Vec<usize> {
        let places = (0..file.len()).filter(|at| !run.is_empty() && file[*at..].starts_with(run));
        places.take(OCCURRENCES_MAX).collect()
    }

    fn found(file: &[u32], runs: &[&[u32]]) -> Vec<Vec<usize>> {
        occurrences(file, &Postings::new(file, 4), runs)
    }

    #[test]
    fn overlapping_places_count() {
        assert_eq!(
            found(&[0, 0, 0], &[&[0, 0], &[0], &[], &[1]]),
            [vec![0, 1], vec![0, 1, 2], vec![], vec![]]
        );
    }

    #[test]
    fn repetition_does_not_make_it_slow() {
        let file = vec![0; 300_000];
        let mut long = vec![0; 150_000];
        let runs: Vec<&[u32]> = (1..1_000).map(|length| &file[..length]).collect();
        assert!(found(&file, &runs).iter().all(|found| found.len() == OCCURRENCES_MAX));
        assert_eq!(found(&file, &[&long])[0].len(), OCCURRENCES_MAX);
        long.push(1);
        assert!(found(&file, &[&long])[0].is_empty());
        let pairs: Vec<u32> = (0..200_000).map(|n| n % 2).collect();
        let nearly: Vec<Vec<u32>> = (0..500).map(|n| [&pairs[..2 * n], &[1, 1]].concat()).collect();
        let nearly: Vec<&[u32]> = nearly.iter().map(Vec::as_slice).collect();
        assert!(found(&pairs, &nearly).iter().all(Vec::is_empty));
    }

    proptest! {
        #[test]
        fn same_as_the_slow_way(
            file in prop::collection::vec(0_u32..4, 0..60),
            runs in prop::collection::vec(prop::collection::vec(0_u32..3, 0..4), 0..6),
        ) {
            let runs: Vec<&[u32]> = runs.iter().map(Vec::as_slice).collect();
            let expected: Vec<Vec<usize>> = runs.iter().map(|run| slowly(&file, run)).collect();
            prop_assert_eq!(found(&file, &runs), expected.clone());
            prop_assert_eq!(in_one_pass(&file, &runs), expected);
        }
    }
}
