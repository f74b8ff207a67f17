//! Row 2: from the moment an event is handed to the hub's socket until a watcher has it, at 100 events a second.
//! Beside it the same writer that gathers for a second, as a log flush does: there an event's time begins when it
//! is made.

use std::time::Duration;

use anyhow::Result;

use super::histogram::Histogram;
use super::load::Load;
use super::scripted_agent::ScriptedAgent;
use super::stage::Stage;
use super::stamps::Stamps;
use super::table::{Row, ms, ratio};
use super::watchers::{Kind, Watchers};

const EVENTS_PER_SECOND: u32 = 100;
const SETTLE: Duration = Duration::from_millis(300);
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// Watchers, and the p50 in ms that a comparable TypeScript plane measured on such a machine.
const CASES: [(usize, &str); 3] = [(1, "0.95 ms"), (20, "1.5 ms"), (100, "2.8 ms")];

pub async fn rows(stage: &Stage, seconds: u32) -> Result<Vec<Row>> {
    let mut agent = stage.scripted_agent().await?;
    let mut rows = Vec::new();
    let (flushed, _) =
        measure(stage, &mut agent, Kind::ServerSentEvents, 20, seconds, EVENTS_PER_SECOND).await?;
    for kind in [Kind::ServerSentEvents, Kind::WebSocket] {
        for (count, reference) in CASES {
            let (times, load) = measure(stage, &mut agent, kind, count, seconds, 1).await?;
            let plural = if count == 1 { "" } else { "s" };
            let row = Row::new(format!("2  event → {count} {} watcher{plural}", kind.name()), show(&times))
                .peer(format!("1 s flush: p50 {}", ms(flushed.p50())), ratio(times.p50(), flushed.p50()))
                .note(format!("reference p50 {reference}; {} times; {load}", times.len()));
            rows.push(row);
        }
    }
    Ok(rows)
}

fn show(times: &Histogram) -> String {
    let [p95, p99] = [0.95, 0.99].map(|share| ms(times.quantile(share)));
    format!("p50 {}, p95 {p95}, p99 {p99}", ms(times.p50()))
}

/// Events are made every 10 ms; every `gathered` of them are sent.
async fn measure(
    stage: &Stage,
    agent: &mut ScriptedAgent,
    kind: Kind,
    count: usize,
    seconds: u32,
    gathered: u32,
) -> Result<(Histogram, Load)> {
    let total = seconds * EVENTS_PER_SECOND;
    let stamps = Stamps::new(total as usize + 1_000);
    let mut writer = stage.written(agent, &stamps).await?;
    let watchers =
        Watchers::connect(kind, count, &stage.client, writer.lease.execution_id, writer.last(), &stamps)
            .await?;
    tokio::time::sleep(SETTLE).await;
    let meter = stage.meter();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
    for number in 1..=total {
        tick.tick().await;
        writer.make_lines(1)?;
        if number % gathered == 0 {
            writer.flush().await?;
        }
    }
    let load = meter.load();
    writer.drain().await?;
    stage.finish(agent, writer).await?;
    Ok((watchers.ended(ENDED_WITHIN).await?.times, load))
}
