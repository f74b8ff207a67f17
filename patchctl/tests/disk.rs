//! What becomes of files' other properties, and what happens where a disk or another process is in the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use serde_json::json;
use support::{Ground, Ran, batch, create, delete, replace, set_mode};

fn bits(ground: &Ground, name: &str) -> u32 {
    std::fs::metadata(ground.path(name)).unwrap().mode() & 0o7777
}

#[test]
fn mode_owner_and_attributes_stay_with_the_file() {
    let ground = Ground::new(&[("private", "old\n"), ("tool*", "old\n"), ("plain", "old\n")]);
    let set = |name: &str, mode: u32| {
        std::fs::set_permissions(ground.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set("private", 0o640);
    set("tool", 0o4755);
    std::os::unix::fs::chown(ground.path("private"), Some(1234), Some(2345)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(ground.path("private"), c"user.note", b"kept", flags).unwrap();
    // One file alone and several together take different ways.
    ground.apply(json!([replace("private", "once\n")])).expect(0);
    let change =
        json!([replace("private", "new\n"), replace("tool", "new\n"), set_mode("plain", "executable")]);
    ground.apply(change).expect(0);
    let metadata = std::fs::metadata(ground.path("private")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (1234, 2345));
    assert_eq!(bits(&ground, "private"), 0o640);
    assert_eq!(bits(&ground, "tool"), 0o755, "a new content is not set-user-id");
    assert_eq!(bits(&ground, "plain"), 0o755);
    let mut value = [0_u8; 16];
    let size = rustix::fs::getxattr(ground.path("private"), c"user.note", &mut value).unwrap();
    assert_eq!(value.get(..size), Some(b"kept".as_slice()));
}

#[test]
fn other_hard_links_keep_the_old_content_and_it_is_said() {
    let ground = Ground::new(&[("a", "old\n")]);
    std::fs::hard_link(ground.path("a"), ground.path("b")).unwrap();
    let ran = ground.apply(json!([replace("a", "new\n")])).expect(0);
    assert!(ran.stdout.contains("a: 1 other hard links keep the old content"), "{ran:?}");
    assert_eq!((ground.read("a"), ground.read("b")), ("new\n".into(), "old\n".into()));
}

#[test]
fn folders_that_are_emptied_go_and_others_stay() {
    let ground = Ground::new(&[("gone/deep/only", "x\n"), ("stays/one", "x\n"), ("stays/two", "x\n")]);
    ground.apply(json!([delete("gone/deep/only"), delete("stays/one")])).expect(0);
    assert_eq!(ground.files().keys().collect::<Vec<_>>(), ["stays/two"]);
    ground.run(&["revert"], "").expect(0);
    assert_eq!(ground.files().len(), 3);
}

#[test]
fn a_folder_with_something_untracked_is_not_replaced() {
    let ground = Ground::new(&[("folder/only", "x\n")]);
    std::fs::create_dir(ground.path("folder/empty")).unwrap();
    let before = ground.files();
    ground.apply(json!([delete("folder/only"), create("folder", "file\n")])).expect(1);
    assert_eq!(ground.files(), before);
}

#[test]
fn what_is_no_file_is_refused_without_being_opened_for_long() {
    let ground = Ground::new(&[("a", "a\n")]);
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, ground.path("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::os::unix::net::UnixListener::bind(ground.path("socket")).unwrap();
    for name in ["pipe", "socket"] {
        for operation in
            [replace(name, "x\n"), delete(name), create(name, "x\n"), create(&format!("{name}/x"), "x")]
        {
            let ran = ground.apply(json!([replace("a", "b\n"), operation])).expect(1);
            assert!(ran.stdout.contains("is a device, a socket or a pipe"), "{ran:?}");
            assert!(ran.stdout.contains("would apply     a"), "every operation is explained: {ran:?}");
        }
    }
    assert_eq!(ground.read("a"), "a\n");
}

/// The journal's folder waits beside the receipts; one that is not this user's is left out.
#[test]
fn the_journal_is_used_again_where_it_may_be() {
    let ground = Ground::new(&[("a", "0\n"), ("b", "0\n")]);
    let change = |content: &str| json!([replace("a", content), replace("b", content)]);
    ground.apply(change("1\n")).expect(0);
    let states = std::fs::read_dir(ground.state_home().join("patchctl")).unwrap();
    let spare = states.map(|state| state.unwrap().path().join("journal")).next().unwrap();
    let inode = || std::fs::metadata(&spare).unwrap().ino();
    let first = inode();
    ground.apply(change("2\n")).expect(0);
    assert_eq!(inode(), first);
    std::os::unix::fs::chown(&spare, Some(65_534), None).unwrap();
    ground.apply(change("3\n")).expect(0);
    assert_eq!((ground.read("a"), ground.files().len()), ("3\n".into(), 2));
}

struct Mount(Ground);

impl Drop for Mount {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.root(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

fn small_disk(options: &std::ffi::CStr) -> Mount {
    let ground = Ground::new(&[]);
    rustix::mount::mount("tmpfs", ground.root(), "tmpfs", rustix::mount::MountFlags::empty(), options)
        .unwrap();
    Mount(ground)
}

#[test]
fn a_full_disk_changes_nothing() {
    let Mount(ground) = &small_disk(c"size=256k");
    support::write(&ground.root(), "a", "old\n");
    support::write(&ground.root(), "b", "old\n");
    let before = ground.files();
    let large = "x".repeat(200 * 1024);
    for change in [
        json!([replace("a", &large), replace("b", &large)]),
        json!([create("c", &large), create("d", &large)]),
    ] {
        let ran = ground.apply(change).expect(3);
        assert!(ran.stderr.contains("No space left"), "{ran:?}");
        assert_eq!(ground.files(), before);
    }
    // Half as much fits.
    ground.apply(json!([replace("a", &large), replace("b", "new\n")])).expect(0);
}

#[test]
fn no_room_for_one_more_name_changes_nothing() {
    for inodes in 6..16 {
        let options = std::ffi::CString::new(format!("nr_inodes={inodes}")).unwrap();
        let Mount(ground) = &small_disk(&options);
        support::write(&ground.root(), "a", "old\n");
        let before = ground.files();
        let change: Vec<_> = (0..3).map(|number| create(&format!("new{number}/deep/file"), "x\n")).collect();
        let ran = ground.apply(json!([change[0], change[1], change[2], replace("a", "new\n")]));
        match ran.code {
            0 => assert_eq!(ground.files().len(), 4),
            3 => assert_eq!(ground.files(), before, "{inodes} inodes: {ran:?}"),
            _ => panic!("{ran:?}"),
        }
    }
}

#[test]
fn a_read_only_folder_changes_nothing() {
    let ground = Ground::new(&[("open/a", "old\n"), ("closed/b", "old\n")]);
    let mode = |name: &str, mode: u32| {
        std::fs::set_permissions(ground.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Not root, whom nothing stops.
    for name in ["", "open", "open/a"] {
        std::os::unix::fs::chown(ground.path(name), Some(65534), Some(65534)).unwrap();
    }
    std::fs::set_permissions(ground.everything(), std::fs::Permissions::from_mode(0o777)).unwrap();
    mode("closed", 0o755);
    let before = ground.files();
    let input = ground.everything().join("input");
    std::fs::write(&input, batch(json!([replace("open/a", "new\n"), replace("closed/b", "new\n")]))).unwrap();
    let run = || {
        let mut command = ground.command(&["apply"]);
        command.stdin(std::fs::File::open(&input).unwrap()).uid(65534).gid(65534);
        Ran::new(command.output().unwrap())
    };
    let ran = run().expect(3);
    assert!(ran.stderr.contains("cannot write closed/b: Permission denied"), "{ran:?}");
    assert_eq!(ground.files(), before);
    mode("", 0o555);
    let ran = run().expect(3);
    assert!(ran.stderr.contains("cannot make .patchbay-apply: Permission denied"), "{ran:?}");
    assert_eq!(ground.files(), before);
}

/// Each of many at once sees the tree whole: it takes turns, and what no longer fits is refused.
#[test]
fn two_at_once_take_turns() {
    let ground = Ground::new(&[("a", "0\n"), ("b", "0\n")]);
    let commands: Vec<_> = (0..16)
        .map(|number| {
            let content = format!("{number}\n");
            let input = ground.everything().join(format!("input{number}"));
            let change =
                json!([replace("a", &content), create(&format!("new/{number}"), ""), replace("b", &content)]);
            std::fs::write(&input, batch(change)).unwrap();
            let mut command = ground.command(&["apply"]);
            command.stdin(std::fs::File::open(input).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for command in commands {
        Ran::new(command.wait_with_output().unwrap()).expect(0);
    }
    assert_eq!(ground.read("a"), ground.read("b"));
    assert_eq!(ground.files().len(), 18);
}

#[test]
fn it_applies_where_no_receipt_can_be_kept() {
    let ground = Ground::new(&[("a", "old\n")]);
    let input = ground.everything().join("input");
    std::fs::write(&input, batch(json!([replace("a", "new\n")]))).unwrap();
    let mut command = ground.command(&["apply"]);
    command.stdin(std::fs::File::open(input).unwrap()).env_remove("HOME").env_remove("XDG_STATE_HOME");
    let ran = Ran::new(command.output().unwrap()).expect(0);
    assert!(ran.stderr.contains("cannot keep receipts"), "{ran:?}");
    assert_eq!(ground.read("a"), "new\n");
}

/// Only who asks for it waits for the disk; and then a disk that fails changes nothing.
#[test]
fn durable_waits_for_the_disk() {
    let one = batch(json!([replace("a", "new\n")]));
    let two = batch(json!([replace("a", "newer\n"), replace("b/c", "newer\n")]));
    for (patch, expected) in [(&one, "new\n"), (&two, "newer\n")] {
        let ground = Ground::new(&[("a", "old\n"), ("b/c", "old\n")]);
        let before = ground.files();
        let input = ground.everything().join("patch.json");
        std::fs::write(&input, patch).unwrap();
        let on_failing_disk = |durable: &[&str]| {
            let mut command = ground.command(&[&["apply"], durable].concat());
            support::trace::without_flushing(command.arg(&input));
            Ran::new(command.output().unwrap())
        };
        on_failing_disk(&["--durable"]).expect(3);
        assert_eq!(ground.files(), before);
        on_failing_disk(&[]).expect(0);
        assert_eq!(ground.read("a"), expected);
        ground.run(&["revert", "--durable"], "").expect(0);
        assert_eq!(ground.files(), before);
        ground.run(&["apply", "--durable"], patch).expect(0);
        assert_eq!(ground.read("a"), expected);
    }
}
