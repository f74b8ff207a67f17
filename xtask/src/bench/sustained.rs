//! Row 4: the highest rate of lines through one execution at which no watcher is ever a second behind. A line's
//! time begins when it is due, so what the hub slows down counts as lag.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::histogram::Histogram;
use super::load::Load;
use super::scripted_agent::ScriptedAgent;
use super::stage::Stage;
use super::stamps::Stamps;
use super::table::{Row, grouped, ms};
use super::watchers::{Kind, Seen, Watchers};

const LAG_MAX: Duration = Duration::from_secs(1);
/// As the container agent coalesces.
const GATHER: Duration = Duration::from_millis(25);
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// From the rate that the hub acknowledged when lines were as many as it took.
const SHARES: [f64; 7] = [1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.12];
/// Lines that one run may make: 40 s at 100,000 lines a second.
const LINES_MAX: usize = 4_000_000;

pub async fn rows(stage: &Stage, seconds: u32) -> Result<Vec<Row>> {
    let mut agent = stage.scripted_agent().await?;
    let mut rows = Vec::new();
    for (kind, count, reference) in [
        (Kind::ServerSentEvents, 1, 2_750.0),
        (Kind::ServerSentEvents, 100, 450.0),
        (Kind::WebSocket, 100, 450.0),
    ] {
        let duration = Duration::from_secs(seconds.into());
        let most = as_fast_as_acknowledged(stage, &mut agent, kind, count, duration / 3).await?;
        let mut found = None;
        for share in SHARES {
            let rate = most * share;
            let run = at_rate(stage, &mut agent, kind, count, rate, duration).await?;
            if run.seen.times.most() < LAG_MAX {
                found = Some((rate, run));
                break;
            }
        }
        let what = format!("4  lines/s, {count} {} watchers", kind.name());
        let Some((rate, run)) = found else {
            rows.push(Row::new(what, "no rate held").beside(format!("reference {}", grouped(reference))));
            continue;
        };
        let sent = run.seen.bytes as f64 / duration.as_secs_f64() / 1e6;
        rows.push(
            Row::new(what, format!("{} lines/s", grouped(rate)))
                .peer(format!("reference {}", grouped(reference)), rate / reference)
                .note(format!(
                    "lag p50 {}, most {}; {sent:.0} MB/s out; acknowledged at most {}/s; {}",
                    ms(run.seen.times.p50()),
                    ms(run.seen.times.most()),
                    grouped(most),
                    run.load
                )),
        );
    }
    Ok(rows)
}

struct Run {
    seen: Seen,
    load: Load,
}

/// Lines a second that the hub acknowledged and every watcher had at the end.
async fn as_fast_as_acknowledged(
    stage: &Stage,
    agent: &mut ScriptedAgent,
    kind: Kind,
    count: usize,
    duration: Duration,
) -> Result<f64> {
    let stamps = Stamps::new(LINES_MAX);
    let mut writer = stage.written(agent, &stamps).await?;
    let mut watchers =
        Watchers::connect(kind, count, &stage.client, writer.lease.execution_id, writer.last(), &stamps)
            .await?;
    let (before, started) = (writer.last(), Instant::now());
    while started.elapsed() < duration && writer.last() < stamps.capacity() {
        writer.make_lines(500)?;
        writer.flush().await?;
        while writer.is_window_full() {
            writer.answered().await?;
            writer.flush().await?;
        }
        tokio::task::yield_now().await;
    }
    writer.drain().await?;
    // A watcher that the hub let go for being slow never gets there: then what was acknowledged is the bound.
    let _ = watchers.reach(writer.last(), LAG_MAX * 3).await;
    let rate = (writer.last() - before) as f64 / started.elapsed().as_secs_f64();
    drop(watchers);
    stage.finish(agent, writer).await?;
    Ok(rate)
}

async fn at_rate(
    stage: &Stage,
    agent: &mut ScriptedAgent,
    kind: Kind,
    count: usize,
    rate: f64,
    duration: Duration,
) -> Result<Run> {
    let stamps = Stamps::new(LINES_MAX);
    let mut writer = stage.written(agent, &stamps).await?;
    let mut watchers =
        Watchers::connect(kind, count, &stage.client, writer.lease.execution_id, writer.last(), &stamps)
            .await?;
    let meter = stage.meter();
    let (before, started) = (writer.last(), Instant::now());
    let mut tick = tokio::time::interval(GATHER);
    while started.elapsed() < duration {
        tick.tick().await;
        let due = (started.elapsed().as_secs_f64() * rate) as u64;
        let made = writer.last() - before;
        writer.make_lines(u32::try_from(due.saturating_sub(made)).unwrap_or(u32::MAX))?;
        writer.flush().await?;
    }
    let load = meter.load();
    let in_time = async {
        writer.drain().await?;
        watchers.reach(writer.last(), LAG_MAX).await
    };
    let is_in_time = tokio::time::timeout(LAG_MAX * 2, in_time).await.is_ok_and(|reached| reached.is_ok());
    if !is_in_time {
        drop(watchers);
        writer.drain().await?;
        stage.finish(agent, writer).await?;
        return Ok(Run { seen: behind(), load });
    }
    stage.finish(agent, writer).await?;
    Ok(Run { seen: watchers.ended(ENDED_WITHIN).await?, load })
}

/// What a run counts as in which someone never caught up.
fn behind() -> Seen {
    Seen { times: [LAG_MAX * 10].into_iter().collect::<Histogram>(), ..Seen::default() }
}
