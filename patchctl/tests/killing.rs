//! Killed at every system call: all old or all new, and nothing left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::trace::{Victims, kill_at, wait_until_unlocked, without_rename_flags};
use support::{Ground, batch, create, delete, rename, replace, set_mode};

const CALLS_MAX: usize = 2_000;

/// Every kind of change at once: files that become directories, directories that become files, folders that come
/// and go.
fn before() -> Ground {
    let ground = Ground::new(&[
        ("changed", "old\n"),
        ("deep/down/changed", "old\n"),
        ("script", "#!/bin/sh\n"),
        ("goes/alone", "last of its folder\n"),
        ("moves", "moved\n"),
        ("folder/only", "x\n"),
        ("file", "y\n"),
        ("stays", "untouched\n"),
    ]);
    std::os::unix::fs::symlink("stays", ground.path("link")).unwrap();
    ground
}

fn change() -> Value {
    json!([
        replace("changed", "new\n"),
        replace("deep/down/changed", "new\n"),
        set_mode("script", "executable"),
        delete("goes/alone"),
        rename("moves", "moved/there"),
        delete("folder/only"),
        create("folder", "a file by now\n"),
        delete("file"),
        create("file/below", "in a folder by now\n"),
        create("wholly/new", "new\n"),
        delete("link"),
    ])
}

struct Scene {
    make: fn() -> Ground,
    change: Value,
    prepare: fn(&mut Command),
}

impl Scene {
    fn command(&self, ground: &Ground) -> Command {
        let input = ground.everything().join("input");
        std::fs::write(&input, batch(self.change.clone())).unwrap();
        let mut command = ground.command(&["apply", "--format", "json"]);
        command.stdin(std::fs::File::open(input).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        (self.prepare)(&mut command);
        command
    }

    fn old_and_new(&self, is_refused: bool) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let ground = (self.make)();
        let old = ground.files();
        assert_eq!(self.command(&ground).status().unwrap().success(), !is_refused);
        let new = ground.files();
        assert_eq!(old == new, is_refused);
        (old, new)
    }

    /// How many times it was killed, and how often all was new then.
    fn kill_everywhere(&self, victims: Victims, is_refused: bool) -> (usize, usize) {
        let (old, new) = self.old_and_new(is_refused);
        let mut new_count = 0;
        for nth in 1..CALLS_MAX {
            let ground = (self.make)();
            let was_killed = kill_at(&mut self.command(&ground), nth, victims);
            wait_until_unlocked(&ground.root());
            if victims == Victims::Everyone && was_killed {
                let mut recover = ground.command(&["recover"]);
                (self.prepare)(&mut recover);
                let recovered = support::Ran::new(recover.output().unwrap()).expect(0);
                assert!(ground.files() == old || ground.files() == new, "call {nth}: {recovered:?}");
            }
            let found = ground.files();
            assert!(found == old || found == new, "call {nth}, {victims:?}: {found:#?}");
            new_count += usize::from(found == new);
            if !was_killed {
                return (nth - 1, new_count);
            }
            // Whatever was left of the receipt fits the tree: taking back what happened gives the old tree again.
            if found == new && !is_refused {
                ground.run(&["revert"], "").expect(0);
                assert_eq!(ground.files(), old, "call {nth}, {victims:?}: reverted");
            }
        }
        panic!("more than {CALLS_MAX} system calls");
    }
}

fn many() -> Scene {
    Scene { make: before, change: change(), prepare: |_| {} }
}

#[track_caller]
fn both_happened((killed, new): (usize, usize)) {
    assert!(killed > 50, "killed at {killed} calls only");
    assert!(new > 5 && new < killed, "{new} of {killed} were all new");
}

#[test]
fn the_worker_goes_on_when_the_command_alone_is_killed() {
    both_happened(many().kill_everywhere(Victims::Main, false));
}

#[test]
fn the_command_finishes_when_the_worker_alone_is_killed() {
    both_happened(many().kill_everywhere(Victims::Worker, false));
}

#[test]
fn the_next_command_finishes_when_both_are_killed() {
    both_happened(many().kill_everywhere(Victims::Everyone, false));
}

#[test]
fn so_it_is_where_names_cannot_be_exchanged() {
    let scene = Scene { prepare: without_rename_flags, ..many() };
    both_happened(scene.kill_everywhere(Victims::Main, false));
    both_happened(scene.kill_everywhere(Victims::Everyone, false));
}

#[test]
fn one_file_is_one_rename_and_needs_nobody_to_finish() {
    for change in [json!([replace("changed", "new\n")]), json!([create("deep/new", "new\n")])] {
        let scene = Scene { make: before, change, prepare: |_| {} };
        let (old, new) = scene.old_and_new(false);
        for nth in 1..CALLS_MAX {
            let ground = before();
            let was_killed = kill_at(&mut scene.command(&ground), nth, Victims::Everyone);
            let found = ground.files();
            assert!(found == old || found == new, "call {nth}: {found:#?}");
            if !was_killed {
                break;
            }
        }
    }
}

#[test]
fn a_recovery_that_is_killed_is_recovered_from() {
    let scene = many();
    let (old, new) = scene.old_and_new(false);
    let mut interrupted_count = 0;
    for nth in (1..CALLS_MAX).step_by(3) {
        let ground = before();
        if !kill_at(&mut scene.command(&ground), nth, Victims::Everyone) {
            break;
        }
        if !ground.path(".patchbay-apply").exists() {
            continue;
        }
        for again in (1..CALLS_MAX).step_by(7) {
            interrupted_count += 1;
            let mut recover = ground.command(&["recover"]);
            recover.stdout(Stdio::null());
            if !kill_at(&mut recover, again, Victims::Everyone) {
                break;
            }
        }
        let found = ground.files();
        assert!(found == old || found == new, "call {nth}: {found:#?}");
    }
    assert!(interrupted_count > 50);
}

/// A folder of the tree is another file system: that shows only while the files move, and all is taken back.
#[test]
fn what_cannot_be_finished_is_taken_back_even_when_killed() {
    struct Mounted(Ground);
    impl Drop for Mounted {
        fn drop(&mut self) {
            rustix::mount::unmount(self.0.path("zz"), rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
    let mounted = || {
        let ground = before();
        std::fs::create_dir(ground.path("zz")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", ground.path("zz"), "tmpfs", flags, c"size=1m").unwrap();
        support::write(&ground.root(), "zz/stays", "x");
        Mounted(ground)
    };
    let mut change = change();
    change.as_array_mut().unwrap().push(create("zz/new", "new\n"));
    let scene = Scene { make: before, change, prepare: |_| {} };
    for victims in [Victims::Main, Victims::Everyone] {
        let mut killed_count = 0;
        for nth in 1..CALLS_MAX {
            let Mounted(ground) = &mounted();
            let old = ground.files();
            let was_killed = kill_at(&mut scene.command(ground), nth, victims);
            wait_until_unlocked(&ground.root());
            if victims == Victims::Everyone {
                ground.run(&["recover"], "").expect(0);
            }
            assert_eq!(ground.files(), old, "call {nth}, {victims:?}");
            if !was_killed {
                break;
            }
            killed_count += 1;
        }
        assert!(killed_count > 100);
    }
}
