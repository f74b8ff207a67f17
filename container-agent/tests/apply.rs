//! `patchbay-agent apply` on a tree, as the real binary: what a coding agent is answered, and what is never written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "the tests of patchctl use the rest of it")]
#[path = "../../patchctl/tests/support/trace.rs"]
mod trace;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use trace::{Victims, kill_at, wait_until_unlocked};

const POEM: &str = "one\ntwo\nthree\nfour\n";
const ASTRAY: &str = "*** Begin Patch\n*** Update File: poem\n@@\n one\n-too\n+TWO\n three\n*** End Patch\n";
const MENDED: &str = "*** Begin Patch\n*** Update File: poem\n@@\n one\n-two\n+TWO\n three\n*** End Patch\n";
const CALLS_MAX: usize = 2_000;

struct Ground(TempDir);

impl Ground {
    fn new(files: &[(&str, &str)]) -> Self {
        let ground = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = ground.root().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        ground
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("tree")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let name = path.strip_prefix(self.root()).unwrap().display().to_string();
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => folders.push(path),
                    kind if kind.is_file() => {
                        drop(found.insert(name, std::fs::read_to_string(path).unwrap()))
                    }
                    _ => drop(found.insert(name, "special".into())),
                }
            }
        }
        found
    }

    fn command(&self, arguments: &[&str], patch: &str) -> Command {
        std::fs::write(self.beside("patch"), patch).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"));
        command.arg("apply").args(arguments).current_dir(self.root());
        command.stdin(std::fs::File::open(self.beside("patch")).unwrap());
        command
    }

    /// The exit code and the one document.
    fn answer(&self, arguments: &[&str], patch: &str) -> (i32, Value) {
        let output = self.command(&[&["--json"], arguments].concat(), patch).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let answer = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (output.status.code().unwrap(), answer)
    }
}

fn outcome(answer: &Value, index: usize) -> &str {
    let receipts = if answer["outcomes"].is_array() { &answer["outcomes"] } else { &answer["operations"] };
    receipts[index]["outcome"].as_str().unwrap()
}

#[test]
fn a_refusal_says_what_to_send_instead_and_the_mended_patch_lands() {
    let ground = Ground::new(&[("poem", POEM), ("other", "x\n")]);
    let both = ASTRAY.replace("*** End Patch", "*** Add File: new\n+n\n*** End Patch");
    let (code, refusal) = ground.answer(&[], &both);
    assert_eq!((code, refusal["kind"].as_str()), (1, Some("patch_refused")), "{refusal}");
    assert_eq!((outcome(&refusal, 0), outcome(&refusal, 1)), ("no_match", "applied"), "{refusal}");
    let (first, detail) = (&refusal["outcomes"][0], refusal["detail"].as_str().unwrap());
    assert_eq!(
        (&first["nearest"]["lines"]["first"], &first["nearest"]["lines"]["last"]),
        (&1.into(), &3.into())
    );
    assert!(first["nearest"]["diff"].as_str().unwrap().contains("+two"), "{first}");
    assert!(first["hint"].as_str().unwrap().contains("send the hunk again"), "{first}");
    assert!(
        detail.contains("nothing was changed") && detail.contains("send the whole patch again"),
        "{detail}"
    );
    assert_eq!(ground.files()["poem"], POEM);
    assert!(!ground.files().contains_key("new"), "all or nothing");
    let (code, receipt) =
        ground.answer(&[], &MENDED.replace("*** End Patch", "*** Add File: new\n+n\n*** End Patch"));
    assert_eq!((code, outcome(&receipt, 0), outcome(&receipt, 1)), (0, "applied", "applied"), "{receipt}");
    assert_eq!(ground.files()["poem"], "one\nTWO\nthree\nfour\n");
    assert_eq!(ground.files().len(), 3, "nothing else is left in the tree");
}

#[test]
fn what_is_in_place_already_is_a_success() {
    let ground = Ground::new(&[("poem", POEM)]);
    for wanted in ["applied", "already_applied"] {
        let (code, receipt) = ground.answer(&[], MENDED);
        assert_eq!((code, outcome(&receipt, 0)), (0, wanted), "{receipt}");
    }
}

#[test]
fn a_check_writes_nothing() {
    let ground = Ground::new(&[("poem", POEM)]);
    let (code, receipt) = ground.answer(&["--check"], MENDED);
    assert_eq!((code, outcome(&receipt, 0)), (0, "applied"), "{receipt}");
    assert_eq!(ground.files()["poem"], POEM);
}

#[test]
fn with_its_base_an_edit_goes_where_its_line_went() {
    let ground = Ground::new(&[("list", "x\nsame\ny\na\nsame\nb\n")]);
    let base = ground.beside("base");
    std::fs::write(&base, "a\nsame\nb\n").unwrap();
    let patch = "--- a/list\n+++ b/list\n@@ -2 +2 @@\n-same\n+changed\n";
    let given = format!("list={}", base.display());
    let (code, receipt) = ground.answer(&["--base-file", &given, "--format", "udiff"], patch);
    assert_eq!((code, &receipt["operations"][0]["step"]), (0, &Value::from("provenance")), "{receipt}");
    assert_eq!(ground.files()["list"], "x\nsame\ny\na\nchanged\nb\n");
    let (code, problem) = ground.answer(&["--base-file", "list"], patch);
    assert_eq!((code, problem["kind"].as_str()), (2, Some("malformed")), "{problem}");
    let given = format!("poem={}", base.display());
    let output = ground.command(&["--check", "--base-file", &given, "-"], patch).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--base-file poem: the patch does not touch this path"), "{said}");
}

