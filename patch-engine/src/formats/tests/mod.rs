//! What every reader makes of texts as models send them. `|` stands for a line's end in what is expected.

mod codex;
mod json;
mod names;
mod properties;
mod search_replace;
mod sniff;
mod unified;
mod unified_lenient;
mod whole_file;

use shared_contracts::patches::{Content, Hunk, OperationOutcome, PatchFormat, PatchOperation};

use super::read;
use crate::Parsed;

/// One line for each operation.
fn shown(text: &str, format: PatchFormat) -> String {
    match read(text, Some(format)) {
        Ok(read) => read.operations.iter().map(operation).collect::<Vec<_>>().join("\n"),
        Err(fault) => format!("nothing: {}", fault.what),
    }
}

fn operation(parsed: &Parsed) -> String {
    let (path, outcome) = match parsed {
        Ok(operation) => return accepted(operation),
        Err((path, outcome)) => (path, outcome),
    };
    let why = match outcome {
        OperationOutcome::Malformed { line: Some(line), what, hint, .. } => {
            assert!(!what.is_empty() && !hint.is_empty());
            format!("line {line}")
        }
        OperationOutcome::DeniedPath { .. } => "denied".into(),
        OperationOutcome::NotText { .. } => "not text".into(),
        other => format!("{other:?}"),
    };
    format!("refused {path}: {why}")
}

fn accepted(operation: &PatchOperation) -> String {
    let path = operation.path();
    match operation {
        PatchOperation::Create { content, mode, .. } => {
            format!("create {path} {} {}", mode.as_str(), flat_content(content))
        }
        PatchOperation::Write { content, .. } => format!("write {path} {}", flat_content(content)),
        PatchOperation::Replace { content, .. } => format!("replace {path} {}", flat_content(content)),
        PatchOperation::Delete { base_sha256, .. } => {
            format!("delete {path}{}", if base_sha256.is_some() { " if unchanged" } else { "" })
        }
        PatchOperation::Rename { from, to, .. } => format!("rename {from} {to}"),
        PatchOperation::SetMode { mode, .. } => format!("mode {path} {}", mode.as_str()),
        PatchOperation::Edit { hunks, .. } => {
            format!("edit {path}{}", hunks.iter().map(hunk).collect::<String>())
        }
        other => format!("{other:?}"),
    }
}

fn hunk(hunk: &Hunk) -> String {
    let start = hunk.start_line.map_or("?".into(), |line| line.to_string());
    let within: String = hunk.within.iter().map(|place| format!(" in <{place}>")).collect();
    let end = if hunk.at_end { " at end" } else { "" };
    format!(" {start}{within}{end} [{}] [{}]", flat(&hunk.old), flat(&hunk.new))
}

fn flat_content(content: &Content) -> String {
    match content {
        Content::Text(text) => format!("[{}]", flat(text)),
        Content::Base64(text) => format!("base64 {text}"),
    }
}

fn flat(text: &str) -> String {
    text.replace('\r', "^").replace('\n', "|")
}

fn check(format: PatchFormat, cases: &[(&str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (what, text, expected) in cases {
        let found = shown(text, format);
        if found != *expected {
            wrong.push(format!("{what}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn notes(text: &str, format: PatchFormat) -> Vec<String> {
    read(text, Some(format)).unwrap().notes
}
