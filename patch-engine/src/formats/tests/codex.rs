//! The codex envelope, strict and as models write it.

use shared_contracts::patches::PatchFormat::Codex;

use super::check;

#[test]
fn reads_the_grammar() {
    let cases = [
        ("add", "*** Add File: n\n+a\n+\n+b\n", "create n regular [a||b|]"),
        ("add empty", "*** Add File: n\n", "create n regular []"),
        ("delete", "*** Delete File: n\n", "delete n"),
        ("update", "*** Update File: x\n@@\n a\n-b\n+c\n", "edit x ? [a|b|] [a|c|]"),
        ("update, place", "*** Update File: x\n@@ def f():\n-b\n+c\n", "edit x ? in <def f():> [b|] [c|]"),
        (
            "update, places",
            "*** Update File: x\n@@ class A\n@@   def f():\n-b\n+c\n",
            "edit x ? in <class A> in <  def f():> [b|] [c|]",
        ),
        (
            "update, several hunks",
            "*** Update File: x\n@@\n-b\n+c\n@@ def g\n-d\n+e\n",
            "edit x ? [b|] [c|] ? in <def g> [d|] [e|]",
        ),
        ("update, no head", "*** Update File: x\n-b\n+c\n", "edit x ? [b|] [c|]"),
        (
            "update, no head, then a head",
            "*** Update File: x\n-b\n+c\n@@\n-d\n+e\n",
            "edit x ? [b|] [c|] ? [d|] [e|]",
        ),
        ("move", "*** Update File: x\n*** Move to: y\n", "rename x y"),
        (
            "move and change",
            "*** Update File: x\n*** Move to: y\n@@\n-b\n+c\n",
            "rename x y\nedit y ? [b|] [c|]",
        ),
        ("move onto itself", "*** Update File: x\n*** Move to: x\n@@\n-b\n+c\n", "edit x ? [b|] [c|]"),
        ("end of file", "*** Update File: x\n@@\n a\n+b\n*** End of File\n", "edit x ? at end [a|] [a|b|]"),
        (
            "hunk after the end of file",
            "*** Update File: x\n@@\n-a\n*** End of File\n@@\n-b\n",
            "edit x ? at end [a|] [] ? [b|] []",
        ),
        ("only added", "*** Update File: x\n@@\n+b\n", "edit x ? at end [] [b|]"),
        ("only added below a place", "*** Update File: x\n@@ def f\n+b\n", "edit x ? in <def f> [] [b|]"),
        (
            "all of it",
            "*** Add File: n\n+a\n*** Delete File: d\n*** Update File: x\n@@\n-b\n+c\n",
            "create n regular [a|]\ndelete d\nedit x ? [b|] [c|]",
        ),
        (
            "one file twice",
            "*** Update File: x\n@@\n-b\n+c\n*** Update File: x\n@@\n-d\n+e\n",
            "edit x ? [b|] [c|]\nedit x ? [d|] [e|]",
        ),
        (
            "markers as content",
            "*** Add File: n\n+*** Begin Patch\n+*** End Patch\n",
            "create n regular [*** Begin Patch|*** End Patch|]",
        ),
        (
            "markers as context",
            "*** Update File: x\n@@\n *** End Patch\n-b\n+c\n",
            "edit x ? [*** End Patch|b|] [*** End Patch|c|]",
        ),
        ("signs as content", "*** Add File: n\n++a\n+-b\n+ c\n", "create n regular [+a|-b| c|]"),
        // What models write.
        ("empty context line", "*** Update File: x\n@@\n a\n\n-b\n+c\n", "edit x ? [a||b|] [a||c|]"),
        ("empty line below the head", "*** Update File: x\n@@\n\n-b\n+c\n", "edit x ? [|b|] [|c|]"),
        (
            "empty line before the next file",
            "*** Update File: x\n@@\n-b\n+c\n\n*** Delete File: d\n",
            "edit x ? [b|] [c|]\ndelete d",
        ),
        ("empty line before the head", "*** Update File: x\n\n@@\n-b\n+c\n", "edit x ? [b|] [c|]"),
        ("ranges", "*** Update File: x\n@@ -1,2 +1,2 @@\n-b\n+c\n", "edit x ? [b|] [c|]"),
        ("dots", "*** Update File: x\n@@ ... @@\n-b\n+c\n", "edit x ? [b|] [c|]"),
        ("closed place", "*** Update File: x\n@@ def f @@\n-b\n+c\n", "edit x ? in <def f> [b|] [c|]"),
        (
            "context without a sign",
            "*** Update File: x\n@@\ndef f:\n-b\n+c\n",
            "edit x ? [def f:|b|] [def f:|c|]",
        ),
        (
            "blanks after markers",
            "*** Update File: x  \n@@\n-b\n+c\n*** End of File \n",
            "edit x ? at end [b|] [c|]",
        ),
        ("backticks", "*** Update File: `x`\n@@\n-b\n+c\n", "edit x ? [b|] [c|]"),
        ("add with an empty line bare", "*** Add File: n\n+a\n\n+b\n", "create n regular [a||b|]"),
        ("add without signs", "*** Add File: n\na\n\nb\n", "create n regular [a||b|]"),
        ("add with some signs", "*** Add File: n\n+a\nb\n+c\n", "refused n: line 4"),
        ("head without lines", "*** Update File: x\n@@\n", "refused x: line 3"),
        ("update without anything", "*** Update File: x\n", "refused x: line 2"),
        ("nothing changes", "*** Update File: x\n@@\n a\n", "refused x: line 2"),
        ("unknown marker", "*** Update File: x\n@@\n-b\n+c\n*** Rename File: y\n", "refused x: line 6"),
        ("unknown marker between", "*** Rename File: y\n*** Delete File: d\n", "refused : line 2\ndelete d"),
        ("move after hunks", "*** Update File: x\n@@\n-b\n+c\n*** Move to: y\n", "refused x: line 6"),
        ("move alone", "*** Move to: y\n", "refused y: line 2"),
        ("outside", "*** Update File: ../x\n@@\n-b\n+c\n", "refused ../x: denied"),
        ("move outside", "*** Update File: x\n*** Move to: /y\n", "refused /y: denied"),
        ("delete outside", "*** Delete File: .git/config\n", "refused .git/config: denied"),
        ("add outside", "*** Add File: a/../../b\n+a\n", "refused a/../../b: denied"),
    ];
    let texts: Vec<String> =
        cases.iter().map(|(_, text, _)| format!("*** Begin Patch\n{text}*** End Patch\n")).collect();
    let cases: Vec<_> = cases
        .iter()
        .zip(&texts)
        .map(|((what, _, expected), text)| (*what, text.as_str(), *expected))
        .collect();
    check(Codex, &cases);
}

