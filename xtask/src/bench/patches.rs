//! Rows 9, 10, 11 and 14: the patch engine beside other programs, without a plane. The corpus's example `speed`
//! measures, built as `patchctl` is; this runs it and reads its figures.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::table::{Bar, Row, ms, ratio};
use crate::process::text_of;
use crate::{build, layout};

/// A line that a program prints that measures.
#[derive(Debug, Clone, Deserialize)]
struct Figure {
    what: String,
    seconds: f64,
    beside: String,
    beside_seconds: Option<f64>,
    /// Why it is not.
    not_measured: Option<String>,
    /// How many times as long the peer should take.
    bar: Option<f64>,
    /// How many times as long as the smaller input this may take.
    grows_bar: Option<f64>,
    #[serde(default)]
    note: String,
}

pub fn rows(row: u32) -> Result<Vec<Row>> {
    let speed = speed()?;
    let mut command = Command::new(speed);
    match row {
        9 => command.arg("unified"),
        10 => command.arg("near-miss"),
        11 => {
            command.arg("process").arg("--patchctl").arg(build::patchctl()?);
            command.arg("--peers").arg(layout::state().join("peers"))
        }
        _ => command.arg("growth"),
    };
    figures(row, &mut command)
}

/// What a program that measures has printed, a figure a line.
pub fn figures(row: u32, command: &mut Command) -> Result<Vec<Row>> {
    let printed = text_of(command)?;
    printed.lines().map(|line| shown(row, serde_json::from_str(line).context("a figure")?)).collect()
}

fn shown(row: u32, figure: Figure) -> Result<Row> {
    let (ours, beside) = (Duration::from_secs_f64(figure.seconds), &figure.beside);
    let shown = Row::new(format!("{row:<2} {}", figure.what), ms(ours)).note(figure.note);
    let Some(theirs) = figure.beside_seconds.map(Duration::from_secs_f64) else {
        let why = figure.not_measured.context("a figure without a peer's time says why")?;
        return Ok(shown.beside(format!("{beside}: not measured")).note(why));
    };
    let peer = format!("{beside}: {}", ms(theirs));
    Ok(match (figure.bar, figure.grows_bar) {
        (Some(bar), _) => shown.peer(peer, ratio(ours, theirs)).bar(Bar::AtLeast(bar)),
        (None, Some(bar)) => shown.peer(peer, ratio(theirs, ours)).bar(Bar::AtMost(bar)),
        (None, None) => bail!("a figure has no bar: {}", figure.what),
    })
}

/// The program that measures.
pub fn speed() -> Result<PathBuf> {
    build::native(&["--package", "drift-corpus", "--example", "speed"])?;
    Ok(build::native_folder().join("examples").join("speed"))
}
