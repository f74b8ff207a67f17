//! Rows 16, 17 and 18: sandboxes from start to exit. One after another beside bubblewrap, runc and the Docker API, run by
//! run in turn, as root and as an ordinary user; over a workspace of 500 MB; and 8 at a time.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::measured::{self, Measured, middle_and_tail};
use super::table::{Bar, Row, grouped, ms, ratio};

/// An ordinary user, which need not have a name.
const USER: u32 = 61_236;
const ATTACHED_WITHIN: Duration = Duration::from_millis(10);
/// Smaller differences are not told apart here.
const TOLD_APART: Duration = Duration::from_micros(10);

/// Row 16. Each of ours, a peer, and what share of the peer's time it should take.
const COLD_AND_WARM: [(&str, &str, Option<f64>); 2] =
    [("cold", "bwrap", Some(0.8)), ("warm", "bwrap", Some(0.3))];
const FOR_ROOT: [(&str, &str, Option<f64>); 2] = [("cold", "runc", Some(0.1)), ("cold", "Docker API", None)];

pub fn start_to_exit(quick: bool) -> Result<Vec<Row>> {
    let runs = if quick { "20" } else { "200" };
    let program = measured::program()?;
    let root = Measured::by(Command::new(&program).args(["turns", runs]))?;
    let mut rows = beside(&root, "as root", &[COLD_AND_WARM, FOR_ROOT].concat())?;
    // Where another user can start it, whatever is above the build's folder.
    let copy = std::env::temp_dir().join(format!("patchbay-measure-{}", std::process::id()));
    std::fs::copy(&program, &copy).context("cannot copy the program for another user")?;
    let user = Measured::by(Command::new(&copy).args(["turns", runs]).uid(USER).gid(USER));
    let _ = std::fs::remove_file(&copy);
    rows.extend(beside(&user?, "as a user, without limits", &COLD_AND_WARM)?);
    Ok(rows)
}

fn beside(measured: &Measured, who: &str, rows: &[(&str, &str, Option<f64>)]) -> Result<Vec<Row>> {
    let row = |&(kind, peer, bar): &(&str, &str, Option<f64>)| {
        let ours = measured.ours(&format!("patchbay, {kind}"))?;
        let row = Row::new(format!("16 sandbox start to exit, {kind}, {who}"), middle_and_tail(ours));
        let runs = format!("{} × `true`, all walls", ours.len());
        let Some(theirs) = measured.of(peer) else {
            return Ok(row.beside(measured.why_missing(peer)).note(runs));
        };
        let share = ratio(theirs.p50(), ours.p50());
        let row = row.peer(format!("{peer}: {}", middle_and_tail(theirs)), share);
        let row = bar.map_or(row.clone(), |bar| row.bar(Bar::AtMost(bar)));
        Ok(row.note(format!("{runs}; {peer}: {} ×", theirs.len())))
    };
    rows.iter().map(row).collect()
}

/// Row 17.
pub fn workspace(quick: bool) -> Result<Vec<Row>> {
    let runs = if quick { "5" } else { "100" };
    let measured = Measured::by(Command::new(measured::program()?).args(["workspace", runs]))?;
    let copy = measured.ours("cp -a")?.most();
    let row = |kind: &str| {
        let empty = measured.ours(&format!("{kind}, empty"))?;
        let tree = measured.ours(&format!("{kind}, tree"))?;
        let more = tree.p50().saturating_sub(empty.p50());
        // The bar is a time, and not a share of somebody's.
        let row = Row::new(format!("17 500 MB workspace attached, {kind}"), format!("+{}", ms(more)))
            .peer(format!("at most {}", ms(ATTACHED_WITHIN)), ratio(more.max(TOLD_APART), ATTACHED_WITHIN))
            .bar(Bar::AtLeast(1.0));
        Ok(row.note(format!(
            "23,000 files; {} × start to exit, {}; over an empty one {}; `cp -a`, once: {}",
            tree.len(),
            middle_and_tail(tree),
            middle_and_tail(empty),
            ms(copy)
        )))
    };
    ["cold", "warm"].into_iter().map(row).collect()
}

/// Row 18.
pub fn at_once(quick: bool) -> Result<Vec<Row>> {
    let starts = if quick { "40" } else { "400" };
    let measured = Measured::by(Command::new(measured::program()?).args(["at-once", starts]))?;
    let ours = measured.ours("patchbay")?;
    let a_second = |starts: u64, whole: Duration| starts as f64 / whole.as_secs_f64().max(1e-9);
    let our_rate = a_second(ours.len(), measured.ours("patchbay, whole")?.most());
    let shown = |rate: f64, times| format!("{} a second, {}", grouped(rate), middle_and_tail(times));
    let row = Row::new("18 sandboxes, 8 at a time, as root", shown(our_rate, ours));
    let row =
        row.note(format!("{} × `true`, all walls, cold; each exits with 0; removal included", ours.len()));
    let theirs = measured.of("bwrap").zip(measured.of("bwrap, whole"));
    Ok(vec![match theirs {
        Some((theirs, whole)) => {
            let rate = a_second(theirs.len(), whole.most());
            row.peer(format!("bwrap: {}", shown(rate, theirs)), our_rate / rate.max(1e-9))
        }
        None => row.beside(measured.why_missing("bwrap")),
    }])
}
