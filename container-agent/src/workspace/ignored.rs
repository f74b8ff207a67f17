//! `.gitignore` rules of a workspace, for new files only: build output does not flood a patch batch.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::beneath;

const RULES_BYTES_MAX: u64 = 1024 * 1024;

/// Reads each directory's `.gitignore` when it is first asked about.
pub struct Ignored<'a> {
    merged: &'a OwnedFd,
    rules: BTreeMap<PathBuf, Option<Gitignore>>,
}

impl<'a> Ignored<'a> {
    pub fn new(merged: &'a OwnedFd) -> Self {
        Self { merged, rules: BTreeMap::new() }
    }

    /// Whether git would leave this path, or a directory above it, out.
    pub fn contains(&mut self, path: &Path, is_directory: bool) -> bool {
        // A directory that is left out takes with it what is below: ask from the top.
        let mut above: Vec<_> =
            path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        above.into_iter().any(|directory| self.matches(directory, true)) || self.matches(path, is_directory)
    }

    /// The nearest rule that says anything about exactly this path.
    fn matches(&mut self, path: &Path, is_directory: bool) -> bool {
        for directory in path.ancestors().skip(1) {
            let Ok(name) = path.strip_prefix(directory) else { continue };
            match self.rules_of(directory).map(|rules| rules.matched(name, is_directory)) {
                Some(Match::Ignore(_)) => return true,
                Some(Match::Whitelist(_)) => return false,
                Some(Match::None) | None => {}
            }
        }
        false
    }

    fn rules_of(&mut self, directory: &Path) -> Option<&Gitignore> {
        if !self.rules.contains_key(directory) {
            let rules = self.read(directory);
            self.rules.insert(directory.to_owned(), rules);
        }
        self.rules.get(directory)?.as_ref()
    }

    fn read(&self, directory: &Path) -> Option<Gitignore> {
        let bytes = beneath::read_file(self.merged, &directory.join(".gitignore"), RULES_BYTES_MAX).ok()?;
        let mut builder = GitignoreBuilder::new("");
        for line in String::from_utf8_lossy(&bytes).lines() {
            // A line that is no rule is skipped, as git does.
            let _ = builder.add_line(None, line);
        }
        builder.build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_rules_and_exceptions() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(".gitignore", "/target/\n*.log\n!keep.log\nnode_modules\n");
        write("sub/.gitignore", "generated\n!*.log\n");
        let root: OwnedFd = std::fs::File::open(directory.path()).unwrap().into();
        let mut ignored = Ignored::new(&root);
        for (path, left_out) in [
            ("target/debug/x", true),
            ("sub/target/x", false),
            ("a.log", true),
            ("keep.log", false),
            ("web/node_modules/x/y.js", true),
            ("sub/generated/x", true),
            ("generated/x", false),
            ("sub/b.log", false),
            ("src/main.rs", false),
        ] {
            assert_eq!(ignored.contains(Path::new(path), false), left_out, "{path}");
        }
        assert!(ignored.contains(Path::new("target"), true));
    }
}
