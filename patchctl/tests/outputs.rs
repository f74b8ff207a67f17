//! Every exit code, and what is printed with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};
use support::{Ground, Ran, batch, create, delete, replace};

const UDIFF: &str = "--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";

fn three_lines() -> Ground {
    Ground::new(&[("a", "one\ntwo\nthree\n")])
}

#[test]
fn in_place_is_0_and_so_is_already_in_place() {
    let ground = three_lines();
    let ran = ground.run(&["apply"], UDIFF).expect(0);
    assert!(ran.stdout.starts_with("applied         a: exact, line"), "{ran:?}");
    assert!(ran.stdout.contains("\nreceipt pat_"), "{ran:?}");
    assert_eq!(ground.read("a"), "one\n2\nthree\n");
    let ran = ground.run(&["apply"], UDIFF).expect(0);
    assert_eq!(ran.stdout, "already applied a\n");
    assert_eq!(ground.files().len(), 1, "nothing is left in the tree");
}

#[test]
fn refused_is_1_and_explains_every_operation() {
    let ground = three_lines();
    let change = json!([replace("a", "x\n"), delete("a/b"), create("b", "b\n"), replace("missing", "x\n")]);
    let ran = ground.apply(change.clone()).expect(1);
    for said in [
        "2 of 4 operations refused; nothing was changed",
        "would apply     a",
        "would apply     b",
        "missing file    missing",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {ran:?}");
    }
    let problem = ground.run(&["apply", "--json"], &batch(change)).expect(1).json();
    assert_eq!(problem["kind"], "patch_refused");
    assert_eq!(problem["outcomes"].as_array().unwrap().len(), 4);
    assert_eq!(ground.read("a"), "one\ntwo\nthree\n");
}

