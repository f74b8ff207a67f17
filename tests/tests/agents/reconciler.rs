//! What a crash left between D1 and the Dispatcher, and how the cron repairs it.

use acceptance::agents::{Job, Machine, Tenant, lab};
use acceptance::{Project, now_ms};
use serde_json::Value;
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::ids::ExecutionId;

/// Older than whatever the reconciler leaves to others.
const LONG_AGO_MS: u64 = 10 * 60_000;

/// A pass looks at a hundred of everybody's: one of these tests at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Executions of new tasks as a crash leaves them: in D1, and unknown to the Dispatcher. `count` rows, the
/// first one's id and task given.
async fn orphans(project: &Project, tenant: &Tenant, state: &str, count: u32) -> Vec<Job> {
    let spec = r#"{"coding_agent":"command","command":["/bin/sh","-c","echo repaired"],"environment":{},"limits":{"memory_mb":256,"cpu_cores":1.0,"wall_seconds":60,"processes":64,"disk_mb":64},"artifacts":[],"sandbox_tier":"limited","base_revision":1}"#;
    let generation = u32::from(state != "queued");
    let old = now_ms() - LONG_AGO_MS;
    let (mut jobs, mut sql) = (Vec::new(), String::new());
    for _ in 0..count {
        let task = project.task().await.id;
        let id = ExecutionId::new(old, xtask::random::id_bits().unwrap());
        sql.push_str(&format!(
            "INSERT INTO executions (id, project_id, task_id, owner_id, state, generation, priority, spec, sandbox_tier,
               created_at_ms, changed_at_ms)
             VALUES ('{id}', '{}', '{task}', '{}', '{state}', {generation}, 5, '{spec}', 'limited', {old}, {old});
             UPDATE tasks SET state = 'in_progress', active_execution_id = '{id}' WHERE id = '{task}';",
            project.id, tenant.id
        ));
        jobs.push(Job { client: tenant.client.clone(), project: project.id, task, id });
    }
    lab().sql(&sql).unwrap();
    jobs
}

/// Makes these look as if nothing had moved for long.
fn age(project: &Project) {
    let old = now_ms() - LONG_AGO_MS;
    lab()
        .sql(&format!("UPDATE executions SET changed_at_ms = {old} WHERE project_id = '{}'", project.id))
        .unwrap();
}

fn rows(project: &Project, columns: &str) -> Vec<Value> {
    lab()
        .sql(&format!("SELECT {columns} FROM executions WHERE project_id = '{}' ORDER BY id", project.id))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_nobody_knows_is_queued_again_and_run() {
    let _turn = TURN.lock().await;
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let leased = orphans(&project, &tenant, "leased", 1).await.remove(0);
    let running = orphans(&project, &tenant, "running", 1).await.remove(0);
    let queued = orphans(&project, &tenant, "queued", 1).await.remove(0);
    lab().run_reconciler().await.unwrap();
    for (job, lost_count) in [(&leased, 1), (&running, 1), (&queued, 0)] {
        let record = job.record().await;
        assert_eq!((record.state, record.lost_count), (ExecutionState::Queued, lost_count), "{record:?}");
        assert!(record.queue_position.is_some(), "the Dispatcher knows it now");
    }
    // Twice is once.
    let columns =
        "id, state, generation, lost_count, reason, container_agent_id, stop_requested, ended_at_ms";
    let before = rows(&project, columns);
    age(&project);
    lab().run_reconciler().await.unwrap();
    assert_eq!(rows(&project, columns), before);
    let machine = Machine::start(lab(), &tenant, 3).await;
    for (job, generation) in [(&leased, 2), (&running, 2), (&queued, 1)] {
        let log = job.log().await;
        assert_eq!(log.end().outcome, Outcome::Succeeded);
        assert_eq!(log.printed_under(generation), ["repaired"], "the lease that nobody knew is fenced");
        assert_eq!(job.record().await.generation, generation);
    }
    // What has ended is not looked at again.
    let before = rows(&project, "*");
    lab().run_reconciler().await.unwrap();
    assert_eq!(rows(&project, "*"), before);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_d1_missed_is_recorded() {
    let _turn = TURN.lock().await;
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    let job = Job::script(&project, "echo done").await;
    let log = job.log().await;
    // As if D1 had never heard of it.
    lab()
        .sql(&format!(
            "UPDATE executions SET state = 'running', ended_at_ms = NULL, exit_code = NULL WHERE id = '{0}';
             UPDATE tasks SET state = 'in_progress', active_execution_id = '{0}' WHERE id = '{1}'",
            job.id, job.task
        ))
        .unwrap();
    age(&project);
    lab().run_reconciler().await.unwrap();
    let record = job.record().await;
    assert_eq!((record.state, record.exit_code, record.generation), (ExecutionState::Succeeded, Some(0), 1));
    assert_eq!(job.task().await.state, shared_contracts::tasks::TaskState::AiReview);
    assert_eq!(job.log().await, log, "its log is as it was, and it is not run again");
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pass_looks_at_a_hundred() {
    let _turn = TURN.lock().await;
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let before = now_ms() - LONG_AGO_MS / 2;
    let jobs = orphans(&project, &tenant, "queued", 120).await;
    let untouched = || {
        rows(&project, "changed_at_ms")
            .iter()
            .filter(|row| row["changed_at_ms"].as_u64().unwrap() < before)
            .count()
    };
    assert_eq!(untouched(), 120);
    lab().run_reconciler().await.unwrap();
    let left = untouched();
    assert!((20..120).contains(&left), "{left} of 120 are left after a pass of at most 100");
    lab().run_reconciler().await.unwrap();
    assert_eq!(untouched(), 0);
    for job in [&jobs[0], &jobs[119]] {
        assert!(job.record().await.queue_position.is_some());
    }
    for job in &jobs {
        job.stop().await;
    }
}
