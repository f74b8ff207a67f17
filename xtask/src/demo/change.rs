//! What the demo's coding agent does to a repository that nobody has seen before: it edits files, adds one, deletes
//! one, renames one, and runs tests. The edits are plain shell, so that the same edits can be made here as well.

use anyhow::{Context, Result, bail};
use shared_contracts::limits::MIB;
use shared_contracts::workspaces::{FileMode, ManifestEntry};

use crate::client::tree::LocalTree;

const ADDED: &str = "PATCHBAY_DEMO.md";
const EDITS_MAX: usize = 3;
const COMMENT: &str = "Patchbay was here: an execution edited this file.";
const TEXT_BYTES_MAX: u64 = MIB / 4;
/// Edited, deleted and renamed first where they exist: a person recognises them, and no test needs them.
const EDIT_FIRST: [&str; 4] = ["README.md", "README", "ARCHITECTURE.md", "xtask/src/client/sse_parser.rs"];
const DELETE_FIRST: [&str; 4] = ["rustfmt.toml", ".editorconfig", ".gitattributes", "clippy.toml"];
const RENAME_FIRST: [&str; 4] = ["CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "deny.toml"];
/// Finds tests that run without a network and without a package registry, in this repository or another.
const FIND_TESTS: &str = include_str!("find_tests.sh");

pub struct Change {
    edited: Vec<Edit>,
    deleted: String,
    renamed: (String, String),
    tests: String,
}

struct Edit {
    path: String,
    line: String,
}

impl Change {
    /// Chooses files by fixed rules, so that the same tree always gives the same change.
    pub fn choose(tree: &LocalTree, tests: Option<&str>) -> Result<Self> {
        let manifest = tree.manifest();
        let mut free: Vec<&ManifestEntry> = manifest.iter().filter(|entry| is_text(tree, entry)).collect();
        let too_few = "the demo edits, deletes and renames: the repository needs at least three text files";
        let mut edited: Vec<Edit> = edit(&mut free).into_iter().collect();
        if edited.is_empty() {
            bail!("{too_few}, one of them Markdown or source code");
        }
        free.sort_by_key(|entry| (!is_spare(entry.path.as_str()), entry.size_bytes, entry.path.clone()));
        let deleted = take(&mut free, &DELETE_FIRST, |_| true).context(too_few)?;
        let from = take(&mut free, &RENAME_FIRST, |_| true).context(too_few)?;
        while edited.len() < EDITS_MAX
            && let Some(another) = edit(&mut free)
        {
            edited.push(another);
        }
        let to = format!("patchbay-demo/{}", from.rsplit('/').next().unwrap_or(&from));
        Ok(Self {
            edited,
            deleted,
            renamed: (from, to),
            tests: tests.map_or_else(|| FIND_TESTS.to_owned(), str::to_owned),
        })
    }

    pub fn description(&self) -> String {
        let edited: Vec<&str> = self.edited.iter().map(|edit| edit.path.as_str()).collect();
        format!(
            "Edit {}; add {ADDED}; delete {}; rename {} to {}; run the tests.",
            edited.join(", "),
            self.deleted,
            self.renamed.0,
            self.renamed.1
        )
    }

    /// The edits, then the tests; these in a copy, so that what they leave is no part of the change.
    pub fn script(&self) -> String {
        let copy = "copy=$(mktemp -d)\ncp -a . \"$copy/tree\"\ncd \"$copy/tree\"";
        format!("{}\n{copy}\n{}\n", self.edits(), self.tests)
    }

    /// The edits alone, for bash in the tree's root.
    pub fn edits(&self) -> String {
        let mut lines = vec!["set -eu".to_owned(), "say() { printf '%s\\n' \"$*\"; sleep 0.1; }".to_owned()];
        lines.push("say \"the tree has $(find . -type f | wc -l) files\"".into());
        for Edit { path, line } in &self.edited {
            let is_prose = comment(path).as_deref() == Some(COMMENT);
            let (path, line) = (quoted(path), quoted(line));
            lines.push(format!("say edit {path}"));
            if is_prose {
                // Two places far from each other: two hunks.
                lines.push(format!("rest=$(tail -n +2 {path}; echo .)"));
                lines.push(format!("first=$(head -n 1 {path})"));
                lines.push(format!("printf '%s\\n\\n%s\\n%s' \"$first\" {line} \"${{rest%.}}\" > {path}"));
            }
            lines.push(format!("printf '\\n%s\\n' {line} >> {path}"));
        }
        let (deleted, from, to) = (quoted(&self.deleted), quoted(&self.renamed.0), quoted(&self.renamed.1));
        lines.push(format!("say add {ADDED}"));
        lines.push(format!(
            "printf '%s\\n' '# A note' '' 'This file was written in a sandbox and came back as a patch.' > {ADDED}"
        ));
        lines.push(format!("say delete {deleted}; rm -- {deleted}"));
        lines.push(format!("say rename {from} to {to}; mkdir -p -- patchbay-demo; mv -- {from} {to}"));
        lines.join("\n")
    }
}

/// A file to edit, if one is left whose comments are known.
fn edit(free: &mut Vec<&ManifestEntry>) -> Option<Edit> {
    let path = take(free, &EDIT_FIRST, |entry| comment(entry.path.as_str()).is_some())?;
    let line = comment(&path)?;
    Some(Edit { path, line })
}

/// Whether the tests can do without it, as far as a name tells: neither a test nor source code.
fn is_spare(path: &str) -> bool {
    !path.contains("test") && comment(path).is_none_or(|line| line == COMMENT)
}

/// The first of the preferred ones, or the first that will do; it is free no longer.
fn take(
    free: &mut Vec<&ManifestEntry>,
    preferred: &[&str],
    will_do: impl Fn(&ManifestEntry) -> bool,
) -> Option<String> {
    let by_name =
        preferred.iter().find_map(|name| free.iter().position(|entry| entry.path.as_str() == *name));
    let position = by_name.or_else(|| free.iter().position(|entry| will_do(entry)))?;
    Some(free.remove(position).path.as_str().to_owned())
}

fn is_text(tree: &LocalTree, entry: &ManifestEntry) -> bool {
    entry.mode == FileMode::Regular
        && (1..=TEXT_BYTES_MAX).contains(&entry.size_bytes)
        && tree
            .read(&entry.path)
            .is_ok_and(|bytes| !bytes.contains(&0) && std::str::from_utf8(&bytes).is_ok())
}

/// A line that changes what the file says and not what it does.
fn comment(path: &str) -> Option<String> {
    let text = COMMENT;
    let (_, extension) = path.rsplit_once('.')?;
    match extension {
        "md" | "txt" | "rst" => Some(text.to_owned()),
        "rs" | "c" | "h" | "cc" | "cpp" | "go" | "java" | "js" | "mjs" | "ts" => Some(format!("// {text}")),
        "py" | "sh" | "rb" | "toml" | "yml" | "yaml" => Some(format!("# {text}")),
        _ => None,
    }
}

/// One word to a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_edits_do_what_they_say_to_awkward_names() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("it's $HOME.md", "a\nb\nc\nd"), ("b.rs", "//! x\n"), ("c.py", "1\n"), ("-d", "22\n")]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("rest.txt"), "longer than the others\n").unwrap();
        let tree = LocalTree::scan(folder.path()).unwrap();
        let change = Change::choose(&tree, Some("true")).unwrap();
        assert!(change.description().contains("it's $HOME.md"), "{}", change.description());
        let status = Command::new("bash").args(["-c", &change.edits()]).current_dir(folder.path()).status();
        assert!(status.unwrap().success());
        let after = LocalTree::scan(folder.path()).unwrap();
        assert_eq!(after.len(), 5, "one new, one deleted, one renamed");
        assert!(
            folder.path().join(&change.renamed.1).exists() && !folder.path().join(&change.deleted).exists()
        );
    }
}
