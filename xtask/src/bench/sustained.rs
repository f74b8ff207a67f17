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
/// The first rate tried is what the hub acknowledged when lines were as many as it took; each next is this much of
/// the one before.
const STEP: f64 = 0.75;
const STEPS_MAX: u32 = 10;
/// Lines that one run may make: 40 s at 100,000 lines a second.
const LINES_MAX: usize = 4_000_000;

pub async fn rows(stage: &Stage, seconds: u32) -> Result<Vec<Row>> {
    let mut agent = stage.scripted_agent().await?;
    let mut rows = Vec::new();
    let kind = Kind::ServerSentEvents;
    for (count, reference) in [(1, 2_750.0), (100, 450.0)] {
        let duration = Duration::from_secs(seconds.into());
        let most = as_fast_as_acknowledged(stage, &mut agent, kind, count, duration / 3).await?;
        let (mut rate, mut found) = (most, None);
        for _ in 0..STEPS_MAX {
            let trial = at_rate(stage, &mut agent, kind, count, rate, duration / 4).await?;
            if trial.holds() {
                let whole = at_rate(stage, &mut agent, kind, count, rate, duration).await?;
                if whole.holds() {
                    found = Some((rate, whole));
                    break;
                }
            }
            rate *= STEP;
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

impl Run {
    fn holds(&self) -> bool {
        self.seen.times.most() < LAG_MAX
    }
}

/// Lines a second that the hub acknowledged, whatever became of the watchers.
async fn as_fast_as_acknowledged(
    stage: &Stage,
    agent: &mut ScriptedAgent,
    kind: Kind,
    count: usize,
    duration: Duration,
) -> Result<f64> {
    let stamps = Stamps::new(LINES_MAX);
    let mut writer = stage.written(agent, &stamps).await?;
    let watchers =
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
