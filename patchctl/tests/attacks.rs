//! Nothing is ever written outside the root, whatever a patch says and whatever stands in the tree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use support::{Ground, create, delete, files, rename, replace, set_mode};

/// A tree with links that lead out, as a hostile checkout would have them.
fn hostile() -> Ground {
    let ground = Ground::new(&[
        ("a", "a\n"),
        ("folder/b", "b\n"),
        (".git/config", "[core]\n"),
        (".git/hooks/x*", "\n"),
    ]);
    symlink(ground.outside(), ground.path("out")).unwrap();
    symlink("../../outside", ground.path("folder/out")).unwrap();
    symlink("folder", ground.path("inner")).unwrap();
    symlink(ground.outside().join("canary"), ground.path("canary-link")).unwrap();
    symlink(ground.outside().join("canary"), ground.path("a.rej")).unwrap();
    symlink(ground.outside().join("canary"), ground.path("a.orig")).unwrap();
    ground
}

fn hostile_paths(ground: &Ground) -> Vec<String> {
    let outside = ground.outside().display().to_string();
    [
        &format!("{outside}/canary"),
        &format!("/{outside}/canary"),
        "../outside/canary",
        "folder/../../outside/canary",
        "./../outside/canary",
        "..",
        "../outside/new",
        "out/canary",
        "out/new",
        "folder/out/canary",
        "folder/out/deeper/new",
        "inner/b",
        "inner/out/canary",
        "a.rej/x",
        ".git/config",
        ".git/hooks/post-checkout",
        ".GIT/config",
        ".Git/hooks/x",
        "folder/.git/config",
        ".git./config",
        ".git /config",
        "git~1/config",
        ".g\u{200c}it/config",
        ".git::$INDEX_ALLOCATION/config",
        "..\\outside\\canary",
        "C:/outside/canary",
        "C:\\outside\\canary",
        "folder//../a",
        "a\0b",
        ".patchbay-apply/forward",
        ".PATCHBAY-APPLY/0",
        ".patchbay-apply",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn no_operation_reaches_what_is_outside() {
    let ground = hostile();
    let (outside, tree) = (files(&ground.outside()), ground.files());
    let mut count = 0;
    for path in hostile_paths(&ground) {
        let operations = [
            create(&path, "pwned\n"),
            replace(&path, "pwned\n"),
            delete(&path),
            rename("a", &path),
            rename(&path, "taken"),
            set_mode(&path, "executable"),
            json!({ "operation": "edit", "path": path, "base_sha256": null,
                    "hunks": [{ "start_line": 1, "old": "alive\n", "new": "pwned\n" }] }),
        ];
        for operation in operations {
            // A good operation beside it must not slip through either.
            let ran = ground.apply(json!([replace("a", "changed\n"), operation]));
            assert!(ran.code == 1 || ran.code == 2, "{path:?}: {operation}: {ran:?}");
            assert_eq!(files(&ground.outside()), outside, "{path:?}: {operation}");
            assert_eq!(ground.files(), tree, "{path:?}: {operation}");
            count += 1;
        }
    }
    assert!(count >= 200, "{count} cases");
}

#[test]
fn texts_that_made_other_tools_write_elsewhere() {
    let texts = [
        // CVE-2018-1000156: an ed script runs a command.
        "--- a\t2018-01-01\n+++ a\n1337a\n.\n!touch ../outside/pwned\n.\nw\n",
        "0a\nx\n.\n!echo pwned > ../outside/canary\nw\nq\n",
        // CVE-2015-1396, CVE-2023-23946: the patch makes a link and writes through it.
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+../outside\n\\ No newline at end of file\n\
         diff --git a/l/new b/l/new\nnew file mode 100644\n--- /dev/null\n+++ b/l/new\n@@ -0,0 +1 @@\n+pwned\n",
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+../outside\n\\ No newline at end of file\n\
         diff --git a/a b/l/moved\nsimilarity index 100%\nrename from a\nrename to l/moved\n",
        // CVE-2019-13636: the file to patch is a link that leads out.
        "--- a/canary-link\n+++ b/canary-link\n@@ -1 +1 @@\n-alive\n+pwned\n",
        // CVE-2023-25652: what does not fit is written beside the file, where a link leads out.
        "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-not there\n+pwned\n",
        // Names outside, in every format.
        "--- a/../outside/canary\n+++ b/../outside/canary\n@@ -1 +1 @@\n-alive\n+pwned\n",
        "diff --git a/a b/../outside/moved\nsimilarity index 100%\nrename from a\nrename to ../outside/moved\n",
        "--- /dev/null\n+++ b/.git/hooks/post-checkout\n@@ -0,0 +1 @@\n+touch ../outside/pwned\n",
        "*** Begin Patch\n*** Update File: ../outside/canary\n@@\n-alive\n+pwned\n*** End Patch\n",
        "*** Begin Patch\n*** Add File: /tmp/../outside/new\n+pwned\n*** End Patch\n",
        "*** Begin Patch\n*** Update File: a\n*** Move to: ../outside/moved\n@@\n-a\n+b\n*** End Patch\n",
        "*** Begin Patch\n*** Delete File: out/canary\n*** End Patch\n",
        "../outside/canary\n<<<<<<< SEARCH\nalive\n=======\npwned\n>>>>>>> REPLACE\n",
        "out/canary\n<<<<<<< SEARCH\nalive\n=======\npwned\n>>>>>>> REPLACE\n",
        "../outside/new\n```\npwned\n```\n",
    ];
    for text in texts {
        let ground = hostile();
        let (outside, tree) = (files(&ground.outside()), ground.files());
        let ran = ground.run(&["apply"], text);
        assert!(ran.code == 1 || ran.code == 2, "{text}: {ran:?}");
        assert_eq!(files(&ground.outside()), outside, "{text}");
        assert_eq!(ground.files(), tree, "{text}");
    }
}

/// Set however the test ends: a scope waits for its threads.
struct SetAtEnd<'flag>(&'flag AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Somebody exchanges a directory with a link that leads out, again and again, while patches are applied below it.
#[test]
fn a_parent_swapped_for_a_link_during_the_run() {
    let ground = Ground::new(&[("folder/x", "0\n"), ("folder/y", "0\n"), ("other", "0\n")]);
    for name in ["x", "y"] {
        std::fs::write(ground.outside().join(name), "alive\n").unwrap();
    }
    symlink(ground.outside(), ground.path("swapped")).unwrap();
    let outside = files(&ground.outside());
    let over = AtomicBool::new(false);
    let (folder, swapped) = (ground.path("folder"), ground.path("swapped"));
    let swap = || {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, &folder, rustix::fs::CWD, &swapped, flags).unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                swap();
            }
        });
        let _over = SetAtEnd(&over);
        let mut codes = [0; 4];
        for round in 1..=200 {
            let content = format!("{round}\n");
            let change = json!([
                replace("folder/x", &content),
                replace("folder/y", &content),
                create(&format!("folder/new{round}/z"), "z"),
                replace("other", &content)
            ]);
            let ran = ground.apply(change);
            codes[usize::try_from(ran.code).unwrap()] += 1;
            assert_eq!(files(&ground.outside()), outside, "{ran:?}");
        }
        assert_eq!(codes[2], 0, "in place, refused, or to be recovered: {codes:?}");
    });
    // What could not be taken back below the link is now.
    if folder.is_symlink() {
        swap();
    }
    ground.run(&["recover"], "").expect(0);
    assert_eq!(files(&ground.outside()), outside);
    let (x, y) = (ground.read("folder/x"), ground.read("folder/y"));
    assert_eq!(
        (x.as_str(), y),
        (ground.read("other").as_str(), ground.read("other")),
        "all of a patch or nothing"
    );
}

/// A journal that a checkout or an archive brought along is neither obeyed nor removed.
#[test]
fn a_journal_that_is_not_ours() {
    let ground = Ground::new(&[("a", "old\n"), (".patchbay-apply/0", "pwned\n")]);
    let record = json!({
        "own_inode": 1,
        "moves": [{ "path": "a", "before": null, "after_inode": null }],
        "vacate": [], "make": [], "prune": []
    });
    support::write(&ground.root(), ".patchbay-apply/forward", &record.to_string());
    let before = ground.files();
    let refused = |mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let bits = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(ground.path(".patchbay-apply"), bits).unwrap();
        let ran = ground.apply(json!([replace("a", "new\n")])).expect(3);
        assert!(ran.stderr.contains("no journal of this tree"), "{ran:?}");
        assert_eq!(ground.files(), before);
    };
    refused(0o755);
    refused(0o700);
    std::fs::remove_dir_all(ground.path(".patchbay-apply")).unwrap();
    symlink(ground.outside(), ground.path(".patchbay-apply")).unwrap();
    ground.run(&["recover"], "").expect(3);
    assert!(ground.outside().join("canary").exists());
}
