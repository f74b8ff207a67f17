//! The walls and limits of the sandbox, tried from inside through the real binary (`try`). Needs root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn command(options: &[&str], script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"));
    command.arg("try").args(options).args(["--", "sh", "-c", script]);
    command
}

fn attempt(options: &[&str], script: &str) -> Output {
    command(options, script).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every line must be what the probe prints when the wall holds.
fn holds(script: &str) {
    let output = attempt(&[], script);
    let text = text(&output);
    assert!(output.status.success() && !text.contains("BROKEN"), "{script}: {text}");
}

#[test]
fn the_payload_is_nobody_alone_on_an_empty_machine() {
    let output = attempt(
        &[],
        "id -u; id -g; pwd; hostname; ps -e --no-headers | wc -l; cat /proc/self/cgroup | cut -d: -f3 | sort -u",
    );
    let text = text(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(&lines[..4], ["1000", "1000", "/workspace", "sandbox"], "{text}");
    // init, sh, and the pipeline's own.
    assert!(lines[4].trim().parse::<u32>().unwrap() <= 4, "{text}");
    assert_eq!(&lines[5..], ["/"], "{text}");
}

#[test]
fn the_machine_is_out_of_reach() {
    std::fs::write("/tmp/patchbay-test-secret", "secret").unwrap();
    holds("cat /tmp/patchbay-test-secret 2>/dev/null && echo BROKEN; true");
    std::fs::remove_file("/tmp/patchbay-test-secret").unwrap();
    for path in [
        "/etc/shadow",
        "/root/.cargo",
        "/var/log",
        "/sys/kernel",
        "/run/docker.sock",
        "/work",
        "/proc/1/environ",
        "/dev/vda",
    ] {
        holds(&format!("ls {path} 2>/dev/null | grep -q . && cat {path} 2>/dev/null && echo BROKEN; true"));
    }
    for path in ["/", "/usr", "/etc", "/bin", "/dev", "/proc/sys/kernel", "/root"] {
        holds(&format!("touch {path}/x 2>/dev/null && echo BROKEN; true"));
    }
    holds("echo 1 > /proc/sys/kernel/hostname 2>/dev/null && echo BROKEN; true");
    holds("[ $(ls /proc/self/fd | wc -l) -le 4 ] || echo BROKEN");
    holds(
        "grep -q 'CapEff:.0000000000000000' /proc/self/status && grep -q 'CapBnd:.0000000000000000' /proc/self/status || echo BROKEN",
    );
    holds(
        "grep -q 'NoNewPrivs:.1' /proc/self/status && grep -q 'Seccomp:.2' /proc/self/status || echo BROKEN",
    );
}

#[test]
fn there_is_no_network_and_no_way_to_more() {
    holds("[ $(ls /proc/self/net/dev_snmp6 2>/dev/null | wc -l) -le 1 ] || echo BROKEN");
    holds("(echo > /dev/tcp/1.1.1.1/80) 2>/dev/null && echo BROKEN; true");
    let python = "
import socket, os, ctypes
def closed(what, attempt):
    try:
        attempt()
        print('BROKEN', what)
    except OSError:
        pass
closed('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))
closed('packet', lambda: socket.socket(17, socket.SOCK_RAW))
closed('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
closed('remote', lambda: socket.create_connection(('10.0.0.1', 80), 1))
closed('dns', lambda: socket.getaddrinfo('example.com', 80))
closed('chroot', lambda: os.chroot('/tmp'))
libc = ctypes.CDLL(None, use_errno=True)
for name, number in [('unshare', 272), ('mount', 165), ('ptrace', 101), ('bpf', 321), ('io_uring', 425), ('keyctl', 250), ('userfaultfd', 323), ('perf', 298), ('setns', 308), ('kexec', 246)]:
    if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() not in (1, 38):
        print('BROKEN', name, ctypes.get_errno())
if libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0: print('BROKEN clone NEWUSER')
server = socket.create_server(('127.0.0.1', 0))
socket.create_connection(server.getsockname())
";
    let output = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"))
        .args(["try", "--", "/usr/bin/python3", "-c", python])
        .output()
        .unwrap();
    if Path::new("/usr/bin/python3").exists() {
        assert!(output.status.success() && !text(&output).contains("BROKEN"), "{}", text(&output));
    }
}

#[test]
fn limits_hold() {
    let memory = attempt(&["--memory-mb", "64"], "head -c 300m /dev/zero | tail | wc -c");
    assert!(text(&memory).contains("memory limit of 64 MB"), "{}", text(&memory));
    let started = Instant::now();
    let time = attempt(&["--wall-seconds", "1"], "sleep 30");
    assert_eq!(time.status.code(), Some(124));
    assert!(started.elapsed() < Duration::from_secs(10));
    let processes = attempt(&["--processes", "16"], "for i in $(seq 1 60); do sleep 5 & done; echo all");
    assert!(text(&processes).to_lowercase().contains("fork"), "{}", text(&processes));
    let disk = attempt(
        &["--disk-mb", "8"],
        "head -c 20m /dev/zero > big; head -c 20m /dev/zero > /tmp/big; df -k /tmp | tail -1",
    );
    assert!(text(&disk).contains("No space left"), "{}", text(&disk));
    let cpu = attempt(&["--cpu-cores", "0.2", "--wall-seconds", "1", "--stats"], "while :; do :; done");
    let used: u64 =
        text(&cpu).split(" ms of CPU").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(used < 500, "{}", text(&cpu));
}

#[test]
fn exits_are_passed_on_and_the_diff_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("edit.txt", "one\ntwo\n");
    write("gone.txt", "gone\n");
    std::fs::create_dir(directory.path().join("old")).unwrap();
    write("old/moved.txt", "a file that moves\nwith its directory\n");
    let script = "sed -i s/two/2/ edit.txt; rm gone.txt; mv old new; chmod +x edit.txt; ln -s edit.txt link; \
                  ln -s /etc/passwd outside; mkdir .git; echo x > .git/config; exit 3";
    let output = attempt(&["--workspace", directory.path().to_str().unwrap()], script);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let diff = String::from_utf8_lossy(&output.stdout);
    for part in [
        "+2",
        "deleted file mode 100644",
        "rename from old/moved.txt",
        "rename to new/moved.txt",
        "new mode 100755",
        "b/link",
    ] {
        assert!(diff.contains(part), "{part}: {diff}");
    }
    assert!(!diff.contains("passwd") && !diff.contains(".git"), "{diff}");
    // The directory itself is as before.
    assert_eq!(std::fs::read_to_string(directory.path().join("edit.txt")).unwrap(), "one\ntwo\n");
    assert_eq!(attempt(&[], "kill -9 $$").status.code(), Some(137));
    let missing = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"))
        .args(["try", "--", "nothing-like-it"])
        .output()
        .unwrap();
    assert!(text(&missing).contains("not found in the sandbox's PATH"), "{}", text(&missing));
}

#[test]
fn directories_above_may_be_closed_to_others() {
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let (state, workspace) = (closed.path().join("state"), closed.path().join("workspace"));
    for directory in [&state, &workspace] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(workspace.join("a.txt"), "one\n").unwrap();
    for (mask, disk) in [("022", "memory"), ("077", "memory"), ("077", "directory")] {
        // `--state-dir` of `try` is below TMPDIR.
        let script = "umask $MASK; exec $AGENT try --workspace-disk $DISK --workspace $WORKSPACE -- \
                      sh -c 'id -un; echo two >> a.txt; echo x > /tmp/x; ls /proc/self/fd >/dev/null && cat a.txt'";
        let output = Command::new("sh")
            .args(["-c", script])
            .envs([("MASK", mask), ("DISK", disk), ("AGENT", env!("CARGO_BIN_EXE_patchbay-agent"))])
            .envs([("TMPDIR", &state), ("WORKSPACE", &workspace)])
            .output()
            .unwrap();
        let text = text(&output);
        assert!(output.status.success() && text.starts_with("agent\none\ntwo\n"), "{mask} {disk}: {text}");
        assert!(text.contains("+two"), "{mask} {disk}: {text}");
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
    }
}

fn running(marker: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // Not this test, and not a reader of the process table.
        String::from_utf8_lossy(&line).split('\0').any(|word| word == marker)
    })
}

#[test]
fn nothing_stays_behind_even_after_kill_9() {
    // What goes on in the background ends with the command.
    let output = attempt(&[], "(sleep 98761 &) ; (setsid sleep 98761 &) ; true");
    assert!(output.status.success(), "{}", text(&output));
    assert!(!running("98761"));
    // The agent is killed: the helper sees its socket end.
    let mut agent = command(&[], "sleep 98762").spawn().unwrap();
    wait_until("the payload runs", || running("98762"));
    agent.kill().unwrap();
    agent.wait().unwrap();
    wait_until("the payload is gone", || !running("98762"));
    // The next run sweeps what the killed one left.
    assert!(attempt(&[], "true").status.success());
    let left = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!left.contains("patchbay-try"), "{left}");
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
