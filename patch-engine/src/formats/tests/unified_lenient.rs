//! Unified diffs as models imitate them.

use shared_contracts::patches::PatchFormat::UnifiedDiff;

use super::{check, notes};

const HEAD: &str = "--- a/x\n+++ b/x\n";

#[test]
fn reads_what_models_write() {
    let cases = [
        ("counts too small", "@@ -1,1 +1,1 @@\n a\n-b\n+c\n d\n", "edit x 1 [a|b|d|] [a|c|d|]"),
        ("counts too large", "@@ -1,9 +1,9 @@\n a\n-b\n+c\n d\n", "edit x 1 [a|b|d|] [a|c|d|]"),
        ("counts of zero", "@@ -0,0 +0,0 @@\n a\n-b\n+c\n", "edit x ? [a|b|] [a|c|]"),
        ("no counts", "@@ -3 +3 @@\n a\n-b\n+c\n", "edit x 3 [a|b|] [a|c|]"),
        ("dots", "@@ ... @@\n a\n-b\n+c\n", "edit x ? [a|b|] [a|c|]"),
        ("bare", "@@\n a\n-b\n+c\n", "edit x ? [a|b|] [a|c|]"),
        ("bare twice", "@@ @@\n a\n-b\n+c\n@@ @@\n e\n-f\n", "edit x ? [a|b|] [a|c|] ? [e|f|] [e|]"),
        ("function only", "@@ def f():\n a\n-b\n+c\n", "edit x ? [a|b|] [a|c|]"),
        ("one range", "@@ -7,3 @@\n a\n-b\n+c\n", "edit x 7 [a|b|] [a|c|]"),
        ("letters for numbers", "@@ -X,Y +X,Y @@\n a\n-b\n+c\n", "edit x ? [a|b|] [a|c|]"),
        (
            "huge numbers",
            "@@ -99999999999999999999,1 +1,99999999999999999999 @@\n a\n-b\n+c\n",
            "edit x ? [a|b|] [a|c|]",
        ),
        ("no hunk head", " a\n-b\n+c\n", "edit x ? [a|b|] [a|c|]"),
        (
            "empty context line without its space",
            "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n",
            "edit x 1 [a||b|] [a||c|]",
        ),
        (
            "empty context line, counts too small",
            "@@ -1,2 +1,2 @@\n a\n\n-b\n+c\n d\n",
            "edit x 1 [a||b|d|] [a||c|d|]",
        ),
        ("empty lines at the end", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n\n\n", "edit x 1 [a|b|] [a|c|]"),
        ("empty last context line, counted", "@@ -1,3 +1,3 @@\n a\n-b\n+c\n\n", "edit x 1 [a|b||] [a|c||]"),
        (
            "context without a sign",
            "@@ -1,3 +1,3 @@\ndef f():\n-  b\n+  c\n   d\n",
            "edit x 1 [def f():|  b|  d|] [def f():|  c|  d|]",
        ),
        (
            "all context without signs",
            "@@ -1,3 +1,3 @@\ndef f():\n    a\n-    b\n+    c\n    d\n",
            "edit x 1 [def f():|    a|    b|    d|] [def f():|    a|    c|    d|]",
        ),
        ("context begins with a tab", "@@ -1,2 +1,2 @@\n\ta\n-\tb\n+\tc\n", "edit x 1 [\ta|\tb|] [\ta|\tc|]"),
        ("last line cut off", "@@ -1,2 +1,2 @@\n a\n-b\n+c", "edit x 1 [a|b|] [a|c|]"),
        ("prose below", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n\nThis changes b to c.\n", "edit x 1 [a|b|] [a|c|]"),
        (
            "prose below, wrong counts",
            "@@ -1,7 +1,7 @@\n a\n-b\n+c\n\nThis changes b to c.\n",
            "edit x 1 [a|b|] [a|c|]",
        ),
        (
            "prose with a list",
            "@@ -1,2 +1,2 @@\n a\n-b\n+c\n\nChanges:\n- b is gone\n+ c is there\n",
            "edit x 1 [a|b|] [a|c|]",
        ),
        (
            "prose between hunks",
            "@@ -1 +1 @@\n-b\n+c\n\nAnd then:\n\n@@ -9 +9 @@\n-d\n+e\n",
            "edit x 1 [b|] [c|] 9 [d|] [e|]",
        ),
        ("added list or hunk", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n\n+ d\n+ e\n", "refused x: line 8"),
        ("text right below, then signs", "@@ -1,2 +1,2 @@\n a\n-b\n+c\nnow\n+d\n", "refused x: line 7"),
        ("nothing changes", "@@ -1 +1 @@\n a\n", "refused x: line 3"),
        ("one of two changes nothing", "@@ -1 +1 @@\n a\n@@ -5 +5 @@\n-b\n+c\n", "edit x 5 [b|] [c|]"),
        ("empty hunk", "@@ -1 +1 @@\n", "refused x: line 3"),
        ("a later fault refuses the file", "@@ -1 +1 @@\n-b\n+c\n@@ -5 +5 @@\n", "refused x: line 6"),
        (
            "Ruby's class variable",
            "@@ -1,2 +1,2 @@\n @@a = 1\n-@@b = 1\n+@@b = 2\n",
            "edit x 1 [@@a = 1|@@b = 1|] [@@a = 1|@@b = 2|]",
        ),
        (
            "Ruby's class variable without a sign",
            "@@ -1,2 +1,2 @@\n@@a = 1\n-@@b = 1\n+@@b = 2\n",
            "edit x 1 [@@a = 1|@@b = 1|] [@@a = 1|@@b = 2|]",
        ),
        (
            "mail signature, wrong counts",
            "@@ -1,5 +1,5 @@\n a\n-b\n+c\n-- \n2.40.1\n",
            "edit x 1 [a|b|] [a|c|]",
        ),
        (
            "mail signature, counts one too large",
            "@@ -1,3 +1,2 @@\n a\n-b\n+c\n-- \n2.40.1\n",
            "edit x 1 [a|b|] [a|c|]",
        ),
        (
            "next file, counts one too large",
            "@@ -1,2 +1,2 @@\n-b\n+c\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-d\n+e\n",
            "edit x 1 [b|] [c|]\nedit y 1 [d|] [e|]",
        ),
        (
            "next file, no counts",
            "@@ @@\n-b\n+c\n--- a/y\n+++ b/y\n@@ @@\n-d\n+e\n",
            "edit x ? [b|] [c|]\nedit y ? [d|] [e|]",
        ),
        (
            "next file is new, no counts",
            "@@ @@\n-b\n+c\n--- /dev/null\n+++ b/y\n@@ @@\n+e\n",
            "edit x ? [b|] [c|]\ncreate y regular [e|]",
        ),
        (
            "empty line before the next file",
            "@@ -1 +1 @@\n-b\n+c\n\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-d\n+e\n",
            "edit x 1 [b|] [c|]\nedit y 1 [d|] [e|]",
        ),
        ("end of an envelope", "@@ -1 +1 @@\n-b\n+c\n*** End Patch\n", "edit x 1 [b|] [c|]"),
    ];
    let texts: Vec<String> = cases.iter().map(|(_, text, _)| format!("{HEAD}{text}")).collect();
    let cases: Vec<_> = cases
        .iter()
        .zip(&texts)
        .map(|((what, _, expected), text)| (*what, text.as_str(), *expected))
        .collect();
    check(UnifiedDiff, &cases);
}

#[test]
fn reads_headers_as_models_write_them() {
    check(
        UnifiedDiff,
        &[
            (
                "in a fence",
                "Here it is:\n```diff\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n```\nDone.\n",
                "edit x 1 [b|] [c|]",
            ),
            (
                "in a fence, wrong counts",
                "```diff\n--- a/x\n+++ b/x\n@@ -1,4 +1,4 @@\n-b\n+c\nd\n```\n- list\n",
                "edit x 1 [b|d|] [c|d|]",
            ),
            (
                "in a fence, additions after an empty line",
                "```diff\n--- a/x\n+++ b/x\n@@ -1,1 +1,1 @@\n-b\n+c\n\n+d\n```\n",
                "edit x 1 [b||] [c||d|]",
            ),
            (
                "two fences",
                "```diff\n--- a/x\n+++ b/x\n@@ @@\n-b\n+c\n```\n\nand\n\n```diff\n--- a/y\n+++ b/y\n@@ @@\n-b\n+c\n```\n",
                "edit x ? [b|] [c|]\nedit y ? [b|] [c|]",
            ),
            (
                "indented",
                "    --- a/x\n    +++ b/x\n    @@ -1,3 +1,3 @@\n     a\n\n    -b\n    +c\n",
                "edit x 1 [a||b|] [a||c|]",
            ),
            ("only old name", "--- a/x\n@@ -1 +1 @@\n-b\n+c\n", "edit x 1 [b|] [c|]"),
            ("only new name", "+++ b/x\n@@ -1 +1 @@\n-b\n+c\n", "edit x 1 [b|] [c|]"),
            ("only git line", "diff --git a/x b/x\n@@ -1 +1 @@\n-b\n+c\n", "edit x 1 [b|] [c|]"),
            ("dot before", "--- ./x\n+++ ./x\n@@ -1 +1 @@\n-b\n+c\n", "edit x 1 [b|] [c|]"),
            ("one prefix only", "--- a/s/x\n+++ s/x\n@@ -1 +1 @@\n-b\n+c\n", "edit s/x 1 [b|] [c|]"),
            ("prefixed nowhere", "--- a/dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+c\n", "create n regular [c|]"),
            ("two names", "--- a/x\n+++ b/y\n@@ -1 +1 @@\n-b\n+c\n", "refused b/y: line 1"),
            (
                "two directories of one tree",
                "--- src/x\n+++ lib/x\n@@ -1 +1 @@\n-b\n+c\n",
                "refused lib/x: line 1",
            ),
            ("no name", "@@ -1 +1 @@\n-b\n+c\n", "refused : line 1"),
            ("nowhere twice", "--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-b\n+c\n", "refused : line 1"),
            ("new with old lines", "--- /dev/null\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n", "refused x: line 1"),
            ("deleted with new lines", "--- a/x\n+++ /dev/null\n@@ -1 +1 @@\n-b\n+c\n", "refused x: line 1"),
            ("git line alone", "diff --git a/x b/x\nindex 1..2 100644\n", "refused x: line 1"),
            (
                "one bad file does not hide another",
                "--- a/x\n+++ b/y\n@@ -1 +1 @@\n-b\n+c\n--- a/z\n+++ b/z\n@@ -1 +1 @@\n-b\n+c\n",
                "refused b/y: line 1\nedit z 1 [b|] [c|]",
            ),
            (
                "no patch",
                "Nothing to see here.\n- a list\n+ of things\n",
                "nothing: no file of a unified diff is in the text",
            ),
        ],
    );
}

#[test]
fn says_what_it_forgave() {
    for (text, note) in [
        (
            "Hello\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n",
            "text around the patch was skipped (1 line, the first is line 1)",
        ),
        (
            "--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n-b\n+c\n",
            "line 3: the hunk's counts are wrong; its lines were read",
        ),
        (
            "--- a/x\n+++ b/x\n@@ @@\na\n-b\n+c\n",
            "line 3: 1 lines of the hunk without a sign were read as context",
        ),
        (
            "--- a/x\r\n+++ b/x\r\n@@ @@\r\n-b\r\n+c\r\n",
            "the patch was sent with CRLF on every line; it was read with LF",
        ),
    ] {
        assert_eq!(notes(text, UnifiedDiff), [note], "{text}");
    }
    let clean = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ f\n a\n-b\n+c\n";
    assert!(notes(clean, UnifiedDiff).is_empty());
}
