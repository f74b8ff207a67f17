//! Rows 12 and 13: the engine in workerd, through `POST /api/patches/check`.
//!
//! Row 12 sends the same search/replace blocks for the same file to a Worker of JavaScript in the same workerd
//! (applier.mjs) and times both from the request to the answer. Ours looks up the token, the project and the revision,
//! reads the file and answers with receipts and a diff; the other one has the file in memory and asks nobody.
//!
//! Row 13 wants the engine's time alone. A request with every function edited, less one with a few of them edited, is
//! the engine's work on the rest and the JSON that carries it: what a request costs besides is in both. Natively the
//! same difference is taken of the same steps.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::json;
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{PatchCheck, PatchFormat, PatchRequest};

use super::patches::speed;
use super::stage::Stage;
use super::table::{Bar, Row, ms, ratio};
use crate::client::Client;
use crate::client::tree::LocalTree;

const PATH: &str = "src/handlers.rs";
const LINES: usize = 2_800;
const FUNCTION_LINES: usize = 7;
/// Blocks of row 12, and of the smaller request of row 13.
const FEW: usize = 20;
const ALL: usize = LINES / FUNCTION_LINES;
const APPLIER_BAR: f64 = 10.0;
const NATIVE_BAR: f64 = 2.5;

pub async fn rows(stage: &Stage, rounds: usize) -> Result<Vec<Row>> {
    let file = source();
    let root = stage.folder().join("tree");
    std::fs::create_dir_all(root.join("src"))?;
    std::fs::write(root.join(PATH), &file)?;
    stage.client.import_in_parts(stage.project, &LocalTree::scan(&root)?).await?;
    let (few, all) = (Batch::new(ALL / FEW), Batch::new(1));
    Ok(vec![
        beside_javascript(stage, rounds, &file, &few).await?,
        beside_native(stage, rounds, &file, &few, &all).await?,
    ])
}

/// Blocks for the functions at a distance of `every`, and what they lead to.
struct Batch {
    text: String,
    /// Where each block's function begins, from 1.
    starts: Vec<usize>,
    after: String,
}

impl Batch {
    fn new(every: usize) -> Self {
        let mut after = function_texts();
        let (mut text, mut starts) = (String::new(), Vec::new());
        for (nth, number) in (0..ALL).step_by(every).enumerate() {
            let Some(function) = after.get_mut(number) else { continue };
            let (searched, wanted) = (drifted(nth, function), edited(function));
            let replacement = edited(&searched);
            text += &format!("{PATH}\n<<<<<<< SEARCH\n{searched}=======\n{replacement}>>>>>>> REPLACE\n\n");
            starts.push(number * FUNCTION_LINES + 1);
            *function = wanted;
        }
        Self { text, starts, after: after.concat() }
    }

    fn request(&self, stage: &Stage) -> PatchRequest {
        PatchRequest {
            project_id: Some(stage.project),
            title: Some("bench".into()),
            format: Some(PatchFormat::SearchReplace),
            text: Some(self.text.clone()),
            ..PatchRequest::default()
        }
    }
}

/// As models send it: of ten blocks seven as the file has them, two indented otherwise, one with an older context.
fn drifted(nth: usize, function: &str) -> String {
    match nth % 10 {
        3 | 6 => function.lines().map(|line| format!("    {line}\n")).collect(),
        9 => function.replacen("(request: &Request)", "(request: Request)", 1),
        _ => function.to_owned(),
    }
}

fn edited(function: &str) -> String {
    function.replacen("unwrap_or_default()", "required()?", 1)
}

fn function_texts() -> Vec<String> {
    let function = |number: usize| {
        let first = number * FUNCTION_LINES;
        let values: String = (first + 1..first + FUNCTION_LINES - 2)
            .map(|line| {
                format!("    let value_{line} = request.field({}).unwrap_or_default();\n", line * 31 % 997)
            })
            .collect();
        format!("fn handle_{first}(request: &Request) -> Response {{\n{values}}}\n\n")
    };
    (0..ALL).map(function).collect()
}

fn source() -> String {
    function_texts().concat()
}