#[test]
fn what_cannot_be_read_is_2() {
    let ground = three_lines();
    for (arguments, input) in [
        (vec!["apply"], "no patch at all\n"),
        (vec!["apply", "--format", "json"], "{"),
        (vec!["apply", "--no-such-option"], ""),
        (vec!["apply", "--base-file", "a"], UDIFF),
        (vec!["apply", "--base-file", "../a=a"], UDIFF),
        (vec!["apply", "--server", "http://127.0.0.1:1"], UDIFF),
        (vec!["nothing"], ""),
    ] {
        let ran = ground.run(&arguments, input).expect(2);
        assert!(!ran.stderr.is_empty(), "{ran:?}");
    }
    assert_eq!(ground.run(&["apply", "--json"], "no patch").expect(2).json()["kind"], "malformed");
    assert_eq!(ground.files().len(), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_3() {
    let ground = three_lines();
    for arguments in [["apply", "missing.patch", "--root", "."], ["apply", "--root", "missing", "../input"]] {
        let ran = ground.run(&arguments, UDIFF).expect(3);
        assert!(ran.stderr.contains("missing"), "{ran:?}");
    }
}

#[test]
fn check_says_the_same_and_writes_nothing() {
    let ground = three_lines();
    let ran = ground.run(&["check"], UDIFF).expect(0);
    assert!(ran.stdout.starts_with("would apply     a: exact"), "{ran:?}");
    let checked = ground.run(&["check", "--json"], UDIFF).expect(0).json();
    assert_eq!(checked["id"], Value::Null);
    assert_eq!(ground.read("a"), "one\ntwo\nthree\n");
    assert!(!ground.state_home().exists());
    ground.run(&["revert"], "").expect(1);
}

#[test]
fn revert_takes_back_one_apply_after_the_other() {
    let ground = three_lines();
    let first = ground.files();
    ground.run(&["apply"], UDIFF).expect(0);
    let second = ground.files();
    let receipt = ground
        .run(&["apply", "--json", "--receipt", "../receipt.json"], &batch(json!([create("b/c", "c\n")])));
    let id = receipt.expect(0).json()["id"].as_str().unwrap().to_owned();
    let third = ground.files();
    ground.run(&["revert"], "").expect(0);
    assert_eq!(ground.files(), second);
    ground.run(&["revert"], "").expect(0);
    assert_eq!(ground.files(), first);
    ground.run(&["revert"], "").expect(1);
    // By name: twice is once.
    ground.apply(json!([create("b/c", "c\n"), replace("a", "one\n2\nthree\n")])).expect(0);
    assert_eq!(ground.files(), third);
    ground.run(&["revert", &id], "").expect(0);
    assert_eq!(ground.files(), second);
    let ran = ground.run(&["revert", "../receipt.json"], "").expect(0);
    assert!(ran.stdout.contains("already applied"), "{ran:?}");
    ground.run(&["revert", "pat_01m7ybazenrkeh64w9zqm8m9e1"], "").expect(1);
    ground.run(&["revert", "missing"], "").expect(3);
}

#[test]
fn revert_is_refused_where_others_built_on_it() {
    let ground = three_lines();
    ground.run(&["apply"], UDIFF).expect(0);
    std::fs::write(ground.path("a"), "one\nTWO AND A HALF\nthree\n").unwrap();
    ground.run(&["revert"], "").expect(1);
    // What stands elsewhere in the file stays.
    std::fs::write(ground.path("a"), "zero\none\n2\nthree\nfour\n").unwrap();
    ground.run(&["revert"], "").expect(0);
    assert_eq!(ground.read("a"), "zero\none\ntwo\nthree\nfour\n");
}

#[test]
fn denied_paths_and_bases() {
    // A block like the one that was patched was put above it since.
    let ground = Ground::new(&[("a", "top\ntwo\ny\nfirst\ntwo\nx\n"), ("b/c", "c\n")]);
    let ran = ground.run(&["apply", "--deny", "b/**"], &batch(json!([replace("b/c", "d\n")]))).expect(1);
    assert!(ran.stdout.contains("denied path     b/c"), "{ran:?}");
    let patch = "--- a/a\n+++ b/a\n@@ -2 +2 @@\n-two\n+2\n";
    let ran = ground.run(&["apply"], patch).expect(1);
    assert!(ran.stdout.contains("ambiguous       a"), "{ran:?}");
    std::fs::write(ground.everything().join("base"), "first\ntwo\nx\n").unwrap();
    let ran = ground.run(&["apply", "--base-file", "a=../base"], patch).expect(0);
    assert!(ran.stdout.contains("by provenance, line 5"), "{ran:?}");
    assert_eq!(ground.read("a"), "top\ntwo\ny\nfirst\n2\nx\n");
}

#[test]
fn a_base_that_is_not_used_is_said() {
    let ground = three_lines();
    let ran = ground.run(&["apply", "--base-file", "b=a"], UDIFF).expect(0);
    assert!(ran.stderr.contains("--base-file b: the patch does not touch this path"), "{ran:?}");
    let ran = ground.run(&["apply", "--base-file", "a=a"], UDIFF).expect(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_dash_is_standard_input() {
    let ground = three_lines();
    ground.run(&["apply", "-"], UDIFF).expect(0);
    assert_eq!(ground.read("a"), "one\n2\nthree\n");
}

#[test]
fn a_patch_in_two_formats_is_not_applied_by_half() {
    let ground = Ground::new(&[("a", "one\ntwo\nthree\n"), ("b.txt", "x\n")]);
    let block = "b.txt\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n";
    let ran = ground.run(&["apply"], &format!("{UDIFF}{block}")).expect(2);
    assert!(ran.stdout.contains("malformed       line 9, column 1: a patch in another format"), "{ran:?}");
    assert_eq!(ground.read("a"), "one\ntwo\nthree\n");
}

#[test]
fn task_files() {
    let ground = Ground::new(&[
        ("good.json", "{\"tasks\": [{\"title\": \"a\"}]}"),
        ("bad.json", "{\"tasks\": [\n  {\"title\": \"\"},\n  {\"title\": \"b\", \"priority\": 10}\n]}"),
    ]);
    assert_eq!(ground.run(&["validate-tasks", "good.json"], "").expect(0).stdout, "good.json: 1 task\n");
    let ran = ground.run(&["validate-tasks", "bad.json"], "").expect(2);
    assert!(ran.stderr.contains("bad.json:2:13: tasks[0].title: "), "{ran:?}");
    assert!(ran.stderr.contains("bad.json:3:30: tasks[1].priority: "), "{ran:?}");
    let problem = ground.run(&["validate-tasks", "--json", "bad.json"], "").expect(2).json();
    assert_eq!(problem["faults"][2]["field"], "tasks[1].priority");
    ground.run(&["validate-tasks", "missing.json"], "").expect(3);
}

#[test]
fn formats_are_converted() {
    let ground = three_lines();
    for format in ["udiff", "sr", "codex", "whole", "json"] {
        let converted = ground.run(&["convert", "--to", format], UDIFF).expect(0).stdout;
        ground.run(&["apply", "--format", format], &converted).expect(0);
        assert_eq!(ground.read("a"), "one\n2\nthree\n", "{format}: {converted}");
        ground.run(&["revert"], "").expect(0);
        assert_eq!(ground.read("a"), "one\ntwo\nthree\n", "{format}");
    }
}

#[test]
fn it_describes_itself() {
    let ground = three_lines();
    for shell in ["bash", "zsh", "fish"] {
        assert!(ground.run(&["completions", shell], "").expect(0).stdout.contains("validate-tasks"));
    }
    let man = ground.run(&["man"], "").expect(0).stdout;
    for said in [".TH", "Exit codes", "base\\-file"] {
        assert!(man.contains(said), "{said}");
    }
    assert!(ground.run(&["--help"], "").expect(0).stdout.contains("Exit codes:"));
}

/// Answers one request with this status and document, and gives back what was asked.
fn answer(status: u16, body: Value) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).unwrap();
            asked.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&asked).into_owned();
            let length = text.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .and_then(|n| n.parse::<usize>().ok())
            });
            let (Some(length), Some((_, body))) = (length, text.split_once("\r\n\r\n")) else { continue };
            if body.len() >= length {
                break;
            }
        }
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}",
            body.len()
        );
        stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (url, server)
}

