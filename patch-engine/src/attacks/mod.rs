//! Patches that made other tools write elsewhere, in every format, for everybody who applies patches: each is refused.
//! Here they are planned; the Worker's doors get the same ones. What a real disk adds (links swapped during the run,
//! devices) is `patchctl`'s own test.

#[cfg(test)]
mod tests;

use shared_contracts::patches::PatchFormat;
use shared_contracts::workspaces::FileMode;

/// No path of a workspace, whatever is done there.
const NAMES: [&str; 58] = [
    // Out of the tree: CVE-2015-1396, CVE-2010-4651.
    "..",
    "../outside",
    "../../outside",
    "../../../../../../etc/passwd",
    "folder/../../outside",
    "folder/..",
    "folder/../a.txt",
    "folder/../.git/config",
    "a/b/c/../../../../outside",
    "folder/./a.txt",
    "././../outside",
    "folder//a.txt",
    "folder/",
    // Absolute.
    "/outside",
    "/etc/passwd",
    "//server/share",
    "/",
    "/proc/self/cwd/a.txt",
    // As Windows reads them.
    "..\\outside",
    "folder\\..\\..\\outside",
    "\\outside",
    "\\\\server\\share",
    "\\\\?\\C:\\outside",
    "C:\\outside",
    "C:/outside",
    "c:outside",
    "folder/C:\\outside",
    // Git's own folder, in the spellings that file systems fold: CVE-2014-9390, CVE-2019-1352.
    ".git/config",
    ".git/hooks/post-checkout",
    ".git",
    ".GIT/config",
    ".Git/hooks/pre-commit",
    "folder/.git/config",
    "folder/.gIt/hooks/x",
    ".git./config",
    ".git.../config",
    ".git /config",
    ".git::$INDEX_ALLOCATION/config",
    "git~1/config",
    "GIT~1/hooks/x",
    "folder/git~1/config",
    ".g\u{200c}it/config",
    ".\u{200d}git/config",
    ".gi\u{feff}t/config",
    ".git\u{202e}/config",
    // Devices, streams, dropped ends.
    "con.txt",
    "NUL.txt",
    "folder/aux.c",
    "com1.log",
    "lpt9.txt",
    "folder/prn.md",
    "a.txt::$DATA",
    "a.txt:$I30",
    "folder./a.txt",
    "folder /a.txt",
    // Control characters.
    "a.txt\0.png",
    "a\u{1b}[2J.txt",
    "folder/\u{7f}.txt",
];

/// Below links that lead out of the tree, or to another place in it: CVE-2015-1396, CVE-2019-13636, CVE-2023-23946.
const BELOW_LINKS: [&str; 7] =
    ["out/x", "out/canary", "absolute/passwd", "inner/a.txt", "inner/new", "folder/up/x", "a.txt.rej/x"];

/// What a link may not point to.
const TARGETS: [&str; 6] =
    ["../outside", "/etc/passwd", "folder/../../outside", "..", "a/../../x", ".git/config"];

/// An ed script is no patch (CVE-2018-1000156), and nothing is left beside a file that a hunk does not fit
/// (CVE-2023-25652): there is no `.rej` and no `.orig` for a link to catch.
const SCRIPTS: [&str; 3] = [
    "--- a/a.txt\t2018-01-01\n+++ b/a.txt\n1337a\n.\n!touch ../outside/pwned\n.\nw\n",
    "0a\nx\n.\n!echo pwned > ../outside/canary\nw\nq\n",
    "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-not there at all\n+pwned\n",
];

/// The tree that they are sent to: path, content (of a link its target), mode.
pub const TREE: [(&str, &str, FileMode); 8] = [
    ("a.txt", "old\n", FileMode::Regular),
    ("folder/a.txt", "old\n", FileMode::Regular),
    ("out", "../outside", FileMode::Symlink),
    ("absolute", "/etc", FileMode::Symlink),
    ("inner", "folder", FileMode::Symlink),
    ("folder/up", "../../outside", FileMode::Symlink),
    ("a.txt.rej", "../outside/canary", FileMode::Symlink),
    ("a.txt.orig", "../outside/canary", FileMode::Symlink),
];

/// A text that must change nothing.
#[derive(Debug)]
pub struct Attack {
    pub name: &'static str,
    pub format: PatchFormat,
    pub text: String,
}

/// All of them.
pub fn attacks() -> Vec<Attack> {
    [leaving(), below_links(), links_made(), scripts()].into_iter().flatten().collect()
}

