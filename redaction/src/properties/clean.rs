//! Text without secrets stays as it is: of a million lines, each against fifty secrets, none may lose anything.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

use super::{Random, cases_asked};
use crate::Redactor;

/// Unless `PROPTEST_CASES` says otherwise.
const LINES: u32 = 50_000;

const WORDS: [&str; 24] = [
    "the",
    "request",
    "token",
    "password",
    "secret",
    "serde_json",
    "connection",
    "refused",
    "worker",
    "src/main.rs",
    "node_modules",
    "sk-",
    "ghp_",
    "value",
    "error[E0308]",
    "expected",
    "found",
    "Bearer",
    "test",
    "...",
    "ok",
    "in",
    "thread 'main'",
    "é",
];

#[test]
fn clean_lines_stay() {
    let redactor = short_tokens();
    let mut random = Random(1);
    let lines = cases_asked().unwrap_or(LINES).max(LINES);
    for _ in 0..lines {
        let line = line(&mut random);
        assert!(matches!(redactor.redact_text(&line), Cow::Borrowed(_)), "{line}");
    }
    println!("{lines} clean lines, none changed");
}

/// Fifty tokens, some of which have only eight characters: what chance would meet first.
fn short_tokens() -> Redactor {
    let mut random = Random(2);
    let secrets = (0..50).map(|at| {
        let (prefix, characters) = [("", 8), ("sk-", 12), ("ghp_", 22)][at % 3];
        (format!("S{at}"), format!("{prefix}{}", random.characters(characters)))
    });
    Redactor::new(secrets).unwrap()
}

/// What programs print that a coding agent runs.
fn line(random: &mut Random) -> String {
    let (a, b, c) = (random.next(), random.next(), random.next() % 5_000);
    let words: Vec<&str> = (0..1 + random.below(12)).map(|_| random.of(&WORDS)).collect();
    let words = words.join(random.of(&[" ", "::", "-", "/", ", "]));
    let bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
    match random.below(16) {
        0 => format!("2026-01-02T03:04:05.{:06}Z INFO {words}: {c} of {} in {b} ms", a % 1_000_000, a >> 40),
        1 => format!(r#"{{"id":"{a:016x}{b:016x}","message":"it\"s {words}\nnext","n":{c},"ok":true}}"#),
        2 => format!("commit {a:016x}{b:016x}{c:08x} {words}"),
        3 => BASE64_STANDARD.encode(&bytes),
        4 => format!(
            "https://host.example/{words}?q={}&t=%{:02x}%{:02X}",
            BASE64_URL_SAFE.encode(&bytes),
            a % 256,
            b % 256
        ),
        5 => format!("{a:p} {words:?} {bytes:?}", a = &a),
        6 => format!(
            "{:08x}  {}  |{words}|",
            c * 16,
            bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>()
        ),
        7 => format!("   Compiling {words} v{}.{}.{} (/home/build/{a:x})", a % 9, b % 30, c % 100),
        8 => format!("-rw-r--r-- 1 build build {a:>12} Jan  2 03:04 {words}.rs"),
        9 => format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x} {words}",
            a as u32,
            a >> 48,
            b % 4096,
            b >> 52,
            b >> 16
        ),
        10 => format!("    at {words} (/srv/node_modules/{words}/index.js:{c}:{})", a % 80),
        11 => format!("@@ -{c},7 +{c},9 @@ {words}\n+    let {} = \"{}\";", WORDS[1], random.characters(16)),
        12 => {
            format!("sha512-{}", BASE64_STANDARD.encode([a, b, a ^ c, b ^ c].map(u64::to_be_bytes).concat()))
        }
        13 => format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", BASE64_URL_SAFE.encode(words), random.characters(43)),
        14 => format!(
            "\x1b[32m{words}\x1b[0m $'\\x{:02x}\\{:03o}\\u{:04x}' took {:?}",
            a % 256,
            b % 256,
            c,
            Duration::from_nanos(a >> 20)
        ),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}
