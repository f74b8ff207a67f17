//! Row 16: start to exit of `true` in a sandbox, beside bubblewrap, run by run in turn. The container agent's example
//! `sandbox_start` measures, as root and as an ordinary user; this runs it and reads its times.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::histogram::Histogram;
use super::table::{Bar, Row, ms};
use crate::build;
use crate::process::text_of;

const RUNS: &str = "200";
/// An ordinary user, which need not have a name.
const USER: u32 = 61_236;

#[derive(Deserialize)]
struct Run {
    peer: String,
    us: u64,
}

pub fn rows() -> Result<Vec<Row>> {
    build::native(&["--package", "container-agent", "--example", "sandbox_start"])?;
    let program = build::native_folder().join("examples").join("sandbox_start");
    let mut rows = shown("as root", &mut Command::new(&program))?;
    // Where another user can start it, whatever is above the build's folder.
    let copy = std::env::temp_dir().join(format!("patchbay-sandbox-start-{}", std::process::id()));
    std::fs::copy(&program, &copy).context("cannot copy the program for another user")?;
    let user = shown("as a user, without limits", Command::new(&copy).uid(USER).gid(USER));
    let _ = std::fs::remove_file(&copy);
    rows.extend(user?);
    Ok(rows)
}

fn shown(who: &str, command: &mut Command) -> Result<Vec<Row>> {
    let printed = text_of(command.arg(RUNS))?;
    let mut times: BTreeMap<String, Histogram> = BTreeMap::new();
    for line in printed.lines() {
        let Run { peer, us } = serde_json::from_str(line).context("a line of `sandbox_start`")?;
        times.entry(peer).or_default().add(Duration::from_micros(us));
    }
    let show = |times: &Histogram| format!("p50 {}, p95 {}", ms(times.p50()), ms(times.quantile(0.95)));
    let bwrap = times.get("bwrap");
    let ours = [("cold", 0.8), ("warm", 0.3)].into_iter().filter_map(|(kind, bar)| {
        let ours = times.get(&format!("patchbay, {kind}"))?;
        let row = Row::new(format!("16 sandbox start to exit, {kind}, {who}"), show(ours));
        let row = row.note(format!("{} × `true`, all walls", ours.len()));
        Some(match bwrap {
            Some(theirs) => {
                let share = ours.p50().as_secs_f64() / theirs.p50().as_secs_f64().max(1e-9);
                row.peer(format!("bwrap: {}", show(theirs)), share).bar(Bar::AtMost(bar))
            }
            None => row.beside("bwrap: not installed"),
        })
    });
    Ok(ours.collect())
}
