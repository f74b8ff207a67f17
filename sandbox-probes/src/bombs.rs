//! Payloads that use up what they are given, each in its own way, and one that only wants to work beside them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::call;

/// What it says when a limit held.
const HELD: i32 = 7;
const FULL: i32 = libc::ENOSPC;
const WRITABLE: [&str; 4] = ["/tmp", "/home/agent", "/dev/shm", "/workspace"];
static BLOCK: [u8; 1 << 20] = [b'x'; 1 << 20];
const EATERS: u32 = 3;

/// Ends the process, if anything does.
pub fn explode(name: &str) -> io::Result<()> {
    match name {
        // Every process starts another one for ever; those that may not try again.
        "fork" => loop {
            let _ = call::clone_into(0);
        },
        "memory" => memory()?,
        "disk" => fill(|directory| {
            let mut file = File::create(Path::new(directory).join("bomb"))?;
            loop {
                file.write_all(&BLOCK)?;
            }
        })?,
        "files" => fill(make_files)?,
        "changes" => make_files("/workspace")?,
        "log" => loop {
            // One line without an end, on both.
            io::stdout().write_all(&BLOCK)?;
            io::stderr().write_all(&BLOCK)?;
        },
        other => return Err(io::Error::other(format!("no such bomb: {other}"))),
    }
    Ok(())
}

/// Children eat memory until the kernel kills them, one after the other.
fn memory() -> io::Result<()> {
    for _ in 0..EATERS {
        let eater = call::child(|| {
            let mut eaten = Vec::new();
            loop {
                eaten.push(BLOCK.to_vec());
            }
        })?;
        let status = eater.wait()?;
        if std::os::unix::process::ExitStatusExt::signal(&status) != Some(libc::SIGKILL) {
            return Err(io::Error::other(format!("the eater's end was not the kernel's: {status}")));
        }
    }
    call::exit(HELD)
}

/// In every place that may be written; each must say that the disk is full.
fn fill(write: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    for directory in WRITABLE {
        match write(directory) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            other => return Err(io::Error::other(format!("{directory} is not full: {other:?}"))),
        }
    }
    call::exit(FULL)
}

fn make_files(directory: &str) -> io::Result<()> {
    for number in 0_u32.. {
        File::create(Path::new(directory).join(number.to_string()))?;
    }
    Ok(())
}

/// A number that takes a while, by way of a child and a file; a line a round, for ever.
pub fn work() -> io::Result<()> {
    let path = Path::new("/workspace/result");
    loop {
        let child = call::child(|| {
            let written = fs::write(path, squares().to_string());
            call::exit(i32::from(written.is_err()));
        })?;
        let status = child.wait()?;
        println!("{} {status}", fs::read_to_string(path)?);
        fs::remove_file(path)?;
    }
}

fn squares() -> u64 {
    (0..3_000_000_u64)
        .fold(0, |sum, number| std::hint::black_box(sum).wrapping_mul(31).wrapping_add(number * number))
}
