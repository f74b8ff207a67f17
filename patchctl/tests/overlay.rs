//! On an overlay, where a directory has another number each time the kernel has forgotten it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::ffi::CString;
use std::os::unix::fs::DirBuilderExt;
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;
use support::trace::{Victims, kill_at};
use support::{Ground, Ran, batch, create, replace};

/// Files that lie below, on the disk; what is written goes to memory, as in a sandbox.
struct Overlay(Ground);

impl Overlay {
    fn new() -> Self {
        let overlay = Self(Ground::new(&[]));
        for name in ["lower", "upper"] {
            std::fs::create_dir(overlay.0.everything().join(name)).unwrap();
        }
        support::write(&overlay.0.everything().join("lower"), "a", "old\n");
        support::write(&overlay.0.everything().join("lower"), "b", "old\n");
        std::fs::create_dir(overlay.0.everything().join("lower/folder")).unwrap();
        let upper = overlay.0.everything().join("upper");
        mount("tmpfs", &upper, "tmpfs", MountFlags::empty(), c"size=4m").unwrap();
        for name in ["files", "work"] {
            std::fs::create_dir(upper.join(name)).unwrap();
        }
        overlay.mount();
        overlay
    }

    fn mount(&self) {
        let base = self.0.everything().display().to_string();
        let options =
            format!("lowerdir={base}/lower,upperdir={base}/upper/files,workdir={base}/upper/work,xino=off");
        let options = CString::new(options).unwrap();
        mount("overlay", self.0.root(), "overlay", MountFlags::empty(), options.as_c_str()).unwrap();
    }

    fn unmount(&self) {
        unmount(self.0.root(), UnmountFlags::DETACH).unwrap();
    }

    fn command(&self, arguments: &[&str], patch: &str) -> Command {
        let input = self.0.everything().join("input");
        std::fs::write(&input, patch).unwrap();
        let mut command = self.0.command(arguments);
        command.stdin(std::fs::File::open(input).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        self.unmount();
        unmount(self.0.everything().join("upper"), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_journal_is_known_again_by_who_comes_later() {
    let patch = batch(json!([replace("a", "new\n"), replace("b", "new\n"), create("c", "new\n")]));
    let mut journals = 0;
    for nth in (1..2_000).step_by(5) {
        let overlay = Overlay::new();
        let was_killed =
            kill_at(&mut overlay.command(&["apply", "--format", "json"], &patch), nth, Victims::Everyone);
        journals += usize::from(overlay.0.path(".patchbay-apply").exists());
        overlay.unmount();
        overlay.mount();
        // Directories are numbered as they are met.
        assert!(overlay.0.path("folder").is_dir());
        Ran::new(overlay.0.command(&["recover"]).output().unwrap()).expect(0);
        let found: Vec<_> = overlay.0.files().into_values().collect();
        let (old, new) =
            (["644 old\n", "644 old\n", "empty"], ["644 new\n", "644 new\n", "644 new\n", "empty"]);
        assert!(found == old || found == new, "call {nth}: {found:?}");
        if !was_killed {
            break;
        }
    }
    assert!(journals > 5);
}

/// As in a sandbox: what waits beside the receipts cannot be moved into the tree, so a journal is made there.
#[test]
fn a_journal_is_made_in_the_root_where_the_spare_one_is_on_another_file_system() {
    let overlay = Overlay::new();
    overlay.0.apply(json!([create("c", "1\n")])).expect(0);
    let states = std::fs::read_dir(overlay.0.state_home().join("patchctl")).unwrap();
    let spare = states.map(|state| state.unwrap().path().join("journal")).next().unwrap();
    assert!(!spare.exists(), "one that cannot be moved out is removed");
    std::fs::DirBuilder::new().mode(0o700).create(&spare).unwrap();
    overlay.0.apply(json!([replace("a", "2\n"), replace("b", "2\n")])).expect(0);
    assert_eq!((overlay.0.read("a"), overlay.0.read("b")), ("2\n".into(), "2\n".into()));
    assert!(spare.exists() && !overlay.0.path(".patchbay-apply").exists());
}
