//! Search/replace blocks as models write them.

use shared_contracts::patches::PatchFormat::SearchReplace;

use super::{check, notes};

const BLOCK: &str = "<<<<<<< SEARCH\na\nb\n=======\na\nc\n>>>>>>> REPLACE\n";
const EDIT: &str = "edit s/x.py ? [a|b|] [a|c|]";

#[test]
fn finds_the_file_of_a_block() {
    let cases = [
        ("plain", "s/x.py\n{}", EDIT),
        ("licence", "LICENSE-APACHE\n{}", "edit LICENSE-APACHE ? [a|b|] [a|c|]"),
        ("a bare word", "configure\n{}", "edit configure ? [a|b|] [a|c|]"),
        ("copying", "COPYING\n{}", "edit COPYING ? [a|b|] [a|c|]"),
        ("fenced, name above", "s/x.py\n```python\n{}```\n", EDIT),
        ("fenced, name inside", "```python\ns/x.py\n{}```\n", EDIT),
        ("name in the fence", "```python s/x.py\n{}```\n", EDIT),
        ("name in the fence after a colon", "```python:s/x.py\n{}```\n", EDIT),
        ("title in the fence", "```python title=\"s/x.py\"\n{}```\n", EDIT),
        ("tildes", "s/x.py\n~~~\n{}~~~\n", EDIT),
        ("backticks", "`s/x.py`\n{}", EDIT),
        ("bold", "**s/x.py**\n{}", EDIT),
        ("bold backticks and colon", "**`s/x.py`**:\n{}", EDIT),
        ("heading", "### s/x.py\n\n```python\n{}```\n", EDIT),
        ("numbered heading", "#### 1. `s/x.py`\n```\n{}```\n", EDIT),
        ("list", "- s/x.py\n{}", EDIT),
        ("colon", "s/x.py:\n{}", EDIT),
        ("label", "File: s/x.py\n{}", EDIT),
        ("bold label", "**File:** `s/x.py`\n{}", EDIT),
        ("other bold label", "**Filename**: s/x.py\n{}", EDIT),
        ("comment", "# s/x.py\n{}", EDIT),
        ("C comment", "// s/x.py\n{}", EDIT),
        ("HTML comment", "<!-- s/x.py -->\n{}", EDIT),
        ("remark", "`s/x.py` (changed)\n{}", EDIT),
        ("sentence", "Now change `s/x.py` like this:\n\n```python\n{}```\n", EDIT),
        ("after the marker", "<<<<<<< SEARCH s/x.py\na\nb\n=======\na\nc\n>>>>>>> REPLACE\n", EDIT),
        ("dot before", "./s/x.py\n{}", EDIT),
        ("no extension", "Makefile\n{}", "edit Makefile ? [a|b|] [a|c|]"),
        ("init file", "pkg/__init__.py\n{}", "edit pkg/__init__.py ? [a|b|] [a|c|]"),
        ("name with a space", "`my docs/read me.md`\n{}", "edit my docs/read me.md ? [a|b|] [a|c|]"),
        ("route name", "app/(group)/[id].tsx\n{}", "edit app/(group)/[id].tsx ? [a|b|] [a|c|]"),
        ("nothing above", "{}", "refused : line 1"),
        ("prose above", "Here is the change:\n{}", "refused : line 2"),
        ("two blocks", "s/x.py\n{}\n{}", "edit s/x.py ? [a|b|] [a|c|]\nedit s/x.py ? [a|b|] [a|c|]"),
        (
            "two fenced blocks",
            "s/x.py\n```\n{}```\n\n```\n{}```\n",
            "edit s/x.py ? [a|b|] [a|c|]\nedit s/x.py ? [a|b|] [a|c|]",
        ),
        (
            "prose between",
            "s/x.py\n{}\nThen the `self.a` call:\n\n{}",
            "edit s/x.py ? [a|b|] [a|c|]\nedit s/x.py ? [a|b|] [a|c|]",
        ),
        ("two files", "s/x.py\n{}y.py\n{}", "edit s/x.py ? [a|b|] [a|c|]\nedit y.py ? [a|b|] [a|c|]"),
        ("outside", "../x.py\n{}", "refused ../x.py: denied"),
        ("absolute", "/etc/x.py\n{}", "refused /etc/x.py: denied"),
        ("backslashes", "`s\\x.py`\n{}", "refused s\\x.py: denied"),
    ];
    let texts: Vec<String> = cases.iter().map(|(_, text, _)| text.replace("{}", BLOCK)).collect();
    let cases: Vec<_> = cases
        .iter()
        .zip(&texts)
        .map(|((what, _, expected), text)| (*what, text.as_str(), *expected))
        .collect();
    check(SearchReplace, &cases);
}

