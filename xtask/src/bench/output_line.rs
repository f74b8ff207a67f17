//! Row 3: from a script's `echo` in the sandbox until a watcher has the line. The line itself says when it was
//! written; the clock is the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use shared_contracts::events::EventBody;

use super::histogram::Histogram;
use super::stage::Stage;
use super::table::{Row, ms};

/// What the requirements ask for as the floor.
const FLOOR: &str = "floor 500 ms, aim 50 ms";

pub async fn rows(stage: &Stage, seconds: u32) -> Result<Vec<Row>> {
    let agent = stage.agent().await?;
    let lines = seconds * 50;
    let script = format!(
        "export LC_ALL=C; for ((i = 0; i < {lines}; i++)); do echo \"at $EPOCHREALTIME\"; sleep 0.02; done"
    );
    let meter = stage.meter();
    let execution = stage.execute(&["/bin/bash", "-c", &script]).await?;
    let mut watcher = stage.client.watch(execution.id, 0);
    let mut times = Histogram::default();
    while let Some(event) = watcher.next().await? {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        if let EventBody::Log { text, .. } = &event.body
            && let Some(written) = text.strip_prefix("at ").and_then(|text| text.parse::<f64>().ok())
        {
            times.add(now.saturating_sub(Duration::from_secs_f64(written)));
        }
    }
    let load = meter.load();
    stage.succeeded(execution.id).await?;
    stage.stop_agent(agent).await?;
    let figure = format!("p50 {}, p95 {}", ms(times.p50()), ms(times.quantile(0.95)));
    Ok(vec![
        Row::new("3  output line → SSE watcher", figure)
            .beside(FLOOR)
            .note(format!("{} lines, real sandbox; {load}", times.len())),
    ])
}