async fn beside_javascript(stage: &Stage, rounds: usize, file: &str, batch: &Batch) -> Result<Row> {
    let applier = stage.applier.as_ref().context("this stage has no Worker of JavaScript")?;
    applier.call(reqwest::Method::PUT, "/").bytes("text/plain", file.to_owned()).empty().await?;
    let request = batch.request(stage);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..=rounds {
        ours.push(checked(stage, &request, batch).await?);
        theirs.push(applied(applier, batch).await?);
    }
    let (ours, theirs) = (median_of_warm(ours), median_of_warm(theirs));
    Ok(Row::new(format!("12 check of {FEW} blocks in workerd"), ms(ours))
        .peer(format!("JavaScript: {}", ms(theirs)), ratio(ours, theirs))
        .bar(Bar::AtLeast(APPLIER_BAR))
        .note(format!(
            "{LINES} lines; 14 exact, 4 indented, 2 with one line edited; whole requests over HTTP"
        )))
}

async fn beside_native(stage: &Stage, rounds: usize, file: &str, few: &Batch, all: &Batch) -> Result<Row> {
    let native = native(file, &[&few.text, &all.text])?;
    let (few_request, all_request) = (few.request(stage), all.request(stage));
    let (mut few_times, mut all_times) = (Vec::new(), Vec::new());
    for _ in 0..=rounds {
        few_times.push(checked(stage, &few_request, few).await?);
        all_times.push(checked(stage, &all_request, all).await?);
    }
    let (few_took, all_took) = (median_of_warm(few_times), median_of_warm(all_times));
    let worker = all_took.saturating_sub(few_took);
    let [native_few, native_all] = native.as_slice() else { bail!("`speed` timed other patches than given") };
    let alone = native_all.saturating_sub(*native_few);
    Ok(Row::new("13 the engine alone in workerd", ms(worker))
        .peer(format!("native: {}", ms(alone)), ratio(alone, worker))
        .bar(Bar::AtMost(NATIVE_BAR))
        .note(format!(
            "{ALL} blocks less {FEW}: requests of {} and {}, natively {} and {}",
            ms(all_took),
            ms(few_took),
            ms(*native_all),
            ms(*native_few)
        )))
}

async fn checked(stage: &Stage, request: &PatchRequest, batch: &Batch) -> Result<Duration> {
    let started = Instant::now();
    let check: PatchCheck = stage.client.check_patches(request).await?;
    let took = started.elapsed();
    let [file] = check.files.as_slice() else { bail!("the check changed {} files", check.files.len()) };
    ensure!(file.sha256_after == Some(Sha256::of(batch.after.as_bytes())), "the check came to other bytes");
    Ok(took)
}

#[derive(Deserialize)]
struct Applied {
    /// Where each block was put, from 1.
    starts: Vec<usize>,
}

async fn applied(applier: &Client, batch: &Batch) -> Result<Duration> {
    let started = Instant::now();
    let call = applier.call(reqwest::Method::POST, "/").json(&json!({ "text": batch.text }));
    let applied: Applied = call.typed().await?;
    let took = started.elapsed();
    ensure!(applied.starts == batch.starts, "the applier of JavaScript put blocks elsewhere");
    Ok(took)
}

/// Seconds of this machine for the same patches.
fn native(file: &str, patches: &[&str]) -> Result<Vec<Duration>> {
    let mut speed = Command::new(speed()?)
        .arg("plan")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `speed`")?;
    let given = json!({ "path": PATH, "file": file, "patches": patches }).to_string();
    speed.stdin.take().context("its input is piped")?.write_all(given.as_bytes())?;
    let output = speed.wait_with_output()?;
    ensure!(output.status.success(), "`speed plan` failed ({})", output.status);
    let seconds: Vec<f64> = serde_json::from_slice(&output.stdout).context("what `speed plan` printed")?;
    Ok(seconds.into_iter().map(Duration::from_secs_f64).collect())
}

/// Without the first, which fills caches.
fn median_of_warm(mut times: Vec<Duration>) -> Duration {
    times.remove(0);
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