/// Names that leave the tree.
fn leaving() -> Vec<Attack> {
    let all = NAMES.into_iter().flat_map(|name| shapes().into_iter().map(move |shape| shaped(name, shape)));
    all.filter(|attack| !attack.is_prose()).collect()
}

fn below_links() -> Vec<Attack> {
    BELOW_LINKS
        .into_iter()
        .flat_map(|name| shapes().into_iter().map(move |shape| shaped(name, shape)))
        .collect()
}

/// A link that leads out, and a link that the same text then writes through.
fn links_made() -> Vec<Attack> {
    let out = TARGETS.map(|target| (target, makes_link(target)));
    let then = [
        "diff --git a/l/x b/l/x\nnew file mode 100644\n--- /dev/null\n+++ b/l/x\n@@ -0,0 +1 @@\n+pwned\n",
        "diff --git a/a.txt b/l/x\nsimilarity index 100%\nrename from a.txt\nrename to l/x\n",
        "diff --git a/l/a.txt b/l/a.txt\n--- a/l/a.txt\n+++ b/l/a.txt\n@@ -1 +1 @@\n-old\n+pwned\n",
    ];
    let through = then.into_iter().flat_map(|then| {
        let moves_link = "diff --git a/inner b/l\nsimilarity index 100%\nrename from inner\nrename to l\n";
        [makes_link("folder"), moves_link.into()].map(|first| ("l", format!("{first}{then}")))
    });
    let attack = |(name, text)| Attack { name, format: PatchFormat::UnifiedDiff, text };
    out.into_iter().chain(through).map(attack).collect()
}

fn makes_link(target: &str) -> String {
    format!(
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+{target}\n\\ No newline at end of file\n"
    )
}

fn scripts() -> Vec<Attack> {
    let attack =
        |text: &str| Attack { name: "a script", format: PatchFormat::UnifiedDiff, text: text.into() };
    SCRIPTS.map(attack).into()
}

fn shaped(name: &'static str, (format, shape): Shape) -> Attack {
    Attack { name, format, text: shape(name) }
}

impl Attack {
    /// Blocks stand below a line that looks like a name; below any other line they have none.
    fn is_prose(&self) -> bool {
        matches!(self.format, PatchFormat::SearchReplace | PatchFormat::WholeFile)
            && !self.name.contains(char::is_alphanumeric)
    }
}

type Shape = (PatchFormat, fn(&str) -> String);

/// Each way to name a file in each format.
fn shapes() -> Vec<Shape> {
    use PatchFormat::{Codex, Json, SearchReplace, UnifiedDiff, WholeFile};
    fn json(operation: &serde_json::Value) -> String {
        serde_json::json!({ "operations": [operation] }).to_string()
    }
    vec![
        (Json, |name| {
            json(&serde_json::json!({ "operation": "create", "path": name, "content": { "text": "x\n" } }))
        }),
        (Json, |name| json(&serde_json::json!({ "operation": "delete", "path": name, "base_sha256": null }))),
        (Json, |name| {
            json(
                &serde_json::json!({ "operation": "rename", "from": "a.txt", "to": name, "base_sha256": null }),
            )
        }),
        (Json, |name| {
            json(&serde_json::json!({ "operation": "set_mode", "path": name, "mode": "executable" }))
        }),
        (UnifiedDiff, |name| format!("--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-old\n+new\n")),
        (UnifiedDiff, |name| format!("--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+new\n")),
        (UnifiedDiff, |name| {
            format!(
                "diff --git a/a.txt b/{name}\nsimilarity index 100%\nrename from a.txt\nrename to {name}\n"
            )
        }),
        (Codex, |name| format!("*** Begin Patch\n*** Update File: {name}\n@@\n-old\n+new\n*** End Patch\n")),
        (Codex, |name| format!("*** Begin Patch\n*** Add File: {name}\n+new\n*** End Patch\n")),
        (Codex, |name| format!("*** Begin Patch\n*** Delete File: {name}\n*** End Patch\n")),
        (Codex, |name| {
            format!(
                "*** Begin Patch\n*** Update File: a.txt\n*** Move to: {name}\n@@\n-old\n+new\n*** End Patch\n"
            )
        }),
        (SearchReplace, |name| format!("`{name}`\n<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE\n")),
        (WholeFile, |name| format!("`{name}`\n```\nnew\n```\n")),
    ]
}
