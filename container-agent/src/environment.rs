//! The payload's environment: constructed, never inherited.

use std::collections::BTreeMap;

use shared_contracts::dispatch::LeasedExecution;

use crate::config::Settings;
use crate::{secrets, tools};

/// Linux refuses one variable of more than 128 KiB; a longer prompt is only in its file.
const PROMPT_VARIABLE_BYTES_MAX: usize = 96 * 1024;
/// Where the sandbox's builder writes the prompt, seen from inside.
pub const PROMPT_FILE: &str = "/tmp/prompt.txt";
const WORKSPACE: &str = "/workspace";

/// What every sandbox has, the operator's own variables included.
pub fn base(settings: &Settings) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("PATH", settings.search_path.as_str()),
        ("HOME", "/home/agent"),
        ("USER", "agent"),
        ("LOGNAME", "agent"),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("TMPDIR", "/tmp"),
        (tools::WORKSPACE_VARIABLE, WORKSPACE),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    environment.extend(settings.environment.clone());
    environment
}

/// What one execution's sandbox has: the spec's variables win.
pub fn of(settings: &Settings, leased: &LeasedExecution) -> BTreeMap<String, String> {
    let mut environment = base(settings);
    environment.insert("PATCHBAY_EXECUTION_ID".into(), leased.lease.execution_id.to_string());
    environment.insert("PATCHBAY_PROJECT_ID".into(), leased.project_id.to_string());
    environment.insert("PATCHBAY_TASK_ID".into(), leased.task_id.to_string());
    environment.insert("PATCHBAY_TASK_TITLE".into(), leased.task_title.replace('\0', ""));
    environment.insert("PATCHBAY_PROMPT_FILE".into(), PROMPT_FILE.into());
    if leased.prompt.len() <= PROMPT_VARIABLE_BYTES_MAX {
        environment.insert("PATCHBAY_PROMPT".into(), leased.prompt.replace('\0', ""));
    }
    if !leased.denied_paths.is_empty() {
        environment.insert(tools::DENIED_VARIABLE.into(), leased.denied_paths.join("\n"));
    }
    environment.extend(leased.spec.environment.clone());
    environment.extend(secrets::environment(&leased.secrets));
    environment
}
