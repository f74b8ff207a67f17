//! `cargo xtask bench`: what this machine gives, each figure beside what it is compared with in the same run.
//!
//! Numbers are printed, never asserted: they say something only about this machine at this moment. The Worker runs
//! in workerd without wrangler's proxy, which alone would be the slowest part; writers and watchers are this process,
//! so that one clock times both ends; where the sandbox matters, the real container agent runs.

mod container_agent;
mod engine;
mod fan_out;
mod histogram;
mod import;
mod late_join;
mod load;
mod measured;
mod output_line;
mod patches;
mod redaction;
mod rows_written;
mod sandbox;
mod sandbox_start;
mod scripted_agent;
mod stage;
mod stamps;
mod sustained;
mod table;
mod watchers;
mod writer;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use self::stage::{Stage, WorkerOptions};
use self::table::{Bar, Row};
use crate::process::{run as run_to_end, stop_signal};
use crate::setup::Extent;
use crate::{build, layout, setup, terminal};

/// Cloudflare's own limits are far above it; a small module starts fast.
const WASM_GZIP_KB_MAX: f64 = 700.0;
/// Of this workspace's `Cargo.toml`.
const PROFILE: &str = "bench-client";
const LOG_LINES_SHOWN: usize = 20;
const ROWS: std::ops::RangeInclusive<u32> = 1..=20;
/// Of one crate alone: neither the Worker nor workerd is needed.
const WITHOUT_PLANE: [u32; 10] = [9, 10, 11, 14, 15, 16, 17, 18, 19, 20];

#[derive(Debug, Clone)]
pub struct Options {
    /// A smoke run: every row, none for long.
    pub quick: bool,
    /// All unless given.
    pub only: Vec<u32>,
    /// A Worker that is built already, in this folder; nothing is built then.
    pub worker: Option<PathBuf>,
    /// Let a profiler attach to workerd here.
    pub inspector_port: Option<u16>,
}

impl Options {
    fn rows(&self) -> impl Iterator<Item = u32> {
        ROWS.filter(|row| self.only.is_empty() || self.only.contains(row))
    }
}

pub fn run(options: Options) -> Result<()> {
    if let Some(unknown) = options.only.iter().find(|row| !ROWS.contains(row)) {
        bail!("there is no row {unknown}; rows are {} to {}", ROWS.start(), ROWS.end());
    }
    if cfg!(debug_assertions) && !options.quick {
        return run_optimized();
    }
    if options.worker.is_none() && options.rows().any(|row| !WITHOUT_PLANE.contains(&row)) {
        setup::everything(Extent::Running)?;
        terminal::heading("Build");
        build::worker()?;
        build::agent()?;
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            done = measure(&options) => done,
            // Whatever was started ends as it is dropped.
            stopped = stop_signal() => stopped,
        }
    })
}

/// `cargo xtask` is built for quick builds; a writer and a hundred watchers in it would measure themselves.
fn run_optimized() -> Result<()> {
    let mut cargo = Command::new("cargo");
    setup::outside_cargo(&mut cargo);
    cargo.args(["build", "--quiet", "--locked", "--package", "xtask", "--profile", PROFILE]);
    cargo.current_dir(layout::repository()).env("CARGO_TARGET_DIR", layout::native_target());
    run_to_end("building the bench's own side", &mut cargo)?;
    let error = Command::new(layout::native_target().join(PROFILE).join("xtask"))
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).context("cannot start the optimized bench")
}

async fn measure(options: &Options) -> Result<()> {
    table::heading();
    let started = Instant::now();
    let folder = match &options.worker {
        Some(folder) => std::path::absolute(folder).context("cannot find the Worker's folder")?,
        None => build::wasm().parent().context("the Worker's module has no folder")?.to_owned(),
    };
    let worker = WorkerOptions {
        build: folder,
        counts: false,
        applies: false,
        inspector_port: options.inspector_port,
    };
    let mut rows = Vec::new();
    let mut stage = None;
    let mut is_engine_measured = false;
    for row in options.rows() {
        terminal::line(&format!("  … row {row}, {}", terminal::seconds(started.elapsed())));
        let measured = match row {
            5 => counted(&worker).await,
            6 => size(&worker).map(|row| vec![row]),
            15 => redaction::rows(row),
            16 => sandbox::start_to_exit(options.quick),
            17 => sandbox::workspace(options.quick),
            18 => sandbox::at_once(options.quick),
            19 => container_agent::archive(options.quick),
            20 => container_agent::idle(),
            row if WITHOUT_PLANE.contains(&row) => patches::rows(row),
            // One run measures both.
            12 | 13 if std::mem::replace(&mut is_engine_measured, true) => continue,
            12 | 13 => in_workerd(&worker, options.quick).await,
            row => {
                if stage.is_none() {
                    stage = Some(Stage::start(&worker).await?);
                }
                match &stage {
                    Some(stage) => measure_row(row, stage, options.quick).await,
                    None => Ok(Vec::new()),
                }
            }
        };
        match measured {
            Ok(measured) => rows.extend(measured),
            // The other rows are still worth having.
            Err(error) => {
                rows.push(Row::new(format!("{row:<2} failed"), "—").note(format!("{error:#}")));
                if let Some(stage) = stage.take() {
                    terminal::notice(&format!(
                        "the plane said last:\n{}",
                        stage.plane.log_tail(LOG_LINES_SHOWN)
                    ));
                }
            }
        }
    }
    if let Some(stage) = stage {
        stage.plane.stop().await?;
    }
    table::print(&rows);
    terminal::line(&format!("\n  took {}", terminal::seconds(started.elapsed())));
    Ok(())
}

async fn measure_row(row: u32, stage: &Stage, quick: bool) -> Result<Vec<Row>> {
    let seconds = |whole, smoke| if quick { smoke } else { whole };
    match row {
        1 => sandbox_start::rows(stage, seconds(30, 3)).await,
        2 => fan_out::rows(stage, seconds(10, 1)).await,
        3 => output_line::rows(stage, seconds(10, 2)).await,
        4 => sustained::rows(stage, seconds(10, 1)).await,
        7 => late_join::rows(stage).await,
        _ => import::rows(stage, if quick { import::Size::QUICK } else { import::Size::WHOLE }).await,
    }
}

/// A plane of its own, whose Worker counts.
async fn counted(worker: &WorkerOptions) -> Result<Vec<Row>> {
    let worker = WorkerOptions { counts: true, inspector_port: None, ..worker.clone() };
    let stage = Stage::start(&worker).await?;
    let rows = rows_written::rows(&stage).await?;
    stage.plane.stop().await?;
    Ok(rows)
}

/// A plane of its own, with a Worker of JavaScript in the same workerd.
async fn in_workerd(worker: &WorkerOptions, quick: bool) -> Result<Vec<Row>> {
    let worker = WorkerOptions { applies: true, inspector_port: None, ..worker.clone() };
    let stage = Stage::start(&worker).await?;
    let rows = engine::rows(&stage, if quick { 3 } else { 21 }).await?;
    stage.plane.stop().await?;
    Ok(rows)
}

fn size(worker: &WorkerOptions) -> Result<Row> {
    let kb = build::gzip_bytes(&worker.build.join("index_bg.wasm"))? as f64 / 1_000.0;
    let row = Row::new("6  WASM size, gzipped", format!("{kb:.0} KB"));
    Ok(row.peer(format!("{WASM_GZIP_KB_MAX:.0} KB"), WASM_GZIP_KB_MAX / kb).bar(Bar::AtLeast(1.0)))
}
