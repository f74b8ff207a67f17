//! Operations as JSON: `{"operations": […]}`, an array, or one operation after another; in a code fence or not.
//!
//! Each operation is read alone, so that a bad one does not hide the others, and a bad field is named with its place.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Content, Hunk, LineEdit, MarkerPlace, OperationOutcome, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use super::fences::Fence;
use super::{Malformed, Output, Refused, hints};
use crate::hunks::to_u32;

type Fields<'text> = BTreeMap<String, &'text RawValue>;

pub(super) fn read(text: &str, output: &mut Output) -> Result<(), Malformed> {
    let source = Source::new(text);
    let mut rest = json_in(text, output);
    loop {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let value = match values.next() {
            None => return Ok(()),
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(source.syntax(rest, &error)),
        };
        rest = rest.get(values.byte_offset()..).unwrap_or_default();
        read_value(&source, value, output);
        if !rest.trim_start().starts_with(['{', '[']) {
            if !rest.trim().is_empty() {
                output.notes.push("text after the JSON was skipped".into());
            }
            return Ok(());
        }
    }
}

/// The JSON inside the text: from the first line that begins with a bracket, which a fence may enclose.
fn json_in<'text>(text: &'text str, output: &mut Output) -> &'text str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut at, mut begin, mut fence) = (0, None, None);
    for line in text.split_inclusive('\n') {
        if begin.is_none() && line.trim_start().starts_with(['{', '[']) {
            begin = Some(at);
        }
        let after = Fence::after(fence, line.trim_end());
        if let (Some(_), None, Some(begin)) = (fence, after, begin) {
            // JSON has no fences of its own: strings hold no line ends.
            return skipped(text, begin, at, output);
        }
        fence = after;
        at += line.len();
    }
    skipped(text, begin.unwrap_or(0), at, output)
}

fn skipped<'text>(text: &'text str, begin: usize, end: usize, output: &mut Output) -> &'text str {
    let outside = [text.get(..begin), text.get(end..)];
    if outside.into_iter().flatten().any(|text| !text.trim().is_empty()) {
        output.notes.push("text around the JSON was skipped".into());
    }
    text.get(begin..end).unwrap_or_default()
}

fn read_value(source: &Source<'_>, value: &RawValue, output: &mut Output) {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Batch<'text> {
        #[serde(borrow)]
        operations: Vec<&'text RawValue>,
    }
    let text = value.get();
    let operations = if text.starts_with('[') {
        serde_json::from_str::<Vec<&RawValue>>(text)
    } else {
        match serde_json::from_str::<Fields<'_>>(text) {
            Ok(fields) if fields.contains_key("operations") => {
                serde_json::from_str::<Batch<'_>>(text).map(|batch| batch.operations)
            }
            _ => Ok(vec![value]),
        }
    };
    match operations {
        Ok(operations) => output.operations.extend(operations.into_iter().map(|raw| operation(source, raw))),
        Err(error) => output.refuse("", source.fault(text, &error, hints::JSON_SYNTAX.into())),
    }
}

fn operation(source: &Source<'_>, raw: &RawValue) -> Result<PatchOperation, Refused> {
    let text = raw.get();
    let error = match serde_json::from_str::<PatchOperation>(text) {
        Ok(operation) => return Ok(operation),
        Err(error) => error,
    };
    let fields: Fields<'_> = serde_json::from_str(text).unwrap_or_default();
    let string =
        |field: &str| fields.get(field).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let path = string("path").or_else(|| string("from")).unwrap_or_default();
    for field in ["path", "from", "to"] {
        if let Some(Err(why)) = string(field).map(|path| WorkspacePath::parse(&path)) {
            let outcome = OperationOutcome::DeniedPath { why: format!("`{field}`: {why}") };
            return Err((path, outcome));
        }
    }
    // The tag makes serde forget where it was; each field by itself is asked again.
    let culprit =
        fields.iter().find_map(|(field, raw)| Some((field, raw.get(), fault_in(field, raw.get())?)));
    let fault = match culprit {
        Some((field, text, error)) => source.fault(text, &error, hints::json_field(field)),
        None => source.fault(text, &error, hints::JSON_OPERATION.into()),
    };
    Err((path, fault.into()))
}

/// What is wrong with a field's value.
fn fault_in(field: &str, text: &str) -> Option<serde_json::Error> {
    fn check<T: DeserializeOwned>(text: &str) -> Option<serde_json::Error> {
        serde_json::from_str::<T>(text).err()
    }
    match field {
        "path" | "from" | "to" | "text" => check::<String>(text),
        "base_sha256" => check::<Option<Sha256>>(text),
        "hunks" => check::<Vec<Hunk>>(text),
        "edits" => check::<Vec<LineEdit>>(text),
        "content" => check::<Content>(text),
        "mode" => check::<FileMode>(text),
        "at" => check::<MarkerPlace>(text),
        _ => None,
    }
}

/// The whole text, to tell places in it.
struct Source<'text> {
    text: &'text str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'text> Source<'text> {
    fn new(text: &'text str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, lines: std::iter::once(0).chain(ends).collect() }
    }

    /// A fault in a part of the text, whose own line and column count from the part's beginning.
    fn fault(&self, part: &str, error: &serde_json::Error, hint: String) -> Malformed {
        let begin = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let line = self.lines.partition_point(|start| *start <= begin);
        let column =
            begin - line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0) + 1;
        let (line, column) = match error.line() {
            0 | 1 => (line.max(1), column + error.column().saturating_sub(1)),
            more => (line + more - 1, error.column()),
        };
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or_default().to_owned();
        Malformed { line: to_u32(line), column: to_u32(column), what, hint }
    }

    fn syntax(&self, rest: &str, error: &serde_json::Error) -> Malformed {
        self.fault(rest, error, hints::JSON_SYNTAX.into())
    }
}