#[test]
fn the_plain_answer_says_the_same() {
    let ground = Ground::new(&[("poem", POEM)]);
    let output = ground.command(&[], ASTRAY).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in
        ["1 of 1 operations refused", "send the whole patch again", "no match", "nearest: lines 1-3", "+two"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let output = ground.command(&[], "no patch at all\n").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stdout).unwrap().contains("standard input:1:"));
}

#[test]
fn it_answers_to_the_name_that_models_know() {
    let ground = Ground::new(&[("poem", POEM), ("deep/er", "x\n")]);
    let name = ground.beside("apply_patch");
    symlink(env!("CARGO_BIN_EXE_patchbay-agent"), &name).unwrap();
    // From a folder of the workspace, with the patch itself as the argument.
    let mut command = Command::new(name);
    command.arg(MENDED).env("PATCHBAY_WORKSPACE", ground.root()).current_dir(ground.root().join("deep"));
    assert!(command.stdin(Stdio::null()).output().unwrap().status.success());
    assert_eq!(ground.files()["poem"], "one\nTWO\nthree\nfour\n");
}

#[test]
fn nothing_outside_the_workspace_is_written_and_nothing_that_is_denied() {
    let ground = Ground::new(&[("poem", POEM), (".git/config", "[core]\n"), ("secrets/.env", "KEY=1\n")]);
    let outside = ground.beside("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("canary"), "alive\n").unwrap();
    symlink(&outside, ground.root().join("out")).unwrap();
    symlink(outside.join("canary"), ground.root().join("canary")).unwrap();
    let before = ground.files();
    for path in [
        "../outside/canary",
        "out/canary",
        "out/new",
        "canary/x",
        &outside.join("new").display().to_string(),
        ".git/config",
        ".GIT/hooks/x",
        ".patchbay-apply/forward",
        "secrets/.env",
        "denied/below/x",
    ] {
        let operations = [
            serde_json::json!({"operation": "create", "path": path, "content": {"text": "pwned\n"}}),
            serde_json::json!({"operation": "replace", "path": path, "base_sha256": null, "content": {"text": "pwned\n"}}),
            serde_json::json!({"operation": "rename", "from": "poem", "to": path, "base_sha256": null}),
        ];
        for operation in operations {
            let patch = serde_json::json!({"operations": [operation]}).to_string();
            let denied = ["--deny", "**/.env", "--deny", "denied"];
            let (code, answer) = ground.answer(&denied, &patch);
            assert!(matches!(code, 1 | 2), "{path}: {answer}");
            assert_ne!(outcome(&answer, 0), "applied", "{path}: {answer}");
        }
    }
    assert_eq!(ground.files(), before);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(outside.join("canary")).unwrap(), "alive\n");
    // The plane's rules come in the environment.
    let patch = r#"{"operations": [{"operation": "delete", "path": "secrets/.env", "base_sha256": null}]}"#;
    let mut command = ground.command(&["--json"], patch);
    let output = command.env("PATCHBAY_DENIED_PATHS", "denied\n**/.{env,pem}").output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), outcome(&answer, 0)), (Some(1), "denied_path"), "{answer}");
}

fn several() -> Ground {
    Ground::new(&[("a", "old\n"), ("b/c", "old\n"), ("gone", "old\n")])
}

const CHANGE: &str = "*** Begin Patch\n*** Update File: a\n@@\n-old\n+new\n*** Update File: b/c\n@@\n-old\n+new\n\
                      *** Delete File: gone\n*** Add File: d/e\n+new\n*** End Patch\n";

#[test]
fn killed_at_any_instant_it_leaves_all_old_or_all_new() {
    let old = several().files();
    let expected = several();
    assert_eq!(expected.answer(&[], CHANGE).0, 0);
    let new = expected.files();
    for victims in [Victims::Main, Victims::Worker, Victims::Everyone] {
        let (mut killed, mut finished) = (0, 0);
        for nth in 1..CALLS_MAX {
            let ground = several();
            let mut command = ground.command(&[], CHANGE);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let was_killed = kill_at(&mut command, nth, victims);
            wait_until_unlocked(&ground.root());
            if victims == Victims::Everyone {
                settle(&ground.root());
            }
            let found = ground.files();
            assert!(found == old || found == new, "call {nth}, {victims:?}: {found:#?}");
            if !was_killed {
                break;
            }
            killed += 1;
            finished += usize::from(found == new);
        }
        assert!(killed > 50 && finished > 5 && finished < killed, "{victims:?}: {finished} of {killed}");
    }
}

/// What the container agent does to a workspace whose sandbox has ended.
fn settle(root: &Path) {
    let status =
        Command::new(env!("CARGO_BIN_EXE_patchbay-agent")).arg("__settle").current_dir(root).status();
    assert!(status.unwrap().success());
}
