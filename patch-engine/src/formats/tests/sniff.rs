//! Which format a text is taken for.

use shared_contracts::patches::PatchFormat::{Codex, Json, SearchReplace, UnifiedDiff, WholeFile};

use crate::formats::{read, sniff};

const BLOCK: &str = "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n";
const DIFF: &str = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
const ENVELOPE: &str = "*** Begin Patch\n*** Update File: x\n@@\n-a\n+b\n*** End Patch\n";

#[test]
fn takes_a_patch_for_what_it_is() {
    for (text, format) in [
        (DIFF.to_owned(), UnifiedDiff),
        (format!("diff --git a/x b/x\n{DIFF}"), UnifiedDiff),
        ("diff --git a/x b/x\nold mode 100644\nnew mode 100755\n".into(), UnifiedDiff),
        ("@@ -1 +1 @@\n-a\n+b\n".into(), UnifiedDiff),
        (format!("Sure:\n\n```diff\n{DIFF}```\n"), UnifiedDiff),
        (format!("x.py\n```diff\n{DIFF}```\n"), UnifiedDiff),
        (format!("x.py\n```python\n{DIFF}```\n"), UnifiedDiff),
        (format!("x.py\n{BLOCK}"), SearchReplace),
        (format!("x.py\n```python\n{BLOCK}```\n"), SearchReplace),
        (format!("```python\nx.py\n{BLOCK}```\n"), SearchReplace),
        ("x.py\n------- SEARCH\na\n=======\nb\n+++++++ REPLACE\n".into(), SearchReplace),
        (ENVELOPE.into(), Codex),
        (format!("apply_patch <<'EOF'\n{ENVELOPE}EOF\n"), Codex),
        ("*** Delete File: x\n".into(), Codex),
        ("x.py\n```python\na\n```\n".into(), WholeFile),
        ("x.py\n```python\na\n".into(), WholeFile),
        ("{\"operations\":[{\"operation\":\"delete\",\"path\":\"x\"}]}".into(), Json),
        ("Here:\n```json\n[{\"operation\":\"delete\",\"path\":\"x\"}]\n```\n".into(), Json),
        // A patch of patches is what is outside.
        (format!("x.diff\n<<<<<<< SEARCH\n{DIFF}=======\n{ENVELOPE}>>>>>>> REPLACE\n"), SearchReplace),
        (format!("x.md\n````\n# Patches\n\nLike so:\n{DIFF}````\n"), WholeFile),
        (
            "*** Begin Patch\n*** Add File: x\n+--- a/x\n+++ b/x\n+<<<<<<< SEARCH\n*** End Patch\n".into(),
            Codex,
        ),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-<<<<<<< SEARCH\n+*** Begin Patch\n".into(), UnifiedDiff),
    ] {
        assert_eq!(sniff(&text), Some(format), "{text}");
    }
}

#[test]
fn takes_no_prose_for_a_patch() {
    for text in [
        "",
        "\n\n",
        "I looked at `x.py` and all is well.\n\n- one\n+ two\n",
        "Title\n=======\n\nText --- with dashes\n--- \n",
        "Run this:\n\n```sh\ncargo test\n```\n",
        "The function in main.rs:\n```rust\nfn main() {}\n```\n",
        "[1] a footnote\n",
        "{ not json }\n",
        "*** stars ***\n",
        "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main\n",
        "@@ what\n",
    ] {
        assert_eq!(sniff(text), None, "{text}");
        assert!(read(text, None).is_err(), "{text}");
    }
}

/// What the reader of the first format would pass over is no prose.
#[test]
fn two_formats_in_one_text_are_refused() {
    let diff = "--- a/a.rs\n+++ b/a.rs\n@@ -1 +1 @@\n-one\n+two\n";
    let block = "b.rs\n<<<<<<< SEARCH\none\n=======\ntwo\n>>>>>>> REPLACE\n";
    let codex = "*** Begin Patch\n*** Update File: c.rs\n@@\n-one\n+two\n*** End Patch\n";
    let whole = "diff --git a/a.rs b/a.rs\n".to_owned() + diff;
    for text in [
        format!("{diff}{block}"),
        format!("{codex}{block}"),
        format!("{codex}{whole}"),
        format!("{block}{diff}"),
        format!("{block}{codex}"),
    ] {
        let refused = read(&text, None).unwrap().operations.into_iter().filter_map(Result::err).count();
        assert_eq!(refused, 1, "{text}");
    }
    for text in [diff, block, codex] {
        let text = format!("The change:\n\n{text}\nThat is all.\n");
        assert!(read(&text, None).unwrap().operations.iter().all(Result::is_ok), "{text}");
    }
}
