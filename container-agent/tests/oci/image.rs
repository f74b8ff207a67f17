//! A tiny image from this machine's own files: a shell, what the cases call, and the libraries that these and the
//! container agent need; and what the probes look for in a directory that is read-only to them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::probe_program;

/// What `namespaces` shows of the machine is the image's own here, because an engine's container sees no directory of the
/// machine. A socket cannot be in an image, so that `bound-socket` has nothing to connect to.
pub const PROBED: &str = "/opt/probed";

const PROGRAMS: [&str; 23] = [
    "bash", "cat", "chmod", "dash", "dd", "env", "grep", "head", "id", "ln", "ls", "mkdir", "mknod", "mv",
    "rm", "sed", "seq", "sleep", "stat", "tail", "touch", "true", "wc",
];
const LINKS: [(&str, &str); 5] = [
    ("bin", "usr/bin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("sbin", "usr/bin"),
    ("usr/bin/sh", "dash"),
];

/// As the layer that an engine imports.
pub fn layer(agent: &Path) -> Vec<u8> {
    let mut files: BTreeSet<PathBuf> = PROGRAMS.iter().map(|name| Path::new("/usr/bin").join(name)).collect();
    let programs: Vec<_> = files.iter().cloned().chain([agent.to_owned()]).collect();
    files.extend(programs.iter().flat_map(|program| libraries(program)));
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(true);
    for (name, target) in LINKS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, name, target).unwrap();
    }
    for name in ["tmp", "etc", "proc", "sys", "dev", "run", "workspace", "opt", &PROBED[1..]] {
        tar.append_dir(name, "/").unwrap();
    }
    for file in files {
        // `/lib64/…` is `/usr/lib64/…` here and there.
        let name = file.strip_prefix("/").unwrap();
        let name = if name.starts_with("usr") { name.to_owned() } else { Path::new("usr").join(name) };
        tar.append_path_with_name(&file, name).unwrap();
    }
    let setuid = std::fs::read(probe_program::program()).unwrap();
    for (name, mode, bytes) in [("setuid", 0o4755, setuid.as_slice()), ("writable.txt", 0o666, b"x")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, Path::new(&PROBED[1..]).join(name), bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// What the loader would load, itself included.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}
