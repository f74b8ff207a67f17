//! The tools as a coding agent finds them in the real sandbox (`try`): no network, little memory, an overlay. Needs
//! root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::fd::AsRawFd;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Both directions of one change to many files, so that most of an `apply` is moving them.
const MANY: &str = r#"
    both() { for i in $(seq 1 150); do printf -- '--- a/many/%s\n+++ b/many/%s\n@@ -1 +1 @@\n-%s\n+%s\n' $i $i $1 $2; done; }
    both old new > /tmp/new; both new old > /tmp/old
    toggle() { if grep -q old many/1; then echo /tmp/new; else echo /tmp/old; fi; }
"#;

fn many() -> TempDir {
    let workspace = tempfile::tempdir().unwrap();
    std::fs::create_dir(workspace.path().join("many")).unwrap();
    for number in 1..=150 {
        std::fs::write(workspace.path().join(format!("many/{number}")), "old\n").unwrap();
    }
    workspace
}

fn attempt(workspace: &TempDir, options: &[&str], script: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_patchbay-agent"))
        .arg("try")
        .args(options)
        .args(["--workspace", workspace.path().to_str().unwrap(), "--", "sh", "-c", script])
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn they_work_on_the_live_workspace_in_little_memory() {
    let workspace = tempfile::tempdir().unwrap();
    for (name, content) in [("poem", "one\ntwo\n"), ("gone", "x\n"), ("folder/moved", "kept\n")] {
        let path = workspace.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let script = "set -e; mkdir deep; cd deep
        apply_patch <<'EOF'
*** Begin Patch
*** Update File: poem
@@
 one
-two
+TWO
*** Delete File: gone
*** Add File: folder/new/deep
+new
*** End Patch
EOF
        cd ..; ls -A; test ! -e deep/poem; cat poem folder/new/deep
        for name in bin/x x bin/patchbay-agent; do (echo > /run/patchbay/$name) 2>/dev/null && echo BROKEN; done
        cat /run/patchbay/mcp.json";
    let output = attempt(&workspace, &["--memory-mb", "64", "--processes", "16", "--disk-mb", "16"], script);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("BROKEN"), "{text}");
    assert!(text.contains("\ndeep\nfolder\npoem\none\nTWO\nnew\n"), "{text}");
    for part in ["\"args\": [\"mcp\"]", "-two\n+TWO", "deleted file mode 100644", "b/folder/new/deep"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// As after an upgrade: the agent runs on, its file has gone.
#[test]
fn they_are_there_when_the_agents_own_file_was_replaced() {
    let workspace = many();
    let copy = workspace.path().with_extension("agent");
    std::fs::copy(env!("CARGO_BIN_EXE_patchbay-agent"), &copy).unwrap();
    let program = std::fs::File::open(&copy).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let output = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .args(["try", "--", "apply_patch", "*** Begin Patch\n*** Add File: new\n+n\n*** End Patch\n"])
        .output()
        .unwrap();
    let text = text(&output);
    assert!(output.status.success() && text.contains("b/new"), "{text}");
}

#[test]
fn they_serve_a_client_inside() {
    let workspace = many();
    let script = r#"
        mkfifo /tmp/in /tmp/out; patchbay-agent mcp < /tmp/in > /tmp/out & exec 3> /tmp/in 4< /tmp/out
        ask() { printf '%s\n' "$1" >&3; read -r line <&4; printf '%s\n' "$line"; }
        ask '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'
        printf '%s\n' '{"jsonrpc":"2.0","method":"notifications/initialized"}' >&3
        ask '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"apply_patch","arguments":{"patch":"--- a/many/7\n+++ b/many/7\n@@ -1 +1 @@\n-old\n+new\n"}}}'
        exec 3>&-; wait"#;
    let output = attempt(&workspace, &[], script);
    let text = text(&output);
    assert!(output.status.success() && text.contains("\"outcome\":\"applied\""), "{text}");
    assert!(text.contains("--- a/many/7"), "{text}");
}

#[test]
fn killed_inside_they_leave_all_old_or_all_new() {
    let script = format!(
        r#"{MANY}
        n=0; killed=0
        while [ $n -lt 60 ]; do
            n=$((n + 1)); patchbay-agent apply "$(toggle)" > /dev/null & pid=$!
            sleep 0.0$(printf %02d $n); kill -9 $pid 2> /dev/null; wait $pid
            [ $? = 137 ] && killed=$((killed + 1))
            flock . true
            [ $(cat many/* | sort -u | wc -l) = 1 ] && [ $(ls many | wc -l) = 150 ] || echo "HALF after $n"
            [ -e .patchbay-apply ] && echo "LEFT after $n"
        done
        echo "killed $killed""#
    );
    let output = attempt(&many(), &[], &script);
    let text = text(&output);
    assert!(!text.contains("HALF") && !text.contains("LEFT"), "{text}");
    let killed: u32 = text.split("killed ").nth(1).unwrap().split('\n').next().unwrap().parse().unwrap();
    assert!(killed > 5, "{text}");
}

/// The guardian ends with the sandbox, wherever the files are then: the container agent settles the workspace.
#[test]
fn a_sandbox_that_ends_in_the_middle_shows_all_or_nothing() {
    let script = format!("{MANY} while :; do patchbay-agent apply $(toggle) > /dev/null; done");
    for _ in 0..6 {
        let output = attempt(&many(), &["--wall-seconds", "1"], &script);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(124), "{text}");
        let changed = text.matches("\n+new\n").count();
        assert!(changed == 0 || changed == 150, "{changed} of 150");
        assert!(!text.contains(".patchbay-apply"), "{text}");
    }
}
