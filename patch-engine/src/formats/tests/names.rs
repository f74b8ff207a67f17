//! What is a file's name and what is prose.

use crate::formats::names::{alone, in_sentence};

#[test]
fn tells_names_from_prose() {
    for (line, name) in [
        ("src/main.rs", "src/main.rs"),
        ("  src/main.rs  ", "src/main.rs"),
        ("`Vagrantfile.local`", "Vagrantfile.local"),
        ("`gradlew`", "gradlew"),
        ("\"a b.txt\"", "a b.txt"),
        ("*x.py*", "x.py"),
        ("## 2) `x.py`:", "x.py"),
        ("filepath: x.py", "x.py"),
        (".gitignore", ".gitignore"),
        ("Dockerfile", "Dockerfile"),
        ("a.b/c", "a.b/c"),
    ] {
        assert_eq!(alone(line), Some(name), "{line}");
    }
    for line in [
        "",
        "Done.",
        "Now:",
        "Here is main.rs:",
        "return x;",
        "foo.bar()",
        "...",
        "---",
        "1.5",
        "e.g.",
        "}",
        "a = b.c",
        "https://example.com/x.py",
        "</div>",
        "Build",
        "x.y = 3",
        "```",
        "`a` and `b`",
        "and so on...",
    ] {
        assert_eq!(alone(line), None, "{line}");
    }
    assert_eq!(in_sentence("In `src/x.rs`, change this:"), Some("src/x.rs"));
    assert_eq!(in_sentence("Rename `a` to `b.rs`"), None);
    assert_eq!(in_sentence("Call `f()` here"), None);
}

#[test]
fn licences_have_names_of_their_own() {
    for name in ["LICENSE", "LICENSE-APACHE", "LICENCE_MIT", "COPYING", "COPYING-2", "README"] {
        assert_eq!(alone(name), Some(name));
    }
    for line in ["LICENSES of all parts", "LICENSEd", "COPYING it", "READMEs", "APACHE"] {
        assert_eq!(alone(line), None, "{line}");
    }
}
