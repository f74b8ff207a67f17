//! The sandbox as an ordinary user makes it: no root, no group that was delegated. The tests need root only to become
//! that user.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

mod plane;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use plane::{Plane, leased};
use shared_contracts::sandboxes::SandboxTier;

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

    /// The program as this user, without arguments yet.
    fn command(&self) -> Command {
        let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        let mut command = Command::new("setpriv");
        command
            .args([&uid, &gid, "--clear-groups", "--"])
            .arg(&self.program)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("tmp"))
            .env("TMPDIR", self.path("tmp"))
            .env("SECRET_OF_THE_AGENT", "not-for-the-payload");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
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

/// Leaves what even its owner cannot read or enter: new and old, files and directories, the workspace itself.
const CLOSING: &str = "mkdir -p closed/deeper blind; echo 1 > closed/deeper/a; echo 2 > blind/b; echo 3 > unread
                       echo 4 > run; echo more >> old/edit.txt; echo more >> locked.txt; chmod 100 run; chmod 600 blind
                       chmod 0 closed/deeper closed unread old locked.txt .";

#[test]
fn what_a_payload_closes_is_delivered_and_removed() {
    let user = User::new();
    user.make("workspace/old");
    user.write("workspace/old/edit.txt", "one\n");
    user.write("workspace/locked.txt", "one\n");
    let workspace = user.path("workspace").display().to_string();
    let as_root = |options: &[&str]| {
        let mut agent = Command::new(&user.program);
        agent.arg("try").args(options).args(["--", "bash", "-c", CLOSING]);
        agent.env("TMPDIR", user.path("tmp")).output().unwrap()
    };
    for disk in ["memory", "directory"] {
        let options = ["--workspace", &workspace, "--workspace-disk", disk];
        for (who, output) in [("user", user.attempt(&options, CLOSING)), ("root", as_root(&options))] {
            let diff = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && output.stderr.is_empty(), "{who}, {disk}: {}", text(&output));
            let changed: Vec<_> = diff.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
            let all = ["blind/b", "closed/deeper/a", "locked.txt", "old/edit.txt", "run", "unread"];
            assert_eq!(changed, all, "{who}, {disk}: {diff}");
            assert_eq!(diff.matches("new file mode 100755").count(), 1, "{who}, {disk}: {diff}");
            let left: Vec<_> = std::fs::read_dir(user.path("tmp")).unwrap().collect();
            assert!(left.is_empty(), "{who}, {disk}: {left:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_payload_closes_is_an_artifact_and_a_patch() {
    let (plane, user) = (Plane::start().await, User::new());
    plane.file("old/edit.txt", "one\n");
    plane.file("locked.txt", "one\n");
    let state = user.path("tmp/state");
    let mut command = user.command();
    command.args(["run", "--limits", "none", "--workspace-disk", "directory"]);
    let _agent = plane.agent_by(command, &state);
    let mut work = leased(1, 1, &["bash", "-c", CLOSING]);
    work.spec.sandbox_tier = SandboxTier::Limited;
    work.spec.artifacts = vec!["closed/**".into()];
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (ended, events) = plane.ended(id).await;
    assert_eq!(ended["outcome"], "succeeded", "{events:#?}");
    plane.with(|seen| {
        assert_eq!((seen.artifacts.len(), seen.patches.len()), (1, 1), "{events:#?}");
        assert_eq!(seen.artifacts[0].1, b"1\n");
        let patch = seen.patches[0].to_string();
        for path in ["blind/b", "closed/deeper/a", "locked.txt", "old/edit.txt", "unread"] {
            assert!(patch.contains(path), "{path}: {patch}");
        }
    });
    let gone = |_: &mut plane::State| {
        (std::fs::read_dir(state.join("executions")).unwrap().count() == 0).then_some(())
    };
    plane.until("its directory is gone", gone).await;
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