const PROJECT: &str = "prj_01m7ybazenrkeh64w9zqm8m9e1";
const BATCH: &str = "pat_01m7ybazenrkeh64w9zqm8m9e1";

fn ask(ground: &Ground, command: &[&str], url: &str) -> Ran {
    let input = ground.everything().join("input");
    std::fs::write(&input, UDIFF).unwrap();
    let mut command = ground.command(command);
    command.args(["--server", url, "--project", PROJECT]).env("PATCHBAY_TOKEN", "secret");
    Ran::new(command.stdin(std::fs::File::open(input).unwrap()).output().unwrap())
}

#[test]
fn against_a_server() {
    let ground = three_lines();
    let operation = json!({ "index": 0, "path": "a", "outcome": "already_applied" });
    let receipt = json!({
        "patch_batch_id": BATCH, "project_id": PROJECT, "revision_before": 1, "revision_after": 2,
        "operations": [operation], "files": [], "applied_at_ms": 1
    });
    let (url, asked) = answer(200, receipt.clone());
    let ran = ask(&ground, &["apply", "--model", "m"], &url).expect(0);
    assert_eq!(ran.stdout, format!("already applied a\nreceipt {BATCH}, revision 2\n"));
    let asked = asked.join().unwrap();
    assert!(
        asked.starts_with("POST /api/patches/apply ") && asked.contains("authorization: Bearer secret"),
        "{asked}"
    );
    let body: Value = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["text"], &body["origin"]["model"]), (&json!(UDIFF), &json!("m")));

    let (url, asked) =
        answer(200, json!({ "project_id": PROJECT, "revision": 7, "operations": [], "files": [] }));
    assert_eq!(ask(&ground, &["check"], &url).expect(0).stdout, "checked against revision 7\n");
    assert!(asked.join().unwrap().starts_with("POST /api/patches/check "));

    let (url, asked) = answer(200, receipt);
    ask(&ground, &["revert", BATCH], &url).expect(0);
    assert!(asked.join().unwrap().starts_with(&format!("POST /api/patches/{BATCH}/revert ")));

    let problem = |kind: &str, status: u16| {
        json!({ "type": "x", "kind": kind, "title": "t", "status": status, "detail": "why",
                "outcomes": [{ "index": 0, "path": "a", "outcome": "missing_file", "hint": "h" }] })
    };
    let (url, _) = answer(409, problem("patch_refused", 409));
    assert!(ask(&ground, &["apply"], &url).expect(1).stdout.contains("missing file    a: h"));
    let (url, _) = answer(403, problem("forbidden", 403));
    ask(&ground, &["apply"], &url).expect(4);
    let ran = ask(&ground, &["apply", "--json"], "http://127.0.0.1:1").expect(4);
    assert_eq!(ran.json()["kind"], "overloaded");
    assert_eq!(ground.read("a"), "one\ntwo\nthree\n");
}
