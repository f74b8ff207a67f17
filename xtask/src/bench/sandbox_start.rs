//! Row 1: queued → sandbox running, by the events of the plane and of the real container agent, whose clock is the
//! same. Beside it a container agent that asks for work once a second: the first real poll after the execution was
//! queued, and then the same sandbox start.

use std::time::Duration;

use anyhow::{Context, Result};
use shared_contracts::events::{ContainerStatus, Event, EventBody};
use shared_contracts::executions::ExecutionState;
use tokio::sync::watch;

use super::histogram::Histogram;
use super::stage::Stage;
use super::table::{Row, ms, ratio};
use crate::random::now_ms;

const POLL_EVERY: Duration = Duration::from_secs(1);

pub async fn rows(stage: &Stage, executions: u32) -> Result<Vec<Row>> {
    let agent = stage.agent().await?;
    // The first one fills caches that the others find full.
    stage.succeeded(stage.execute(&["true"]).await?.id).await?;
    let (polled, polls) = watch::channel(Vec::new());
    let client = stage.client.clone();
    let poller = tokio::spawn(async move {
        let mut every = tokio::time::interval(POLL_EVERY);
        loop {
            every.tick().await;
            let asked_ms = now_ms();
            if client.list_container_agents(&Default::default()).await.is_ok() {
                polled.send_modify(|polls: &mut Vec<(u64, u64)>| polls.push((asked_ms, now_ms())));
            }
        }
    });
    let meter = stage.meter();
    let (mut whole, mut until_leased, mut queued_and_start) =
        (Histogram::default(), Histogram::default(), Vec::new());
    for number in 0..executions {
        // Spread over the poller's second.
        tokio::time::sleep(Duration::from_millis(u64::from(number * 37 % 100) * 3)).await;
        let execution = stage.execute(&["true"]).await?;
        stage.succeeded(execution.id).await?;
        let events = stage.client.all_events(execution.id).await?;
        let queued =
            at(&events, |body| matches!(body, EventBody::Status { state: ExecutionState::Queued, .. }))?;
        let leased =
            at(&events, |body| matches!(body, EventBody::Status { state: ExecutionState::Leased, .. }))?;
        let running = at(&events, |body| {
            matches!(body, EventBody::ContainerStatus { status: ContainerStatus::Running, .. })
        })?;
        whole.add(Duration::from_millis(running.saturating_sub(queued)));
        until_leased.add(Duration::from_millis(leased.saturating_sub(queued)));
        queued_and_start.push((queued, running.saturating_sub(leased)));
    }
    let load = meter.load();
    tokio::time::sleep(POLL_EVERY + POLL_EVERY / 10).await;
    poller.abort();
    stage.stop_agent(agent).await?;
    let polls = polls.borrow().clone();
    let peer: Histogram = queued_and_start
        .iter()
        .filter_map(|(queued, start)| {
            let (_, answered) = polls.iter().find(|(asked, _)| asked >= queued)?;
            Some(Duration::from_millis(answered - queued + start))
        })
        .collect();
    let show = |times: &Histogram| format!("p50 {}, p95 {}", ms(times.p50()), ms(times.quantile(0.95)));
    Ok(vec![
        Row::new("1  queued → sandbox running", show(&whole))
            .peer(format!("polling each 1 s: {}", show(&peer)), ratio(whole.p50(), peer.p50()))
            .note(format!("{} × `true`, leased after {}; {load}", whole.len(), show(&until_leased))),
    ])
}

fn at(events: &[Event], is_it: impl Fn(&EventBody) -> bool) -> Result<u64> {
    let found = events.iter().find(|event| is_it(&event.body));
    found.map(|event| event.at_ms).context("an execution's log lacks an event of its beginning")
}
