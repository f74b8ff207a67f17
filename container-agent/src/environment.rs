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
/// Where an image that does not say otherwise has its programs.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every sandbox has, the operator's own variables included. [`complete`] it with its image.
pub fn base(settings: &Settings) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
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

/// What one execution's sandbox has: the spec's variables win. [`complete`] it with its image.
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

/// Adds the image's variables where nobody said otherwise. Whoever sets a `PATH` has just that; else the operator's
/// directories and Patchbay's programs come before the image's, so that a toolchain is found whatever the image says.
pub fn complete(
    settings: &Settings,
    of_image: &[(String, String)],
    mut environment: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    for (name, value) in of_image {
        let value = if name == "PATH" { search_path(settings, value) } else { value.clone() };
        environment.entry(name.clone()).or_insert(value);
    }
    environment.entry("PATH".into()).or_insert_with(|| search_path(settings, SEARCH_PATH));
    environment
}

fn search_path(settings: &Settings, of_image: &str) -> String {
    // An empty part would be the workspace.
    let of_image = if of_image.is_empty() { SEARCH_PATH } else { of_image };
    let parts = settings.path_prefix.as_deref().into_iter().chain([tools::PROGRAMS, of_image]);
    parts.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn path(prefix: Option<&str>, of_image: Option<&str>, own: Option<&str>) -> String {
        let flags = Flags { path_prefix: prefix.map(str::to_owned), ..Flags::default() };
        let settings = Settings::load(&flags).unwrap();
        let variable = |value: &str| ("PATH".to_owned(), value.to_owned());
        let mut environment = base(&settings);
        environment.extend(own.map(variable));
        complete(&settings, of_image.map(variable).as_slice(), environment)["PATH"].clone()
    }

    #[test]
    fn an_executions_own_path_wins_over_the_images_and_that_over_the_default() {
        assert_eq!(path(Some("/cargo"), Some("/image"), Some("/own")), "/own");
        assert_eq!(path(Some("/cargo"), Some("/image"), None), "/cargo:/run/patchbay/bin:/image");
        assert_eq!(path(None, Some("/image"), None), "/run/patchbay/bin:/image");
        let default = "/run/patchbay/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(path(Some("/cargo"), None, None), format!("/cargo:{default}"));
        for (prefix, of_image) in [(None, None), (Some(""), Some(""))] {
            assert_eq!(path(prefix, of_image, None), default);
        }
    }

    #[test]
    fn an_image_only_fills_what_nobody_set() {
        let settings = Settings::load(&Flags::default()).unwrap();
        let of_image = [("HOME", "/root"), ("RUST_VERSION", "1.93")];
        let of_image = of_image.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = complete(&settings, &of_image, base(&settings));
        assert_eq!((&*environment["HOME"], &*environment["RUST_VERSION"]), ("/home/agent", "1.93"));
    }
}