#[test]
fn reads_blocks() {
    check(
        SearchReplace,
        &[
            ("five marks", "x.c\n<<<<< SEARCH\nb\n=====\nc\n>>>>> REPLACE\n", "edit x.c ? [b|] [c|]"),
            (
                "nine marks",
                "x.c\n<<<<<<<<< SEARCH\nb\n=========\nc\n>>>>>>>>> REPLACE\n",
                "edit x.c ? [b|] [c|]",
            ),
            ("arrow", "x.c\n<<<<<<< SEARCH>\nb\n=======\nc\n>>>>>>> REPLACE\n", "edit x.c ? [b|] [c|]"),
            (
                "trailing blanks",
                "x.c\n<<<<<<< SEARCH  \nb\n======= \nc\n>>>>>>> REPLACE \n",
                "edit x.c ? [b|] [c|]",
            ),
            (
                "older words",
                "x.c\n<<<<<<< ORIGINAL\nb\n=======\nc\n>>>>>>> UPDATED\n",
                "edit x.c ? [b|] [c|]",
            ),
            (
                "dashes and pluses",
                "x.c\n------- SEARCH\nb\n=======\nc\n+++++++ REPLACE\n",
                "edit x.c ? [b|] [c|]",
            ),
            (
                "line number",
                "x.c\n<<<<<<< SEARCH\n:start_line:12\n-------\nb\n=======\nc\n>>>>>>> REPLACE\n",
                "edit x.c 12 [b|] [c|]",
            ),
            (
                "line numbers",
                "x.c\n<<<<<<< SEARCH\n:start_line:12\n:end_line:12\n-------\nb\n=======\nc\n>>>>>>> REPLACE\n",
                "edit x.c 12 [b|] [c|]",
            ),
            (
                "marks of different length",
                "x.c\n<<<<<<< SEARCH\nb\n========\nc\n>>>>>> REPLACE\n",
                "edit x.c ? [b|] [c|]",
            ),
            (
                "indented whole",
                "  x.c\n  <<<<<<< SEARCH\n    b\n  =======\n    c\n  >>>>>>> REPLACE\n",
                "edit x.c ? [  b|] [  c|]",
            ),
            (
                "CRLF",
                "x.c\r\n<<<<<<< SEARCH\r\nb\r\n=======\r\nc\r\n>>>>>>> REPLACE\r\n",
                "edit x.c ? [b|] [c|]",
            ),
            (
                "CRLF content",
                "x.c\n<<<<<<< SEARCH\nb\r\n=======\nc\r\n>>>>>>> REPLACE\n",
                "edit x.c ? [b^|] [c^|]",
            ),
            ("delete lines", "x.c\n<<<<<<< SEARCH\nb\n=======\n>>>>>>> REPLACE\n", "edit x.c ? [b|] []"),
            ("new file", "x.c\n<<<<<<< SEARCH\n=======\nc\n>>>>>>> REPLACE\n", "create x.c regular [c|]"),
            (
                "new file, empty line",
                "x.c\n<<<<<<< SEARCH\n\n=======\nc\n>>>>>>> REPLACE\n",
                "create x.c regular [c|]",
            ),
            ("nothing to nothing", "x.c\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n", "refused x.c: line 2"),
            (
                "nothing changes",
                "x.c\n<<<<<<< SEARCH\nb\n=======\nb\n>>>>>>> REPLACE\n",
                "refused x.c: line 2",
            ),
            (
                "underline of another length",
                "x.rst\n<<<<<<< SEARCH\nTitle\n=====\n=======\nTitel\n=====\n>>>>>>> REPLACE\n",
                "edit x.rst ? [Title|=====|] [Titel|=====|]",
            ),
            (
                "underline of the same length",
                "x.rst\n<<<<<<< SEARCH\nChanges\n=======\n=======\nNews\n>>>>>>> REPLACE\n",
                "refused x.rst: line 5",
            ),
            (
                "conflict inside, longer marks",
                "x.c\n<<<<<<<<< SEARCH\n<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main\n=========\nb\n>>>>>>>>> REPLACE\n",
                "edit x.c ? [<<<<<<< HEAD|a|=======|b|>>>>>>> main|] [b|]",
            ),
            (
                "conflict inside",
                "x.c\n<<<<<<< SEARCH\n<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main\n=======\nb\n>>>>>>> REPLACE\n",
                "refused x.c: line 8",
            ),
            (
                "block inside, longer marks",
                "x.md\n<<<<<<<< SEARCH\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n========\nb\n>>>>>>>> REPLACE\n",
                "edit x.md ? [<<<<<<< SEARCH|a|=======|b|>>>>>>> REPLACE|] [b|]",
            ),
            (
                "end inside",
                "x.md\n<<<<<<< SEARCH\na\n=======\n>>>>>>> REPLACE\nb\n>>>>>>> REPLACE\n",
                "edit x.md ? [a|] []\nrefused x.md: line 7",
            ),
            ("no divider", "x.c\n<<<<<<< SEARCH\nb\n>>>>>>> REPLACE\n", "refused x.c: line 2"),
            ("no end", "x.c\n<<<<<<< SEARCH\nb\n=======\nc\n", "refused x.c: line 2"),
            (
                "no end, then a good block",
                "x.c\n<<<<<<< SEARCH\nb\n=======\nc\n<<<<<<< SEARCH\nd\n=======\ne\n>>>>>>> REPLACE\n",
                "refused x.c: line 2\nedit x.c ? [d|] [e|]",
            ),
            (
                "elision",
                "x.c\n<<<<<<< SEARCH\na\n...\nb\n=======\nc\n...\nd\n>>>>>>> REPLACE\n",
                "edit x.c ? [a|] [c|] ? [b|] [d|]",
            ),
            (
                "elision, one part stays",
                "x.c\n<<<<<<< SEARCH\na\n...\nb\n=======\na\n...\nd\n>>>>>>> REPLACE\n",
                "edit x.c ? [b|] [d|]",
            ),
            (
                "elision at the edge",
                "x.c\n<<<<<<< SEARCH\n...\nb\n=======\nc\n...\nb\n>>>>>>> REPLACE\n",
                "refused x.c: line 2",
            ),
            (
                "Python's ellipsis",
                "x.py\n<<<<<<< SEARCH\ndef f():\n    ...\n=======\ndef f():\n    return 1\n>>>>>>> REPLACE\n",
                "edit x.py ? [def f():|    ...|] [def f():|    return 1|]",
            ),
            (
                "Python's ellipsis stays",
                "x.py\n<<<<<<< SEARCH\ndef f():\n    ...\n=======\ndef g():\n    ...\n>>>>>>> REPLACE\n",
                "edit x.py ? [def f():|    ...|] [def g():|    ...|]",
            ),
            (
                "a patch as content",
                "x.diff\n<<<<<<< SEARCH\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n=======\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n>>>>>>> REPLACE\n",
                "edit x.diff ? [--- a/x|+++ b/x|@@ -1 +1 @@|] [--- a/y|+++ b/y|@@ -1 +1 @@|]",
            ),
            ("no block", "Nothing to see here.\n", "nothing: no search/replace block is in the text"),
        ],
    );
}

#[test]
fn says_what_it_skipped() {
    let text = format!("Sure!\n\nx.py\n```python\n{BLOCK}```\n");
    assert_eq!(
        notes(&text, SearchReplace),
        ["text around the patch was skipped (3 lines, the first is line 1)"]
    );
    assert!(notes(&format!("x.py\n{BLOCK}"), SearchReplace).is_empty());
}
