//! Rows 19 and 20: the container agent besides its sandbox. Artifacts as one tar.gz beside GNU tar; its memory while it
//! waits for work, beside dockerd's.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::measured;
use super::table::{Bar, Row, grouped, ms, ratio};
use crate::build;
use crate::terminal::bytes;

/// How many times as long GNU tar should take, and how much larger than its archive ours may be.
const FASTER: f64 = 3.0;
const LARGER: f64 = 1.02;

#[derive(Deserialize)]
struct Archives {
    files: u32,
    tree_bytes: u64,
    us: u64,
    bytes: u64,
    tar_us: u64,
    tar_bytes: u64,
}

/// Row 19.
pub fn archive(quick: bool) -> Result<Vec<Row>> {
    let pairs = if quick { "1" } else { "3" };
    let figures = measured::lines(Command::new(measured::program()?).args(["archive", pairs]))?;
    let Archives { files, tree_bytes, us, bytes: size, tar_us, tar_bytes } =
        figures.into_iter().next().context("`measure archive` printed nothing")?;
    let (ours, theirs) = (Duration::from_micros(us), Duration::from_micros(tar_us));
    let time = Row::new("19 artifacts as tar.gz, time", ms(ours))
        .peer(format!("tar -czf: {}", ms(theirs)), ratio(ours, theirs))
        .bar(Bar::AtLeast(FASTER))
        .note(format!("{} files, {}; fastest of {pairs}", grouped(files.into()), bytes(tree_bytes)));
    let size = Row::new("19 artifacts as tar.gz, size", bytes(size))
        .peer(format!("tar -czf: {}", bytes(tar_bytes)), size as f64 / tar_bytes.max(1) as f64)
        .bar(Bar::AtMost(LARGER));
    Ok(vec![time, size])
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Idle {
    Measured { peer: String, resident_kb: u64, proportional_kb: u64 },
    Missing { peer: String, missing: String },
}

/// Row 20.
pub fn idle() -> Result<Vec<Row>> {
    let agent = build::agent()?;
    let mut lines = measured::lines(Command::new(measured::program()?).arg("idle").arg(agent))?.into_iter();
    let show = |resident_kb: u64, proportional_kb: u64| {
        format!("PSS {}, RSS {}", bytes(proportional_kb * 1_024), bytes(resident_kb * 1_024))
    };
    let Some(Idle::Measured { resident_kb, proportional_kb: ours, .. }) = lines.next() else {
        anyhow::bail!("`measure idle` did not measure the container agent first");
    };
    let row = Row::new("20 memory of the container agent, idle", show(resident_kb, ours));
    let row = row.note("connected, nothing to do; dockerd with its containerd, no container");
    Ok(vec![match lines.next() {
        Some(Idle::Measured { peer, resident_kb, proportional_kb: theirs }) => {
            row.peer(format!("{peer}: {}", show(resident_kb, theirs)), theirs as f64 / ours.max(1) as f64)
        }
        Some(Idle::Missing { peer, missing }) => row.beside(format!("{peer}: {missing}")),
        None => row,
    }])
}
