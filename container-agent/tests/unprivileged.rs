//! The sandbox as an ordinary user makes it: no root, no group that was delegated. The tests need root only to become
//! that user.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Nobody's on any machine that runs tests.
const USER: u32 = 61_234;

/// What the user has: a copy of the program, and a directory of its own.
struct User {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl User {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("patchbay-agent");
        std::fs::copy(env!("CARGO_BIN_EXE_patchbay-agent"), &program).unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let user = Self { directory, program };
        for name in ["tmp", "workspace"] {
            user.make(name);
        }
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make(&self, name: &str) {
        std::fs::create_dir(self.path(name)).unwrap();
        chown(self.path(name), Some(USER), Some(USER)).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        chown(self.path(name), Some(USER), Some(USER)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        Command::new("setpriv")
            .args([&uid, &gid, "--clear-groups", "--"])
            .arg(&self.program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("tmp"))
            .env("TMPDIR", self.path("tmp"))
            .env("SECRET_OF_THE_AGENT", "not-for-the-payload")
            .output()
            .unwrap()
    }

    fn attempt(&self, options: &[&str], script: &str) -> Output {
        let end = ["--", "bash", "-c", script];
        self.run(&[&["try", "--limits", "none"], options, &end].concat())
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_user_has_the_same_walls() {
    let user = User::new();
    std::fs::write(user.path("beside"), "secret").unwrap();
    let outside = user.path("beside").display().to_string();
    let script = format!(
        "id -u; hostname; ls /proc | grep -c '^[0-9]'
         grep -E 'Cap(Eff|Bnd|Amb):\\s+0{{16}}$' /proc/self/status | wc -l
         grep -E '(NoNewPrivs:\\s+1|Seccomp:\\s+2)$' /proc/self/status | wc -l
         for path in {outside} /proc/1/environ /etc/shadow /run/docker.sock /sys/kernel; do cat $path 2>/dev/null && echo BROKEN; done
         for path in / /usr /etc /run/secrets /proc/sys/kernel; do touch $path/x 2>/dev/null && echo BROKEN; done
         unshare -U true 2>/dev/null && echo BROKEN; (echo > /dev/tcp/127.0.0.1/22) 2>/dev/null && echo BROKEN
         grep -a SECRET_OF /proc/*/environ 2>/dev/null && echo BROKEN; true"
    );
    let output = user.attempt(&[], &script);
    let text = text(&output);
    assert!(output.status.success() && !text.contains("BROKEN"), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(&lines[..2], ["1000", "sandbox"], "{text}");
    assert!(lines[2].parse::<u32>().unwrap() <= 4, "{text}");
    assert_eq!(&lines[3..], ["3", "2"], "{text}");
}

#[test]
fn its_changes_are_the_same_diff() {
    let user = User::new();
    user.write("workspace/edit.txt", "one\ntwo\n");
    user.write("workspace/gone.txt", "gone\n");
    user.make("workspace/old");
    user.write("workspace/old/moved.txt", "a file that moves\nwith its directory\n");
    user.make("workspace/replaced");
    user.write("workspace/replaced/before", "gone\n");
    let workspace = user.path("workspace").display().to_string();
    let script = "rm -r replaced; mkdir replaced; echo n > replaced/after; sed -i s/two/2/ edit.txt; rm gone.txt; mv old new; rm -rf new/none; mkdir -p a/b; echo n > a/b/c; exit 3";
    let output = user.attempt(&["--workspace", &workspace], script);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for part in
        ["+2", "deleted file mode 100644", "rename to new/moved.txt", "b/a/b/c", "--- a/replaced/before"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(std::fs::read_to_string(user.path("workspace/edit.txt")).unwrap(), "one\ntwo\n");
}

#[test]
fn what_a_user_cannot_have_is_refused_with_a_reason() {
    let user = User::new();
    // 1. Limits without a group of one's own.
    let output = user.run(&["try", "--", "true"]);
    let said = text(&output);
    assert!(
        !output.status.success() && said.contains("Delegate=yes") && said.contains("limits = \"none\""),
        "{said}"
    );
    // 2. Somebody else's files.
    std::fs::create_dir(user.path("foreign")).unwrap();
    std::fs::set_permissions(user.path("foreign"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = user.attempt(&["--workspace", user.path("foreign").to_str().unwrap()], "true");
    let said = text(&output);
    assert!(!output.status.success() && said.contains("belongs to another user"), "{said}");
    // 3. Limits beyond its own.
    let limited = format!("ulimit -n 256; exec {} try --limits none -- true", user.program.display());
    let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    let output = Command::new("setpriv")
        .args([&uid, &gid, "--clear-groups", "--", "bash", "-c", &limited])
        .env("TMPDIR", user.path("tmp"))
        .output()
        .unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("open files need a hard limit"), "{said}");
}

#[test]
fn doctor_says_what_is_less_and_leaves_nothing() {
    let user = User::new();
    let state = user.path("tmp/state").display().to_string();
    let output = user.run(&["doctor", "--json", "--limits", "none", "--state-dir", &state]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["tier"], "limited", "{report:#}");
    let row = |what: &str| {
        let rows = report["sandboxes"][0]["findings"].as_array().unwrap();
        rows.iter().find(|row| row["what"] == what).cloned().unwrap_or_default()
    };
    assert_eq!(row("privilege")["verdict"], "limited", "{report:#}");
    assert_eq!(row("sandbox")["verdict"], "good", "{report:#}");
    assert!(!Path::new(&state).exists());
    // With limits it is no sandbox at all, and the reason is one that can be acted on.
    let output = user.run(&["doctor", "--json", "--state-dir", &state]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["tier"], "none", "{report:#}");
}
