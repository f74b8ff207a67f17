//! A sandbox whose system is an image instead of the machine's own. Needs root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

mod plane;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use plane::{Plane, leased};

/// The least of a system: a shell and a few programs with their libraries, and an `/etc` of its own.
fn system(root: &Path) {
    for directory in ["usr/bin", "etc", "var/tmp", "srv/data", "tmp", "home/somebody", "proc", "run"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    for program in ["sh", "ls", "cat", "id", "touch"] {
        let program = Path::new("/usr/bin").join(program);
        copy(&program, root);
        let needed = Command::new("ldd").arg(&program).output().unwrap();
        let needed = String::from_utf8(needed.stdout).unwrap();
        needed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .for_each(|path| copy(Path::new(path), root));
    }
    std::fs::write(root.join("etc/issue"), "of the image\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\ntheirs:x:1000:\n").unwrap();
    // Who reads it for the image must not be led to the machine's.
    symlink("/etc/shadow", root.join("etc/passwd")).unwrap();
    std::fs::write(root.join("etc/shadow"), "web:x:33:33::/:/bin/false\n").unwrap();
    std::fs::write(root.join("home/somebody/hidden"), "").unwrap();
}

fn copy(path: &Path, root: &Path) {
    let target = root.join(path.strip_prefix("/").unwrap());
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::copy(path, &target).unwrap();
    std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn attempt(state: &Path, image: &str, script: &str) -> Output {
    attempt_with(&[], state, image, script)
}

fn attempt_with(options: &[&str], state: &Path, image: &str, script: &str) -> Output {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"));
    agent.arg("try").args(options).arg("--state-dir").arg(state);
    agent.args(["--image", image, "--", "sh", "-c", script]).output().unwrap()
}

#[test]
fn a_directory_or_a_tarball_is_the_system_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (root, state) = (directory.path().join("image"), directory.path().join("state"));
    system(&root);
    let tarball = directory.path().join("image.tar.gz");
    let packed =
        Command::new("tar").arg("-czf").arg(&tarball).arg("-C").arg(&root).arg(".").status().unwrap();
    assert!(packed.success());
    let script = "cat /etc/issue /etc/hosts; cat /etc/passwd; ls /home /srv; id -un
                  for path in /usr/x /etc/x /srv/data/x /var/x /x; do touch $path 2>/dev/null && echo BROKEN $path; done
                  echo kept > /var/tmp/x && cat /tmp/x; ls /usr/bin/gcc /etc/debian_version 2>/dev/null && echo BROKEN; true";
    for image in [format!("dir:{}", root.display()), format!("tar:{}", tarball.display())] {
        let output = attempt(&state, &image, script);
        let text = text(&output);
        assert!(output.status.success() && !text.contains("BROKEN"), "{image}: {text}");
        for part in ["of the image", "127.0.0.1 localhost", "web:x:33", "agent:x:1000", "data", "kept"] {
            assert!(text.contains(part), "{part} in {image}: {text}");
        }
        assert!(!text.contains("somebody") && !text.contains("root:"), "{image}: {text}");
        assert_eq!(text.lines().filter(|line| *line == "agent").count(), 2, "its home and its name: {text}");
    }
    let refused = attempt(&state, "docker.io/library/debian:12", "true");
    assert!(!refused.status.success() && text(&refused).contains("has no digest"), "{}", text(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_gets_the_image_it_names_if_the_machine_offers_it() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let root = directory.path().join("image");
    system(&root);
    let image = format!("dir:{}", root.display());
    let _agent = plane.agent_with(&directory.path().join("state"), &["--image", "host", "--image", &image]);
    let run = |number, image: Option<&str>| {
        let mut work = leased(number, 1, &["cat", "/etc/issue"]);
        work.spec.image = image.map(str::to_owned);
        work
    };
    for (number, named, says) in [
        (1, Some(image.as_str()), "of the image"),
        (2, Some("host"), "No such file"),
        (3, None, "No such file"),
    ] {
        let work = run(number, named);
        let id = work.lease.execution_id;
        plane.lease(work).await;
        let (ended, events) = plane.ended(id).await;
        let said = format!("{events:?} {ended}");

        assert!(said.contains(says), "{named:?}: {said}");
    }
    let work = run(4, Some("dir:/srv/other"));
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (ended, _) = plane.ended(id).await;
    assert_eq!(ended["outcome"], "failed");
    let reason = ended["reason"].as_str().unwrap();
    assert!(reason.contains("with the image `dir:/srv/other`") && reason.contains(&image), "{reason}");
}

#[test]
fn a_toolchain_is_among_what_the_image_has_and_nothing_is_made_behind_its_links() {
    let (directory, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/srv").unwrap());
    for directory in [directory.path(), place.path()] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (root, state) = (directory.path().join("image"), directory.path().join("state"));
    let (toolchain, outside) = (place.path().join("deep/tools"), directory.path().join("outside"));
    system(&root);
    std::fs::create_dir_all(&toolchain).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(toolchain.join("version"), "of the machine\n").unwrap();
    let options = ["--toolchain", toolchain.to_str().unwrap()];
    let image = format!("dir:{}", root.display());
    // 1. Beside the image's own, in a directory that the image has as well.
    let script =
        format!("ls /srv; cat {0}/version; touch {0}/x /srv/x 2>/dev/null && echo BROKEN; true", options[1]);
    let output = attempt_with(&options, &state, &image, &script);
    let seen = text(&output);
    assert!(seen.contains("data\n") && seen.contains("of the machine") && !seen.contains("BROKEN"), "{seen}");
    // 2. Links of the image in its way, and in the way of what every sandbox gets.
    for name in ["var", "srv"] {
        std::fs::remove_dir_all(root.join(name)).unwrap();
        symlink(&outside, root.join(name)).unwrap();
    }
    let output = attempt_with(&options, &state, &image, "true");
    assert!(
        !output.status.success() && text(&output).contains("where a toolchain's path leads"),
        "{}",
        text(&output)
    );
    let output = attempt(&state, &image, "echo works");
    assert!(text(&output).contains("works"), "{}", text(&output));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "something was made behind a link");
}
