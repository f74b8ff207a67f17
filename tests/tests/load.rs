//! Requirement 000-115: twenty executions at once on one machine, each with 10,000 lines, a hundred watchers on one.

#[cfg(test)]
mod twenty_at_once {
    use std::time::{Duration, Instant};

    use acceptance::agents::{Job, Log, Machine, Tenant, own_plane, shell, soon};
    use shared_contracts::events::LogStream;
    use shared_contracts::executions::Outcome;
    use shared_contracts::tasks::TaskState;
    use tokio::sync::mpsc;

    const EXECUTIONS: usize = 20;
    const LINES: usize = 10_000;
    const WATCHERS: usize = 100;
    const WITHIN: Duration = Duration::from_secs(240);

    /// Server-sent events, looked at only as far as a hundred watchers in one test process can: their ids, and the
    /// last one's name.
    async fn count_events(job: Job, attached: mpsc::Sender<()>) -> u64 {
        let path = format!("/api/sandbox/executions/{}/logs/stream", job.id);
        let mut response = job
            .client
            .call(reqwest::Method::GET, path)
            .header("Accept", "text/event-stream")
            .response()
            .await
            .unwrap();
        let (mut rest, mut last) = (Vec::new(), 0);
        while let Some(bytes) = response.chunk().await.unwrap() {
            rest.extend_from_slice(&bytes);
            let mut at = 0;
            while let Some(length) = rest[at..].iter().position(|byte| *byte == b'\n') {
                let line = &rest[at..at + length];
                at += length + 1;
                if let Some(id) = line.strip_prefix(b"id: ") {
                    let id: u64 = std::str::from_utf8(id).unwrap().parse().unwrap();
                    assert_eq!(id, last + 1, "a gap or a repetition");
                    if last == 0 {
                        attached.send(()).await.unwrap();
                    }
                    last = id;
                } else if line == b"event: complete" {
                    return last;
                } else {
                    assert_ne!(line, b"event: sync", "a watcher that reads was told that it is too slow");
                }
            }
            rest.drain(..at);
        }
        panic!("the stream ended after {last} events without the end");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_end_and_all_logs_are_whole() {
        let plane = own_plane("load").await;
        plane.sql("UPDATE settings SET value = '20' WHERE key = 'sandbox.max_concurrent'").unwrap();
        let tenant = Tenant::of(&plane, 0);
        let project = tenant.project().await;
        // Each runs until all have begun, as far as a sandbox can know: it prints for at least ten seconds.
        let script = "i=0; while [ $i -lt 10 ]; do i=$((i+1)); seq -f 'line %.0f' $((i*1000-999)) $((i*1000)); sleep 1; done";
        let mut input = shell(script);
        input.limits.memory_mb = Some(64);
        let watched = Job::submit(&project, &input).await;
        // 1. A hundred watch before it runs.
        let (attached, mut attachments) = mpsc::channel(WATCHERS);
        let watchers: Vec<_> =
            (0..WATCHERS).map(|_| tokio::spawn(count_events(watched.clone(), attached.clone()))).collect();
        for _ in 0..WATCHERS {
            soon("a watcher is attached", WITHIN, attachments.recv()).await.unwrap();
        }
        let streamed = tokio::spawn(watched.client.watch(watched.id, 0).collect());
        let messages = tokio::spawn(watched.client.watch_socket(watched.id, 0).collect());
        // 2. Nineteen more, then the machine.
        let mut jobs = vec![watched];
        for _ in 1..EXECUTIONS {
            jobs.push(Job::submit(&project, &input).await);
        }
        let begun = Instant::now();
        let machine = Machine::start(&plane, &tenant, EXECUTIONS as u32).await;
        // 3. All end, all logs are whole.
        let mut logs = Vec::new();
        for job in &jobs {
            let log = job.log().await;
            assert_eq!(log.end().outcome, Outcome::Succeeded, "{}", log.end().reason);
            Log::assert_numbered(&log.lines(LogStream::Stdout), LINES);
            assert_eq!(job.record().await.event_count, Some(log.0.len() as u64));
            assert_eq!(job.task().await.state, TaskState::AiReview);
            logs.push(log);
        }
        let mut records = Vec::new();
        for job in &jobs {
            records.push(job.record().await);
        }
        let last_start = records.iter().filter_map(|record| record.started_at_ms).max().unwrap();
        let first_end = records.iter().filter_map(|record| record.ended_at_ms).min().unwrap();
        assert!(last_start < first_end, "they did not run at once: {} ms apart", last_start - first_end);
        for watcher in watchers {
            let seen = soon("a watcher's end", WITHIN, watcher).await.unwrap();
            assert_eq!(seen, logs[0].0.len() as u64);
        }
        assert!(Log::whole(streamed.await.unwrap().unwrap()) == logs[0]);
        assert!(Log::whole(messages.await.unwrap().unwrap()) == logs[0]);
        println!("{EXECUTIONS} executions and {WATCHERS} watchers in {:.1} s", begun.elapsed().as_secs_f64());
        machine.stop().await;
        plane.stop().await.unwrap();
    }
}
