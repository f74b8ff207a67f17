//! Row 7: joining a log of 10,000 lines late, alone and with 99 others at once.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::stage::Stage;
use super::stamps::Stamps;
use super::table::{Row, ms, ratio};
use super::watchers::{Kind, Watchers};

const LINES: u32 = 10_000;
const WATCHERS: usize = 100;
const ALONE: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);

pub async fn rows(stage: &Stage) -> Result<Vec<Row>> {
    let mut agent = stage.scripted_agent().await?;
    let stamps = Stamps::new(0);
    let mut writer = stage.written(&mut agent, &stamps).await?;
    for _ in 0..LINES / 100 {
        writer.make_lines(100)?;
        writer.drain().await?;
    }
    let (execution, head) = (writer.lease.execution_id, writer.last());
    let mut rows = Vec::new();
    for kind in [Kind::ServerSentEvents, Kind::WebSocket] {
        let join = async |count: usize| -> Result<(Duration, Duration)> {
            let (meter, started) = (stage.meter(), Instant::now());
            let mut watchers = Watchers::connect(kind, count, &stage.client, execution, 0, &stamps).await?;
            watchers.reach(head, WITHIN).await?;
            Ok((started.elapsed(), meter.worker_cpu()))
        };
        let mut alone = Vec::new();
        for _ in 0..ALONE {
            alone.push(join(1).await?.0);
        }
        alone.sort();
        let one = alone.get(ALONE / 2).copied().unwrap_or_default();
        let (all, cpu) = join(WATCHERS).await?;
        let share = ratio(one * WATCHERS as u32, all);
        rows.push(
            Row::new(format!("7  {WATCHERS} {} join late", kind.name()), ms(all))
                .beside(format!("one alone: {}", ms(one)))
                .note(format!("= {share:.2} × 100 × one; {LINES} lines; workerd CPU {}", ms(cpu))),
        );
    }
    stage.finish(&agent, writer).await?;
    Ok(rows)
}
