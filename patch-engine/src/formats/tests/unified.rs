//! Unified diffs as tools write them.

use shared_contracts::patches::PatchFormat::UnifiedDiff;

use super::check;

#[test]
fn reads_what_git_and_diff_write() {
    check(
        UnifiedDiff,
        &[
            (
                "git",
                "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ fn f()\n a\n-b\n+c\n",
                "edit x 1 [a|b|] [a|c|]",
            ),
            (
                "diff -u with dates",
                "--- x.c\t2024-05-01 12:00:00.000 +0200\n+++ x.c\t2024-05-02 12:00:00.000 +0200\n@@ -1 +1 @@\n-b\n+c\n",
                "edit x.c 1 [b|] [c|]",
            ),
            (
                "dates after spaces",
                "--- a/x.c  2024-05-01 12:00\n+++ b/x.c  2024-05-02 12:00\n@@ -1 +1 @@\n-b\n+c\n",
                "edit x.c 1 [b|] [c|]",
            ),
            (
                "two directories",
                "diff -ru t-1.0/s/x t-1.1/s/x\n--- t-1.0/s/x\n+++ t-1.1/s/x\n@@ -4 +4 @@\n-b\n+c\n",
                "edit s/x 4 [b|] [c|]",
            ),
            ("backup name", "--- x.c.orig\n+++ x.c\n@@ -1 +1 @@\n-b\n+c\n", "edit x.c 1 [b|] [c|]"),
            ("no prefix", "diff --git x x\n--- x\n+++ x\n@@ -1 +1 @@\n-b\n+c\n", "edit x 1 [b|] [c|]"),
            (
                "no prefix, directory a",
                "diff --git a/x a/x\n--- a/x\n+++ a/x\n@@ -1 +1 @@\n-b\n+c\n",
                "edit a/x 1 [b|] [c|]",
            ),
            (
                "no prefix, directory a, created",
                "diff --git a/x a/x\nnew file mode 100644\n--- /dev/null\n+++ a/x\n@@ -0,0 +1 @@\n+c\n",
                "create a/x regular [c|]",
            ),
            (
                "mnemonic prefixes",
                "diff --git i/x w/x\n--- i/x\n+++ w/x\n@@ -1 +1 @@\n-b\n+c\n",
                "edit x 1 [b|] [c|]",
            ),
            (
                "name with a space",
                "diff --git a/p q b/p q\n--- a/p q\t\n+++ b/p q\t\n@@ -1 +1 @@\n-b\n+c\n",
                "edit p q 1 [b|] [c|]",
            ),
            (
                "quoted octal",
                "diff --git \"a/\\303\\244\" \"b/\\303\\244\"\n--- \"a/\\303\\244\"\n+++ \"b/\\303\\244\"\n@@ -1 +1 @@\n-b\n+c\n",
                "edit ä 1 [b|] [c|]",
            ),
            (
                "quoted quote",
                "--- \"a/q\\\"q\"\n+++ \"b/q\\\"q\"\n@@ -1 +1 @@\n-b\n+c\n",
                "edit q\"q 1 [b|] [c|]",
            ),
            (
                "quoted not UTF-8",
                "--- \"a/\\377\"\n+++ \"b/\\377\"\n@@ -1 +1 @@\n-b\n+c\n",
                "refused \"a/\\377\": line 1",
            ),
            (
                "new file",
                "diff --git a/n b/n\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/n\n@@ -0,0 +1,2 @@\n+a\n+b\n",
                "create n regular [a|b|]",
            ),
            (
                "new executable",
                "diff --git a/n b/n\nnew file mode 100755\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+a\n",
                "create n executable [a|]",
            ),
            (
                "new empty file",
                "diff --git a/d/n b/d/n\nnew file mode 100644\nindex 0000000..e69de29\n",
                "create d/n regular []",
            ),
            (
                "new empty file with a space",
                "diff --git a/d n b/d n\nnew file mode 100644\n",
                "create d n regular []",
            ),
            (
                "new link",
                "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+t/x\n\\ No newline at end of file\n",
                "create l symlink [t/x]",
            ),
            (
                "new link without the mark",
                "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+t/x\n",
                "create l symlink [t/x]",
            ),
            (
                "deleted",
                "diff --git a/n b/n\ndeleted file mode 100644\n--- a/n\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n",
                "delete n if unchanged",
            ),
            (
                "deleted empty",
                "diff --git a/n b/n\ndeleted file mode 100644\nindex e69de29..0000000\n",
                "delete n",
            ),
            ("deleted without git", "--- n\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "delete n if unchanged"),
            (
                "renamed",
                "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n",
                "rename x y",
            ),
            (
                "renamed and changed",
                "diff --git a/x b/y\nsimilarity index 90%\nrename from x\nrename to y\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-b\n+c\n",
                "rename x y\nedit y 1 [b|] [c|]",
            ),
            (
                "renamed, quoted",
                "diff --git \"a/\\303\\244\" b/y\nrename from \"\\303\\244\"\nrename to y\n",
                "rename ä y",
            ),
            (
                "copied",
                "diff --git a/x b/y\nsimilarity index 100%\ncopy from x\ncopy to y\n",
                "refused y: line 1",
            ),
            ("mode only", "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n", "mode x executable"),
            ("mode back", "diff --git a/x b/x\nold mode 100755\nnew mode 100644\n", "mode x regular"),
            (
                "mode and content",
                "diff --git a/x b/x\nold mode 100644\nnew mode 100755\nindex 1..2\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n",
                "edit x 1 [b|] [c|]\nmode x executable",
            ),
            (
                "file becomes link",
                "diff --git a/x b/x\ndeleted file mode 100644\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\ndiff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+t\n\\ No newline at end of file\n",
                "delete x if unchanged\ncreate x symlink [t]",
            ),
            ("unknown mode", "diff --git a/x b/x\nold mode 100644\nnew mode 040000\n", "refused x: line 1"),
            (
                "submodule by mode",
                "diff --git a/x b/x\nnew file mode 160000\nindex 0..1\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+Subproject commit 1\n",
                "refused x: line 1",
            ),
            ("submodule log", "Submodule lib 1234567..89abcde:\n", "refused lib: line 1"),
            (
                "binary",
                "diff --git a/x.png b/x.png\nindex 1..2 100644\nBinary files a/x.png and b/x.png differ\n",
                "refused x.png: not text",
            ),
            ("binary without git", "Binary files a/x.png and b/x.png differ\n", "refused x.png: not text"),
            (
                "new binary",
                "diff --git a/x.png b/x.png\nnew file mode 100644\nBinary files /dev/null and b/x.png differ\n",
                "refused x.png: not text",
            ),
            (
                "binary patch, then text",
                "diff --git a/x.png b/x.png\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZ\n\nliteral 2\nJcmZ\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n",
                "refused x.png: not text\nedit x 1 [b|] [c|]",
            ),
            (
                "merge",
                "diff --cc x\nindex 1,2..3\n--- a/x\n+++ b/x\n@@@ -1,1 -1,1 +1,1 @@@\n- a\n -b\n++c\n",
                "refused x: line 1",
            ),
            (
                "index line of svn",
                "Index: x\n====\n--- x\t(revision 1)\n+++ x\t(working copy)\n@@ -1 +1 @@\n-b\n+c\n",
                "edit x 1 [b|] [c|]",
            ),
            (
                "several hunks",
                "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n@@ -9,2 +9,2 @@\n d\n-e\n+f\n",
                "edit x 1 [b|] [c|] 9 [d|e|] [d|f|]",
            ),
            (
                "several files",
                "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-b\n+c\n",
                "edit x 1 [b|] [c|]\nedit y 1 [b|] [c|]",
            ),
            (
                "insertion without context",
                "--- a/x\n+++ b/x\n@@ -5,0 +6,2 @@\n+c\n+d\n",
                "edit x 6 [] [c|d|]",
            ),
            ("insertion at the top", "--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+c\n", "edit x 1 [] [c|]"),
            ("deletion without context", "--- a/x\n+++ b/x\n@@ -5,2 +4,0 @@\n-c\n-d\n", "edit x 5 [c|d|] []"),
            (
                "no newline in both",
                "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n c\n\\ No newline at end of file\n",
                "edit x 1 [a|c] [b|c]",
            ),
            (
                "newline added at the end",
                "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n",
                "edit x 1 [a] [a|]",
            ),
            (
                "newline taken at the end",
                "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+a\n\\ Kein Zeilenumbruch am Dateiende.\n",
                "edit x 1 [a|] [a]",
            ),
            (
                "line after the end",
                "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n\\ No newline at end of file\n b\n+c\n",
                "refused x: line 6",
            ),
            (
                "CRLF content",
                "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n",
                "edit x 1 [a^|b^|] [a^|c^|]",
            ),
            (
                "CRLF way",
                "--- a/x\r\n+++ b/x\r\n@@ -1,2 +1,2 @@\r\n a\r\n-b\r\n+c\r\n",
                "edit x 1 [a|b|] [a|c|]",
            ),
            ("line ends change", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\r\n+a\n", "edit x 1 [a^|] [a|]"),
            (
                "dashes removed and pluses added",
                "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- select\n+++ count\n c\n",
                "edit x 1 [-- select|c|] [++ count|c|]",
            ),
            (
                "dashes at the end, counts right",
                "--- a/q.sql\n+++ b/q.sql\n@@ -1,2 +1,2 @@\n c\n--- one\n+++ two\n@@ -8 +8 @@\n-b\n+c\n",
                "edit q.sql 1 [c|-- one|] [c|++ two|] 8 [b|] [c|]",
            ),
            (
                "removed dash and mail signature",
                "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n a\n-- \n-- \n2.40.1\n",
                "edit x 1 [a|- |] [a|]",
            ),
            (
                "mail",
                "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\n---\n x | 2 +-\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n-- \n2.40.1\n\n",
                "edit x 1 [b|] [c|]",
            ),
            (
                "mailbox of two, each on the other",
                "From 0123456789012345678901234567890123456789 Mon\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n-- \n2.4.1\n\nFrom 0123456789012345678901234567890123456789 Mon\n--- a/x\n+++ b/x\n@@ -9 +9 @@\n-c\n+d\n-- \n2.4.1\n",
                "edit x 1 [b|] [c|]\nedit x 9 [c|] [d|]",
            ),
            (
                "sections of one file, downwards",
                "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-b\n+c\n--- a/x\n+++ b/x\n@@ -9 +9 @@\n-c\n+d\n",
                "edit x 1 [b|] [c|] 9 [c|] [d|]",
            ),
            (
                "sections of one file, upwards",
                "--- a/x\n+++ b/x\n@@ -9 +9 @@\n-b\n+c\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-c\n+d\n",
                "edit x 9 [b|] [c|]\nedit x 1 [c|] [d|]",
            ),
            (
                "section inside what the first added",
                "--- a/x\n+++ b/x\n@@ -1 +1,3 @@\n-b\n+c\n+d\n+e\n--- a/x\n+++ b/x\n@@ -3 +3 @@\n-e\n+f\n",
                "edit x 1 [b|] [c|d|e|]\nedit x 3 [e|] [f|]",
            ),
            (
                "directory in a file's place",
                "diff --git a/a/b b/a/b\nnew file mode 100644\n--- /dev/null\n+++ b/a/b\n@@ -0,0 +1 @@\n+c\ndiff --git a/a b/a\ndeleted file mode 100644\n--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-c\n",
                "delete a if unchanged\ncreate a/b regular [c|]",
            ),
            ("path outside", "--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-b\n+c\n", "refused ../x: denied"),
            (
                "absolute path",
                "--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-b\n+c\n",
                "refused /etc/passwd: denied",
            ),
            (
                "git directory",
                "--- /dev/null\n+++ b/.git/hooks/x\n@@ -0,0 +1 @@\n+c\n",
                "refused .git/hooks/x: denied",
            ),
            ("rename outside", "diff --git a/x b/y\nrename from x\nrename to ../y\n", "refused ../y: denied"),
        ],
    );
}
