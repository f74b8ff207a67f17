//! What the container agent's example `measure` prints: a line of JSON for each run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::histogram::Histogram;
use super::table::ms;
use crate::build;
use crate::process::text_of;

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Run {
        peer: String,
        us: u64,
    },
    /// A peer that is not there, or does not work here.
    Missing {
        peer: String,
        missing: String,
    },
}

/// Times by who took them.
#[derive(Debug, Default)]
pub struct Measured {
    times: BTreeMap<String, Histogram>,
    missing: BTreeMap<String, String>,
}

impl Measured {
    pub fn by(command: &mut Command) -> Result<Self> {
        let mut measured = Self::default();
        for line in lines(command)? {
            match line {
                Line::Run { peer, us } => {
                    measured.times.entry(peer).or_default().add(Duration::from_micros(us));
                }
                Line::Missing { peer, missing } => {
                    measured.missing.insert(peer, missing);
                }
            }
        }
        Ok(measured)
    }

    pub fn of(&self, who: &str) -> Option<&Histogram> {
        self.times.get(who)
    }

    /// What nothing can be said without.
    pub fn ours(&self, who: &str) -> Result<&Histogram> {
        self.of(who).with_context(|| format!("nothing was measured of `{who}`"))
    }

    /// `runc: not installed`
    pub fn why_missing(&self, peer: &str) -> String {
        format!("{peer}: {}", self.missing.get(peer).map_or("not measured", String::as_str))
    }
}

/// Each line that it prints.
pub fn lines<L: DeserializeOwned>(command: &mut Command) -> Result<Vec<L>> {
    let printed = text_of(command)?;
    printed.lines().map(|line| serde_json::from_str(line).context("a line of `measure`")).collect()
}

/// The program, built as the container agent is.
pub fn program() -> Result<PathBuf> {
    build::native(&["--package", "container-agent", "--example", "measure"])?;
    Ok(build::native_folder().join("examples").join("measure"))
}

/// `p50 2.10 ms, p95 3.05 ms`
pub fn middle_and_tail(times: &Histogram) -> String {
    format!("p50 {}, p95 {}", ms(times.p50()), ms(times.quantile(0.95)))
}
