//! A tree, what stands around it, and the real binary.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod trace;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Ground {
    folder: TempDir,
}

impl Ground {
    /// A tree of these files; a name that ends in `*` is executable.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let ground = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(ground.root()).unwrap();
        std::fs::create_dir_all(ground.outside()).unwrap();
        std::fs::write(ground.outside().join("canary"), "alive\n").unwrap();
        for (name, content) in files {
            write(&ground.root(), name, content);
        }
        ground
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// Stands beside the tree: nothing may ever change here.
    pub fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    pub fn everything(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn state_home(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn files(&self) -> BTreeMap<String, String> {
        files(&self.root())
    }

    /// `patchctl` with these arguments; `--root` is added by the caller where it is wanted.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchctl"));
        command.args(arguments).env("XDG_STATE_HOME", self.state_home()).env_remove("PATCHBAY_TOKEN");
        command.current_dir(self.root()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input).unwrap();
        let output = self
            .command(arguments)
            .stdin(std::fs::File::open(file).unwrap())
            .output()
            .expect("patchctl runs");
        Ran::new(output)
    }

    pub fn apply(&self, operations: Value) -> Ran {
        self.run(&["apply", "--format", "json"], &batch(operations))
    }
}

pub fn batch(operations: Value) -> String {
    json!({ "operations": operations }).to_string()
}

pub fn create(path: &str, content: &str) -> Value {
    json!({ "operation": "create", "path": path, "content": { "text": content } })
}

pub fn replace(path: &str, content: &str) -> Value {
    json!({ "operation": "replace", "path": path, "base_sha256": null, "content": { "text": content } })
}

pub fn delete(path: &str) -> Value {
    json!({ "operation": "delete", "path": path, "base_sha256": null })
}

pub fn rename(from: &str, to: &str) -> Value {
    json!({ "operation": "rename", "from": from, "to": to, "base_sha256": null })
}

pub fn set_mode(path: &str, mode: &str) -> Value {
    json!({ "operation": "set_mode", "path": path, "mode": mode })
}

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

pub fn write(root: &Path, name: &str, content: &str) {
    let (name, mode) = name.strip_suffix('*').map_or((name, 0o644), |name| (name, 0o755));
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything below a folder: files with mode and content, links with their target, directories that are empty.
pub fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    let mut is_empty = true;
    for entry in std::fs::read_dir(folder).unwrap() {
        is_empty = false;
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            walk(root, &path, found);
        } else if metadata.is_symlink() {
            found.insert(name, format!("-> {}", std::fs::read_link(&path).unwrap().display()));
        } else if metadata.is_file() {
            let bits = metadata.permissions().mode() & 0o777;
            let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.insert(name, format!("{bits:o} {content}"));
        } else {
            found.insert(name, "special".into());
        }
    }
    if is_empty && folder != root {
        found.insert(format!("{}/", folder.strip_prefix(root).unwrap().display()), "empty".into());
    }
}
