//! Row 5: rows written for an execution of 10,000 lines with 20 watchers, in the Durable Objects and D1 together,
//! from its creation to its recorded end. Each statement's own count (`rowsWritten`, `meta.rows_written`) is summed
//! by rows.mjs, which counts an index as a row too; so this runs in a plane of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use shared_contracts::events::EventBody;

use super::stage::Stage;
use super::stamps::Stamps;
use super::table::{Row, grouped};
use super::watchers::{Kind, Watchers};

const LINES: u32 = 10_000;
const WATCHERS: usize = 20;
const WITHIN: Duration = Duration::from_secs(60);
const REFERENCE: &str = "reference 30,000–80,000, bar 600";

/// Sums since the Worker started.
#[derive(Debug, Clone, Deserialize)]
struct Counted {
    objects: u64,
    d1: u64,
    /// Of the objects' rows, by the beginning of their statement.
    statements: BTreeMap<String, u64>,
}

impl Counted {
    /// The statements that wrote most since then.
    fn most_since(&self, before: &Self) -> String {
        let since = |(statement, rows): (&String, &u64)| {
            (rows - before.statements.get(statement).copied().unwrap_or(0), statement.clone())
        };
        let mut statements: Vec<(u64, String)> = self.statements.iter().map(since).collect();
        statements.sort_by(|one, other| other.cmp(one));
        let shown = statements.iter().take(3).map(|(rows, statement)| format!("{rows} by `{statement}`"));
        shown.collect::<Vec<_>>().join(", ")
    }
}

pub async fn rows(stage: &Stage) -> Result<Vec<Row>> {
    let agent = stage.agent().await?;
    // Ten lines, ten milliseconds, and what `sleep` costs: 800 to 900 lines a second.
    let paced = format!(
        "for ((i = 1; i <= {LINES}; i++)); do echo \"line $i of a build that says a lot\"; ((i % 10)) || sleep 0.01; done"
    );
    let burst = format!("seq -f 'line %.0f of a build that says a lot' {LINES}");
    let mut rows = Vec::new();
    for (name, script) in [("in a steady flow", paced), ("at once", burst)] {
        let before = counted(stage).await?;
        let execution = stage.execute(&["/bin/bash", "-c", &script]).await?;
        let (kind, stamps) = (Kind::ServerSentEvents, Stamps::new(0));
        let watchers = Watchers::connect(kind, WATCHERS, &stage.client, execution.id, 0, &stamps).await?;
        stage.succeeded(execution.id).await?;
        watchers.ended(WITHIN).await?;
        let after = counted(stage).await?;
        let events = stage.client.all_events(execution.id).await?;
        let lines = events.iter().filter(|event| matches!(event.body, EventBody::Log { .. })).count();
        let seconds = match (events.first(), events.last()) {
            (Some(first), Some(last)) => last.at_ms.saturating_sub(first.at_ms) as f64 / 1_000.0,
            _ => 0.0,
        };
        let (objects, d1) = (after.objects - before.objects, after.d1 - before.d1);
        rows.push(
            Row::new(format!("5  rows for {LINES} lines {name}"), grouped((objects + d1) as f64))
                .beside(REFERENCE)
                .note(format!(
                    "D1 {d1}, objects {objects}: {}; {lines} lines in {seconds:.1} s, {WATCHERS} watchers",
                    after.most_since(&before)
                )),
        );
    }
    stage.stop_agent(agent).await?;
    Ok(rows)
}

async fn counted(stage: &Stage) -> Result<Counted> {
    // The last use of a token is recorded a moment after the answer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let answer = stage.client.call(reqwest::Method::GET, "/bench/rows").typed().await;
    answer.context("the Worker does not count rows")
}
