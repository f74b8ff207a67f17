//! Counts of verdicts, in rows, as a table in Markdown.

use std::collections::BTreeMap;

use crate::judge::Verdict;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub right: usize,
    pub refused: usize,
    pub wrong: usize,
    pub half: usize,
}

impl Counts {
    pub fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Wrong => self.wrong += 1,
            Verdict::Half => self.half += 1,
        }
    }

    pub fn sum(counts: impl Iterator<Item = Self>) -> Self {
        counts.fold(Self::default(), |sum, counts| Self {
            right: sum.right + counts.right,
            refused: sum.refused + counts.refused,
            wrong: sum.wrong + counts.wrong,
            half: sum.half + counts.half,
        })
    }

    pub fn all(&self) -> usize {
        self.right + self.refused + self.wrong + self.half
    }

    pub fn right_percent(&self) -> f64 {
        100.0 * self.right as f64 / self.all().max(1) as f64
    }

    fn columns(&self) -> String {
        let Self { right, refused, wrong, half } = self;
        format!("{right} | {refused} | {} | {:.1} %", wrong + half, self.right_percent())
    }
}

/// What came out, by kind of drift, in the order in which the kinds first came.
#[derive(Default)]
pub struct Tally {
    kinds: Vec<&'static str>,
    with_base: BTreeMap<&'static str, Counts>,
    without_base: BTreeMap<&'static str, Counts>,
}

impl Tally {
    pub fn add(&mut self, kind: &'static str, has_base: bool, verdict: Verdict) {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        let side = if has_base { &mut self.with_base } else { &mut self.without_base };
        side.entry(kind).or_default().add(verdict);
    }

    pub fn counts(&self, kind: &str, has_base: bool) -> Counts {
        let side = if has_base { &self.with_base } else { &self.without_base };
        side.get(kind).copied().unwrap_or_default()
    }

    pub fn total(&self, has_base: bool) -> Counts {
        let side = if has_base { &self.with_base } else { &self.without_base };
        Counts::sum(side.values().copied())
    }

    pub fn written(&self) -> String {
        let mut text =
            "| drift | with base: right | refused | WRONG | | without: right | refused | WRONG | |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
                .to_owned();
        for kind in &self.kinds {
            let (with, without) = (self.counts(kind, true), self.counts(kind, false));
            text += &format!("| {kind} | {} | {} |\n", with.columns(), without.columns());
        }
        let (with, without) = (self.total(true), self.total(false));
        text + &format!("| **all** | {} | {} |\n", with.columns(), without.columns())
    }
}

/// One row for each program over the same cases.
pub struct Compared {
    pub name: String,
    pub counts: Counts,
}

pub fn compared(rows: &[Compared]) -> String {
    let mut text = "| program | cases | right | refused | WRONG place | half applied |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for Compared { name, counts } in rows {
        let Counts { right, refused, wrong, half } = counts;
        text += &format!("| {name} | {} | {right} | {refused} | {wrong} | {half} |\n", counts.all());
    }
    text
}
