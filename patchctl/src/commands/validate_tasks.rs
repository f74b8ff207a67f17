//! `validate-tasks`: a JSON file of tasks against the contract's own types, every fault with its line, column and
//! field. Two passes: the outline keeps where each part stands in the text, then each task is read by its type.

use std::collections::BTreeMap;
use std::fmt::Write;

use garde::Validate;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared_contracts::problem::{Fault, Problem, ProblemKind};
use shared_contracts::tasks::CreateTask;

use super::Outcome;
use crate::cli::ValidateTasks;
use crate::failure::Failure;

pub fn run(arguments: &ValidateTasks) -> Outcome {
    let name = arguments.file.display();
    let bytes = std::fs::read(&arguments.file).map_err(Failure::io("cannot read", &name))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::Malformed(format!("{name}: not UTF-8: {}", error.utf8_error())))?;
    match faults_in(&text) {
        Ok(count) => {
            let tasks = if count == 1 { "task" } else { "tasks" };
            Ok(if arguments.json {
                format!("{{\"tasks\":{count}}}\n")
            } else {
                format!("{name}: {count} {tasks}\n")
            })
        }
        Err(faults) if arguments.json => {
            let detail = format!("{name}: {} faults", faults.len());
            let faults = faults.iter().map(FaultAt::described).collect();
            let problem = Problem { faults, ..Problem::new(ProblemKind::Invalid, detail) };
            Err(Failure::Invalid(Box::new(problem)))
        }
        Err(faults) => {
            let mut text = String::new();
            for fault in &faults {
                let FaultAt { line, column, field, message } = fault;
                let _ = write!(text, "\n{name}:{line}:{column}: {field}: {message}");
            }
            Err(Failure::Malformed(format!("{} faults{text}", faults.len())))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct FaultAt {
    line: usize,
    column: usize,
    /// `tasks[2].title`.
    field: String,
    message: String,
}

impl FaultAt {
    fn described(&self) -> Fault {
        let message = format!("line {}, column {}: {}", self.line, self.column, self.message);
        Fault { field: self.field.clone(), message }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskFile<'text> {
    #[serde(borrow)]
    tasks: Vec<&'text RawValue>,
}

/// How many tasks there are, or everything that is wrong with them.
fn faults_in(text: &str) -> Result<usize, Vec<FaultAt>> {
    let (prefix, tasks) = if text.trim_start().starts_with('[') {
        ("", serde_json::from_str::<Vec<&RawValue>>(text))
    } else {
        ("tasks", serde_json::from_str::<TaskFile<'_>>(text).map(|file| file.tasks))
    };
    let tasks = tasks.map_err(|error| {
        vec![FaultAt {
            line: error.line(),
            column: error.column(),
            field: ".".into(),
            message: without_place(&error),
        }]
    })?;
    let faults: Vec<FaultAt> = tasks
        .iter()
        .enumerate()
        .flat_map(|(index, task)| task_faults(text, &format!("{prefix}[{index}]"), task))
        .collect();
    if faults.is_empty() { Ok(tasks.len()) } else { Err(faults) }
}

fn task_faults(text: &str, name: &str, raw: &RawValue) -> Vec<FaultAt> {
    let start = offset_in(text, raw.get());
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    let task: CreateTask = match serde_path_to_error::deserialize(&mut reader) {
        Ok(task) => task,
        Err(error) => {
            let path = error.path().to_string();
            let field = if path == "." { name.to_owned() } else { format!("{name}.{path}") };
            let error = error.into_inner();
            // Within the task; its first line begins where the task does.
            let (line, column) = position(text, start);
            let column = if error.line() <= 1 { column + error.column().max(1) - 1 } else { error.column() };
            let line = line + error.line().max(1) - 1;
            return vec![FaultAt { line, column, field, message: without_place(&error) }];
        }
    };
    let Err(report) = task.validate() else { return Vec::new() };
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    let faults = report.iter().map(|(path, error)| {
        let field = path.to_string();
        let at = fields.get(&field).map_or(start, |value| offset_in(text, value.get()));
        let (line, column) = position(text, at);
        FaultAt { line, column, field: format!("{name}.{field}"), message: error.message().to_owned() }
    });
    faults.collect()
}

/// Where a part that was borrowed from the text begins in it.
fn offset_in(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// Both from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
    (before.matches('\n').count() + 1, column)
}

/// serde_json says the place at the end of its sentence; it stands before it here.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").and_then(|at| text.get(..at)).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(usize, usize, String)> {
        faults_in(text)
            .unwrap_err()
            .into_iter()
            .map(|fault| (fault.line, fault.column, fault.field))
            .collect()
    }

    #[test]
    fn every_fault_has_its_place() {
        assert_eq!(faults_in(r#"[{"title": "a"}, {"title": "b", "priority": 9}]"#), Ok(2));
        assert_eq!(faults_in(r#"{"tasks": []}"#), Ok(0));
        let text = "{\"tasks\": [\n  {\"title\": \"ä\", \"priority\": 10},\n  {\"title\": 3},\n  {\"titel\": \"x\"}\n]}";
        assert_eq!(
            places(text),
            [
                (2, 30, "tasks[0].priority".into()),
                (3, 13, "tasks[1].title".into()),
                (4, 10, "tasks[2].titel".into()),
            ]
        );
        assert_eq!(places("[\n{\"title\": \"\"},\n"), [(3, 0, ".".into())]);
        assert_eq!(
            places("[\n{\"title\": \"\"}\n]"),
            [(2, 11, "[0].title".into()), (2, 11, "[0].title".into())]
        );
        assert_eq!(places("[{}]"), [(1, 3, "[0]".into())]);
    }
}
