//! The codex envelope, `*** Begin Patch` to `*** End Patch`, by the grammar of codex's `apply_patch` and with what models
//! leave out: the envelope itself, `@@` before the first hunk, the space of an empty context line.
//!
//! Several `@@` lines above one hunk stand for places within places, outermost first. Lines that are only added, below
//! no `@@` with text, go to the end of the file, as codex puts them.

use shared_contracts::patches::{Content, Hunk, PatchOperation};
use shared_contracts::workspaces::FileMode;

use super::hunk_lines::{Kind, LineFault, sides, without_blank_tail};
use super::lines::{Line, push_line};
use super::unified::is_head;
use super::{Output, fault, hints, path};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Marker<'text> {
    Begin,
    End,
    Add(&'text str),
    Delete(&'text str),
    Update(&'text str),
    Move(&'text str),
    EndOfFile,
    Unknown,
}

fn marker(line: &str) -> Option<Marker<'_>> {
    let text = line.strip_prefix("***")?;
    let text = text.strip_prefix(' ')?.trim();
    let name =
        |word: &str| Some(text.strip_prefix(word)?.trim_start().strip_prefix(':')?.trim_matches([' ', '`']));
    Some(match text {
        "Begin Patch" => Marker::Begin,
        "End Patch" => Marker::End,
        "End of File" | "End Of File" => Marker::EndOfFile,
        _ => name("Add File")
            .map(Marker::Add)
            .or_else(|| name("Delete File").map(Marker::Delete))
            .or_else(|| name("Update File").map(Marker::Update))
            .or_else(|| name("Move to").or_else(|| name("Move To")).map(Marker::Move))
            .unwrap_or(Marker::Unknown),
    })
}

/// Whether an envelope or a file of one begins with this line.
pub(super) fn begins(line: &str) -> bool {
    matches!(
        marker(line.trim_start()),
        Some(Marker::Begin | Marker::Add(_) | Marker::Delete(_) | Marker::Update(_))
    )
}

pub(super) fn read(lines: &[Line<'_>], output: &mut Output) {
    let mut reader = Reader { lines, at: 0, output };
    let mut inside = false;
    while let Some(line) = reader.next() {
        // Blanks before a marker mean nothing, except in a hunk, where they are a sign.
        match marker(line.text().trim_start()) {
            Some(Marker::Begin) => inside = true,
            Some(Marker::End) => inside = false,
            Some(Marker::Add(name)) => reader.add(line, name),
            Some(Marker::Delete(name)) => match path(name) {
                Ok(path) => reader.output.push(PatchOperation::Delete { path, base_sha256: None }),
                Err(refused) => reader.output.operations.push(Err(refused)),
            },
            Some(Marker::Update(name)) => reader.update(line, name),
            Some(Marker::Move(name)) => reader.output.refuse(name, fault(line.number, hints::move_twice())),
            Some(Marker::Unknown) if inside => {
                reader.output.refuse("", fault(line.number, hints::unknown_marker()));
            }
            Some(Marker::EndOfFile | Marker::Unknown) | None => reader.output.skip(line),
        }
    }
}

struct Reader<'lines, 'text, 'output> {
    lines: &'lines [Line<'text>],
    at: usize,
    output: &'output mut Output,
}

impl<'lines, 'text> Reader<'lines, 'text, '_> {
    fn peek(&self) -> Option<&'lines Line<'text>> {
        self.lines.get(self.at)
    }

    fn next(&mut self) -> Option<&'lines Line<'text>> {
        let line = self.peek()?;
        self.at += 1;
        Some(line)
    }

    /// The lines up to the next one for which this holds.
    fn until(&mut self, is_end: impl Fn(&str) -> bool) -> &'lines [Line<'text>] {
        let begin = self.at;
        while self.peek().is_some_and(|line| !is_end(line.text())) {
            self.at += 1;
        }
        self.lines.get(begin..self.at).unwrap_or_default()
    }

    fn add(&mut self, head: &Line<'_>, name: &str) {
        let body = without_blank_tail(self.until(|line| marker(line.trim_start()).is_some()));
        let is_added = |line: &Line<'_>| line.text().starts_with('+');
        let added = body.iter().rposition(is_added).map_or(0, |last| last + 1);
        let mut text = String::new();
        if added == 0 && !body.is_empty() {
            self.output
                .note(head.number, "no line of the new file begins with `+`; they were taken as they are");
            body.iter().for_each(|line| push_line(&mut text, line.whole));
        }
        // What follows the last `+` is text after an envelope without its end.
        let (body, rest) = body.split_at_checked(added).unwrap_or((body, &[]));
        if added > 0 {
            rest.iter().for_each(|line| self.output.skip(line));
        }
        for line in body {
            match Kind::of(line) {
                Kind::Added => push_line(&mut text, line.whole.get(1..).unwrap_or_default()),
                Kind::Blank => push_line(&mut text, line.whole),
                _ => return self.output.refuse(name, fault(line.number, hints::add_without_plus())),
            }
        }
        match path(name) {
            Ok(path) => {
                let content = Content::Text(text);
                self.output.push(PatchOperation::Create { path, content, mode: FileMode::Regular });
            }
            Err(refused) => self.output.operations.push(Err(refused)),
        }
    }

    fn update(&mut self, head: &Line<'_>, name: &str) {
        let mut target = None;
        let mut hunks = Vec::new();
        let mut first_fault: Option<LineFault> = None;
        loop {
            let body = self.until(|line| marker(line).is_some());
            match self.hunks(body) {
                Ok(more) => hunks.extend(more),
                Err(found) => first_fault = first_fault.or(Some(found)),
            }
            let Some(line) = self.peek() else { break };
            match marker(line.text()) {
                Some(Marker::Move(to)) if target.is_none() && hunks.is_empty() => target = Some(to),
                Some(Marker::Move(_)) => {
                    first_fault = first_fault.or(Some((line.number, hints::move_twice())))
                }
                Some(Marker::EndOfFile) => {
                    if let Some(last) = hunks.last_mut() {
                        last.at_end = true;
                    }
                }
                Some(Marker::Unknown) => {
                    first_fault = first_fault.or(Some((line.number, hints::unknown_marker())))
                }
                _ => break,
            }
            self.at += 1;
        }
        if first_fault.is_none() && hunks.is_empty() && target.is_none() {
            first_fault = Some((head.number, hints::no_change()));
        }
        match first_fault {
            Some((number, words)) => self.output.refuse(name, fault(number, words)),
            None => self.push_update(name, target, hunks),
        }
    }

    fn push_update(&mut self, name: &str, target: Option<&str>, hunks: Vec<Hunk>) {
        let paths = path(name).and_then(|from| Ok((target.map(path).transpose()?, from)));
        let (to, from) = match paths {
            Ok(paths) => paths,
            Err(refused) => return self.output.operations.push(Err(refused)),
        };
        let edited = to.clone().unwrap_or_else(|| from.clone());
        if let Some(to) = to.filter(|to| *to != from) {
            self.output.push(PatchOperation::Rename { from, to, base_sha256: None });
        }
        if !hunks.is_empty() {
            self.output.push(PatchOperation::Edit { path: edited, base_sha256: None, hunks });
        }
    }

    /// The hunks of lines without markers.
    fn hunks(&mut self, lines: &[Line<'text>]) -> Result<Vec<Hunk>, LineFault> {
        let mut hunks = Vec::new();
        let mut rest = lines;
        while let Some(first) = rest.first() {
            // Empty lines above `@@` part hunks; below it they are context.
            let above = rest.iter().take_while(|line| is_head(line.text()) || line.text().is_empty()).count();
            let above = rest.get(..above).unwrap_or_default();
            let heads = above.iter().rposition(|line| is_head(line.text())).map_or(0, |last| last + 1);
            let (heads, below) = rest.split_at_checked(heads).unwrap_or((rest, &[]));
            let body = below.iter().take_while(|line| !is_head(line.text())).count();
            let (body, next) = below.split_at_checked(body).unwrap_or((below, &[]));
            rest = next;
            let has_head = heads.iter().any(|line| is_head(line.text()));
            let body = self.trimmed(body);
            if body.is_empty() {
                if has_head {
                    return Err((first.number, hints::empty_hunk()));
                }
                continue;
            }
            let within: Vec<String> = heads.iter().filter_map(|line| place(line.text())).collect();
            let sides = sides(body)?;
            if sides.bare > 0 {
                let bare = sides.bare;
                self.output.note(
                    first.number,
                    format_args!("{bare} lines of the hunk without a sign were read as context"),
                );
            }
            if sides.old == sides.new {
                self.output.note(first.number, "a hunk that changes nothing was left out");
                continue;
            }
            let at_end = sides.old.is_empty() && within.is_empty();
            if at_end {
                self.output.note(
                    first.number,
                    "added lines without a place go to the end of the file, as codex puts them",
                );
            }
            hunks.push(Hunk { start_line: None, within, at_end, old: sides.old, new: sides.new });
        }
        Ok(hunks)
    }

    /// Without empty lines at the end, and without text that follows an envelope which has no end.
    fn trimmed<'body>(&mut self, body: &'body [Line<'text>]) -> &'body [Line<'text>] {
        let body = without_blank_tail(body);
        if self.peek().is_some() {
            return body;
        }
        let end = body.iter().rposition(|line| !matches!(Kind::of(line), Kind::Blank | Kind::Bare));
        let (body, text) = body.split_at_checked(end.map_or(0, |last| last + 1)).unwrap_or((body, &[]));
        text.iter().for_each(|line| self.output.skip(line));
        body
    }
}

/// What stands after `@@`: a line above the hunk. Not the ranges of a unified diff, nor dots.
fn place(head: &str) -> Option<String> {
    let text = head.trim_start_matches('@');
    let text = text.strip_prefix(' ').unwrap_or(text).trim_end();
    let text = text.strip_suffix(" @@").unwrap_or(text);
    let is_range =
        text.starts_with('-') && text.contains(" +") && text.contains(|c: char| c.is_ascii_digit());
    let is_empty = matches!(text.trim(), "" | "..." | "…" | "@@");
    (!is_range && !is_empty).then(|| text.to_owned())
}
