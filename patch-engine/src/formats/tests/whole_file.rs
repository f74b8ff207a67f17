//! Whole files in fenced blocks.

use shared_contracts::patches::PatchFormat::WholeFile;

use super::{check, notes};

#[test]
fn reads_named_blocks() {
    check(
        WholeFile,
        &[
            ("one", "x.py\n```python\na\nb\n```\n", "write x.py [a|b|]"),
            ("two", "x.py\n```\na\n```\n\ny.py\n```\nb\n```\n", "write x.py [a|]\nwrite y.py [b|]"),
            ("tildes", "x.py\n~~~\na\n~~~\n", "write x.py [a|]"),
            ("empty line between", "### `x.py`\n\n```python\na\n```\n", "write x.py [a|]"),
            ("name in the fence", "```python x.py\na\n```\n", "write x.py [a|]"),
            ("name after a colon", "```python:s/x.py\na\n```\n", "write s/x.py [a|]"),
            ("empty", "x.py\n```\n```\n", "write x.py []"),
            (
                "longer fence around fences",
                "x.md\n````markdown\n```sh\nls\n```\n````\n",
                "write x.md [```sh|ls|```|]",
            ),
            ("tildes around fences", "x.md\n~~~\n```sh\nls\n```\n~~~\n", "write x.md [```sh|ls|```|]"),
            ("longer close", "x.py\n```\na\n`````\n", "write x.py [a|]"),
            ("CRLF content", "x.py\n```\na\r\n```\n", "write x.py [a^|]"),
            (
                "a patch as content",
                "x.diff\n````\n--- a/x\n+++ b/x\n````\n",
                "write x.diff [--- a/x|+++ b/x|]",
            ),
            ("prose around", "I changed it.\n\nx.py\n```\na\n```\n\nDone.\n", "write x.py [a|]"),
            ("block without a name", "Run this:\n```sh\nls\n```\n\nx.py\n```\na\n```\n", "write x.py [a|]"),
            ("not closed", "x.py\n```\na\n", "refused x.py: line 2"),
            ("fence inside", "x.md\n```markdown\n```sh\nls\n```\n", "refused x.md: line 3"),
            ("cut by a bare fence", "x.md\n```\ntext\n```\nls\n```\nmore\n```\n", "refused x.md: line 2"),
            ("text right below Markdown", "x.md\n```\ntext\n```\nls\n", "refused x.md: line 2"),
            (
                "Markdown, then another file",
                "x.md\n```\ntext\n```\ny.md\n```\nmore\n```\n",
                "write x.md [text|]\nwrite y.md [more|]",
            ),
            ("outside", "../x.py\n```\na\n```\n", "refused ../x.py: denied"),
            (
                "no name at all",
                "Like so:\n```\na\n```\n",
                "nothing: no fenced block below a file's name is in the text",
            ),
        ],
    );
    let text = "Run:\n```sh\nls\n```\nx.py\n```\na\n```\n";
    assert_eq!(
        notes(text, WholeFile),
        [
            "line 2: a fenced block without a file's name above it was skipped",
            "text around the patch was skipped (1 line, the first is line 1)",
        ]
    );
}
