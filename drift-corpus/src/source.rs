//! Source text as people have it: functions that resemble each other, statements that were copied, closing braces.

use std::ops::Range;

use crate::grammar::{Grammar, Language, NOUNS, VERBS};
use crate::rng::Rng;
use crate::text::{Line, Origin, Text};

pub struct Source {
    pub text: Text,
    /// The functions, in order, without what stands between them.
    pub items: Vec<Range<usize>>,
}

/// Of 100 to 250 lines.
pub fn source(language: Language, rng: &mut Rng) -> Source {
    let grammar = language.grammar();
    let mut lines: Vec<String> = vec![format!("{} {} of the store", grammar.comment, rng.pick(&NOUNS))];
    lines.extend(grammar.imports.iter().map(|line| (*line).to_owned()));
    let mut items = Vec::new();
    let mut functions: Vec<Vec<String>> = Vec::new();
    let wanted = rng.between(100, 230);
    while lines.len() < wanted {
        // People copy a function and change a word in it.
        let function = match functions.is_empty() || rng.chance(75) {
            true => function(grammar, rng),
            false => {
                let (from, to) = (rng.below(NOUNS.len()), rng.between(1, NOUNS.len() - 1));
                let renamed = |line: &String| {
                    // Every third noun becomes another.
                    (from..from + NOUNS.len()).step_by(3).fold(line.clone(), |line, noun| {
                        line.replace(NOUNS[noun % NOUNS.len()], NOUNS[(noun + to) % NOUNS.len()])
                    })
                };
                rng.pick(&functions).iter().map(renamed).collect()
            }
        };
        items.push(lines.len()..lines.len() + function.len());
        lines.extend(function.iter().cloned());
        lines.push(String::new());
        functions.push(function);
    }
    lines.pop();
    let lines = lines.into_iter().enumerate();
    let lines = lines.map(|(number, text)| Line { text, origin: Origin::Base(number) }).collect();
    Source { text: Text { lines, terminator: "\n", is_closed: true }, items }
}

fn function(grammar: &Grammar, rng: &mut Rng) -> Vec<String> {
    let words = Words::drawn(rng);
    let mut lines: Vec<String> =
        words.fill(rng.pick::<&str>(grammar.opens)).split('\n').map(str::to_owned).collect();
    for _ in 0..rng.between(3, 9) {
        lines.extend(statement(grammar, 1, rng));
    }
    // Nothing ends in a blank line.
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let end: &str = rng.pick::<&str>(grammar.ends);
    if !end.is_empty() {
        lines.push(grammar.indent.to_owned() + &words.fill(end));
    }
    if !grammar.closes.is_empty() {
        lines.push(grammar.closes.to_owned());
    }
    lines
}

/// One statement at this depth.
pub fn statement(grammar: &Grammar, depth: usize, rng: &mut Rng) -> Vec<String> {
    let words = Words::drawn(rng);
    let written = |line: &&str| {
        if line.is_empty() {
            return String::new();
        }
        grammar.indent.repeat(depth) + &words.fill(line).replace('\t', grammar.indent)
    };
    rng.pick(grammar.statements).iter().map(written).collect()
}

/// What the templates' words stand for, the same throughout a statement.
struct Words {
    noun: &'static str,
    other: &'static str,
    verb: &'static str,
    number: usize,
}

impl Words {
    fn drawn(rng: &mut Rng) -> Self {
        let pick = |rng: &mut Rng, words: &[&'static str]| words[rng.below(words.len())];
        Self {
            noun: pick(rng, &NOUNS),
            other: pick(rng, &NOUNS),
            verb: pick(rng, &VERBS),
            number: rng.between(1, 64),
        }
    }

    fn fill(&self, template: &str) -> String {
        let number = self.number.to_string();
        let words = [("{noun}", self.noun), ("{other}", self.other), ("{verb}", self.verb), ("{n}", &number)];
        words.iter().fold(template.to_owned(), |text, (name, word)| text.replace(name, word))
    }
}

/// The line with a word, a number or its end changed: somebody else's small edit.
pub fn edited(line: &str, grammar: &Grammar, rng: &mut Rng) -> String {
    let noun = NOUNS.iter().find(|noun| line.contains(**noun));
    let new = match (noun, rng.below(3)) {
        (Some(noun), 0 | 1) => {
            let other = NOUNS.iter().cycle().skip(rng.below(NOUNS.len())).find(|other| *other != noun);
            line.replacen(noun, other.expect("there are more nouns than one"), 1)
        }
        (_, 2) if line.contains(char::is_numeric) => {
            line.replace(|character: char| character.is_ascii_digit(), "7")
        }
        _ => format!("{line} {} {} first", grammar.comment, rng.pick(&VERBS)),
    };
    if new == line { format!("{line} {} as before", grammar.comment) } else { new }
}

pub fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}