#[test]
fn reads_envelopes_as_models_write_them() {
    check(
        Codex,
        &[
            ("no envelope", "*** Update File: x\n@@\n-b\n+c\n", "edit x ? [b|] [c|]"),
            ("no end", "*** Begin Patch\n*** Update File: x\n@@\n-b\n+c\n", "edit x ? [b|] [c|]"),
            (
                "no end, in a fence, then prose",
                "```\n*** Begin Patch\n*** Update File: x\n@@\n-b\n+c\n```\nDone.\n",
                "edit x ? [b|] [c|]",
            ),
            (
                "added file without end, in a fence",
                "```\n*** Begin Patch\n*** Add File: x\n+c\n```\n",
                "create x regular [c|]",
            ),
            (
                "heredoc",
                "apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: x\n@@\n-b\n+c\n*** End Patch\nEOF\n",
                "edit x ? [b|] [c|]",
            ),
            (
                "fence and prose",
                "Here:\n```patch\n*** Begin Patch\n*** Delete File: x\n*** End Patch\n```\n- done\n",
                "delete x",
            ),
            (
                "fence line as context",
                "*** Begin Patch\n*** Update File: x.md\n@@\n```\n-b\n+c\n*** End Patch\n",
                "edit x.md ? [```|b|] [```|c|]",
            ),
            (
                "indented",
                "  *** Begin Patch\n  *** Update File: x\n  @@\n  -b\n  +c\n  *** End Patch\n",
                "edit x ? [b|] [c|]",
            ),
            (
                "indented begin",
                " *** Begin Patch\n*** Update File: x\n@@\n-b\n+c\n*** End Patch\n",
                "edit x ? [b|] [c|]",
            ),
            (
                "CRLF",
                "*** Begin Patch\r\n*** Update File: x\r\n@@\r\n-b\r\n+c\r\n*** End Patch\r\n",
                "edit x ? [b|] [c|]",
            ),
            (
                "CRLF content",
                "*** Begin Patch\n*** Update File: x\n@@\n-b\r\n+c\r\n*** End Patch\n",
                "edit x ? [b^|] [c^|]",
            ),
            (
                "two envelopes",
                "*** Begin Patch\n*** Delete File: x\n*** End Patch\n*** Begin Patch\n*** Delete File: y\n*** End Patch\n",
                "delete x\ndelete y",
            ),
            (
                "empty envelope",
                "*** Begin Patch\n*** End Patch\n",
                "nothing: no `*** Update File:`, `*** Add File:` or `*** Delete File:` is in the text",
            ),
            ("last line cut off", "*** Begin Patch\n*** Update File: x\n@@\n-b\n+c", "edit x ? [b|] [c|]"),
        ],
    );
}
