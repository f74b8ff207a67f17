//! `doctor` says what a real sandbox showed. Needs root; what the tests break they break in a mount namespace of
//! their own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_patchbay-agent");

/// Runs `script` where its mounts are nobody else's; `$AGENT` and `$DIR` are set.
fn apart(directory: &Path, script: &str) -> Output {
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", script])
        .env("AGENT", AGENT)
        .env("DIR", directory)
        .output()
        .unwrap()
}

fn report(output: &Output) -> Value {
    let read = serde_json::from_slice(&output.stdout);
    assert!(read.is_ok(), "{output:?}");
    read.unwrap()
}

fn row<'a>(report: &'a Value, what: &str) -> &'a Value {
    report["sandboxes"][0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .rfind(|row| row["what"] == what)
        .unwrap_or(&Value::Null)
}

#[test]
fn a_whole_machine_is_strong_and_keeps_nothing_of_the_trial() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let started = std::time::Instant::now();
    let output = Command::new(AGENT)
        .args(["doctor", "--json", "--state-dir"])
        .arg(directory.path().join("not/yet"))
        .env("PATCHBAY_LOG", "debug")
        .output()
        .unwrap();
    println!("doctor took {:?}", started.elapsed());
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    assert_eq!(report["tier"], "strong", "{report:#}");
    for what in ["sandbox", "limits in force"] {
        assert_eq!(row(&report, what)["verdict"], "good", "{report:#}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let log = String::from_utf8_lossy(&output.stderr);
    let instance = log.split("instance=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(instance.len(), 12, "{log}");
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        for below in ["patchbay", "../patchbay"] {
            let path = hierarchy.path().join(below).join(instance);
            assert!(!path.exists(), "{}", path.display());
        }
    }
    // Less than all is not `strong`.
    for option in [["--limits", "none"], ["--workspace-disk", "directory"]] {
        let output = Command::new(AGENT)
            .args(["doctor", "--json", "--state-dir"])
            .arg(directory.path())
            .args(option)
            .output()
            .unwrap();
        assert_eq!(self::report(&output)["tier"], "limited", "{option:?}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_a_real_sandbox_fails_at_is_said() {
    let no_idmap = "mkdir $DIR/lower $DIR/t $DIR/state; mount -t tmpfs t $DIR/t; mkdir $DIR/t/u $DIR/t/w; \
                    mount -t overlay o -o lowerdir=$DIR/lower,upperdir=$DIR/t/u,workdir=$DIR/t/w $DIR/state";
    let read_only_state = "mkdir $DIR/state; mount -t tmpfs -o ro t $DIR/state";
    let covered = "mkdir $DIR/state; mount -t tmpfs t /proc/irq";
    let read_only_groups = "mkdir $DIR/state; for at in $(grep -o ' /sys/fs/cgroup[^ ]*' /proc/self/mountinfo); do \
                            mount -o remount,ro,bind $at; done";
    for (breaks, what, fix) in [
        (no_idmap, "id-mapped workspace", "--state-dir"),
        (read_only_state, "state directory", "--state-dir"),
        (covered, "fresh /proc", "systempaths"),
        (read_only_groups, "control groups", "limits"),
        ("mkdir $DIR/state; ulimit -n 512", "ulimits", "LimitNOFILE"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let doctor = format!("{breaks}; exec $AGENT doctor --json --state-dir $DIR/state");
        let output = apart(directory.path(), &doctor);
        assert_eq!(output.status.code(), Some(1), "{what}: {output:?}");
        let report = report(&output);
        assert_eq!(report["tier"], "none", "{what}: {report:#}");
        assert_eq!(row(&report, what)["verdict"], "missing", "{what}: {report:#}");
        assert!(row(&report, what)["fix"].as_str().unwrap().contains(fix), "{what}: {report:#}");
    }
    // And `run` refuses at once, with what is wrong.
    let directory = tempfile::tempdir().unwrap();
    let run = "exec $AGENT run --state-dir $DIR/state --url http://127.0.0.1:1";
    let output = apart(directory.path(), &format!("export PATCHBAY_TOKEN=token; {no_idmap}; {run}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("id-mapped workspace") && text.contains("doctor"), "{text}");
}
