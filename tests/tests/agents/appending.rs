//! The append protocol, spoken by hand: what a hub believes, from whom.

use acceptance::agents::{Job, Said, ScriptedAgent, Tenant, Writer, batch, ended, eventually, line, unique};
use acceptance::{create, refused};
use shared_contracts::append::AppendAnswer;
use shared_contracts::artifacts::{Artifact, ArtifactType, UploadArtifact};
use shared_contracts::dispatch::{FromContainerAgent, LeasedExecution, ToContainerAgent};
use shared_contracts::events::LogStream;
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ArtifactId, PatchBatchId};
use shared_contracts::limits::{APPEND_BYTES_MAX, LEASE_SECONDS};
use shared_contracts::patches::{PatchSummary, ProposePatch};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::ProblemKind;
use std::time::{Duration, Instant};
use xtask::client::{Client, ClientError};

/// A scripted container agent that holds the lease of a job.
struct Held {
    tenant: Tenant,
    name: String,
    agent: ScriptedAgent,
    job: Job,
    leased: LeasedExecution,
}

impl Held {
    async fn new() -> Self {
        let (tenant, name) = (Tenant::new(), unique("scripted"));
        let project = tenant.project().await;
        let mut agent = ScriptedAgent::connect(&tenant, &name, 4).await;
        let job = Job::script(&project, "this is never run").await;
        let leased = agent.takes_work().await;
        assert_eq!(leased.lease.execution_id, job.id);
        Self { tenant, name, agent, job, leased }
    }

    async fn writer(&self) -> Writer {
        let (writer, first) =
            Writer::open(&self.tenant.client, self.job.id, &self.leased.execution_token).await;
        assert_eq!(first, AppendAnswer::Ready { next_sequence: self.leased.next_sequence });
        writer
    }

    /// What the machine does besides logging, with this lease's token.
    async fn posts(&self) -> (Result<Artifact, ClientError>, Result<PatchSummary, ClientError>) {
        let client = self.tenant.client.with_token(&self.leased.execution_token);
        (upload(&client, &self.job).await, propose(&client, &self.job).await)
    }
}

async fn upload(client: &Client, job: &Job) -> Result<Artifact, ClientError> {
    let about = UploadArtifact {
        path: WorkspacePath::parse("late.txt").unwrap(),
        artifact_type: ArtifactType::File,
        size_bytes: 4,
        sha256: Sha256::of(b"late"),
    };
    let id = ArtifactId::new(acceptance::now_ms(), xtask::random::id_bits().unwrap());
    client.upload_artifact(job.id, id, &about, b"late".to_vec()).await
}

async fn propose(client: &Client, job: &Job) -> Result<PatchSummary, ClientError> {
    let project = acceptance::Project { client: client.clone(), id: job.project };
    let id = PatchBatchId::new(acceptance::now_ms(), xtask::random::id_bits().unwrap());
    let proposal = ProposePatch { id: Some(id), ..project.batch(vec![create("late.txt", "late\n")]) };
    client.propose_execution_patch(job.id, &proposal).await.map(|proposed| proposed.summary)
}

fn lines(first: u64, last: u64) -> Vec<shared_contracts::events::EventBody> {
    (first..=last).map(|number| line(&format!("line {number}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_stored_once_however_often_it_is_sent() {
    let held = Held::new().await;
    let first = held.leased.next_sequence;
    assert_eq!(first, 3, "`queued` and `leased` are the plane's own");
    let mut writer = held.writer().await;
    let through = AppendAnswer::Acknowledged { through: first + 4 };
    assert_eq!(writer.send(1, first, &lines(1, 5)).await, through);
    assert_eq!(writer.send(1, first, &lines(1, 5)).await, through, "the same again");
    assert_eq!(writer.send(1, first + 2, &lines(3, 5)).await, through, "a part of it again");
    let through = AppendAnswer::Acknowledged { through: first + 7 };
    assert_eq!(writer.send(1, first + 3, &lines(4, 8)).await, through, "old and new together");
    // A connection that broke: the next one learns where to go on.
    let (mut writer, ready) =
        Writer::open(&held.tenant.client, held.job.id, &held.leased.execution_token).await;
    assert_eq!(ready, AppendAnswer::Ready { next_sequence: first + 8 });
    // Several on the way at once are answered in order.
    for number in 9..=20 {
        writer.post(batch(1, first + number - 1, &lines(number, number))).await;
    }
    for number in 9..=20 {
        assert_eq!(writer.answer().await, AppendAnswer::Acknowledged { through: first + number - 1 });
    }
    writer.send(1, first + 20, &[ended(Outcome::Succeeded)]).await;
    let log = held.job.log().await;
    let wanted: Vec<_> = (1..=20).map(|number| format!("line {number}")).collect();
    assert_eq!(log.lines(LogStream::Stdout), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_and_broken_messages_store_nothing() {
    let held = Held::new().await;
    let first = held.leased.next_sequence;
    let mut writer = held.writer().await;
    assert_eq!(writer.send(1, first, &lines(1, 2)).await, AppendAnswer::Acknowledged { through: first + 1 });
    assert_eq!(writer.send(1, first + 3, &lines(4, 5)).await, AppendAnswer::Gap { wanted: first + 2 });
    let good = batch(1, first + 2, &lines(3, 5));
    let skipping = good.replace(&format!("\"sequence\":{}", first + 3), "\"sequence\":99");
    let unknown = good.replace("\"type\":\"log\"", "\"type\":\"rumour\"");
    let foreign = good.replacen("\"generation\":1,\"at_ms\"", "\"generation\":2,\"at_ms\"", 1);
    let short = good.replace("\"count\":3", "\"count\":4");
    let large = batch(1, first + 2, &[line(&"x".repeat(APPEND_BYTES_MAX))]);
    for broken in ["".into(), "nonsense".into(), skipping, unknown, foreign, short, large] {
        assert_ne!(broken, good, "the test breaks it");
        let answer = writer.send_text(broken.clone()).await;
        assert!(matches!(answer, AppendAnswer::Refused { .. }), "{answer:?} to {:.200}", broken);
    }
    // All of a message or nothing: none of the good events before a broken one was kept.
    let page = held.job.client.all_events(held.job.id).await.unwrap();
    assert_eq!(page.last().unwrap().sequence, first + 1);
    assert_eq!(writer.send_text(good).await, AppendAnswer::Acknowledged { through: first + 4 });
    held.job.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_lease_is_fenced_and_its_posts_are_refused() {
    let mut held = Held::new().await;
    let first = held.leased.next_sequence;
    let mut old = held.writer().await;
    old.send(1, first, &lines(1, 3)).await;
    let (artifact, patch) = held.posts().await;
    assert_eq!(artifact.unwrap().execution_id, held.job.id);
    patch.unwrap();

    // Given up: it waits again, and the same machine is offered it again.
    let lease = held.leased.lease;
    held.agent.say(&FromContainerAgent::Abandon { lease, reason: "as the test says".into() }).await;
    let offered = held.agent.is_offered().await;
    assert_eq!(offered, held.job.id);
    assert!(matches!(old.answer().await, AppendAnswer::Fenced { generation: 1, .. }), "the writer is told");
    // Between two leases nobody may write.
    let answer = old.send(1, first + 4, &lines(4, 4)).await;
    assert!(matches!(answer, AppendAnswer::Fenced { .. }), "{answer:?}");
    let (artifact, patch) = held.posts().await;
    refused(artifact, ProblemKind::Conflict);
    refused(patch, ProblemKind::Conflict);

    held.agent.say(&FromContainerAgent::Accept { execution_id: offered }).await;
    let Said::Message(ToContainerAgent::Leased(second)) = held.agent.hears().await else {
        panic!("no lease")
    };
    assert_eq!(second.lease.generation, 2);
    assert_eq!(second.next_sequence, first + 5, "`lost` and `leased` stand between");
    let answer = old.send(1, second.next_sequence, &lines(4, 4)).await;
    assert!(matches!(answer, AppendAnswer::Fenced { generation: 2, .. }), "{answer:?}");
    let (_, answer) = Writer::open(&held.tenant.client, held.job.id, &held.leased.execution_token).await;
    assert!(matches!(answer, AppendAnswer::Fenced { generation: 2, .. }), "{answer:?}");
    let (artifact, patch) = held.posts().await;
    refused(artifact, ProblemKind::Conflict);
    refused(patch, ProblemKind::Conflict);

    let (mut new, ready) = Writer::open(&held.tenant.client, held.job.id, &second.execution_token).await;
    assert_eq!(ready, AppendAnswer::Ready { next_sequence: second.next_sequence });
    let bodies = [line("line 1"), ended(Outcome::Succeeded)];
    let through = second.next_sequence + 1;
    assert_eq!(new.send(2, second.next_sequence, &bodies).await, AppendAnswer::Acknowledged { through });
    let log = held.job.log().await;
    assert_eq!(log.printed_under(1), ["line 1", "line 2", "line 3"]);
    assert_eq!(log.printed_under(2), ["line 1"]);
    // The end is the end, for the lease that wrote it too.
    let answer = new.send(2, through + 1, &lines(2, 2)).await;
    assert!(matches!(answer, AppendAnswer::Fenced { .. }), "{answer:?}");
    let client = held.tenant.client.with_token(&second.execution_token);
    refused(upload(&client, &held.job).await, ProblemKind::Conflict);
    refused(propose(&client, &held.job).await, ProblemKind::Conflict);
    assert_eq!(held.job.log().await, log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_renewed_expires() {
    let mut held = Held::new().await;
    let first = held.leased.next_sequence;
    let mut writer = held.writer().await;
    writer.send(1, first, &lines(1, 1)).await;
    let granted = Instant::now();
    // It is there, and silent. Writing is no heartbeat.
    let lost = held
        .job
        .event("`lost`", |event| matches!(event.body, shared_contracts::events::EventBody::Lost { .. }))
        .await;
    let took = granted.elapsed();
    let slack = Duration::from_secs(5);
    assert!(took <= Duration::from_secs(LEASE_SECONDS) + slack, "it took {took:?}");
    assert!(took > Duration::from_secs(LEASE_SECONDS) - slack, "it took only {took:?}");
    assert_eq!(lost.sequence, first + 1);
    eventually("it waits again", acceptance::agents::SOON, async || {
        (held.job.record().await.state == ExecutionState::Queued).then_some(())
    })
    .await;
    let (artifact, patch) = held.posts().await;
    refused(artifact, ProblemKind::Conflict);
    refused(patch, ProblemKind::Conflict);
    // A machine that comes back with it is told that it is gone.
    assert_eq!(held.agent.is_offered().await, held.job.id);
    let lease = held.leased.lease;
    let (_again, gone) = ScriptedAgent::reconnect(&held.tenant, &held.name, 4, vec![lease]).await;
    assert_eq!(gone, [lease]);
    held.job.stop().await;
    assert_eq!(held.job.ends().await.lost_count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_a_lease_and_renew_its_token() {
    let mut held = Held::new().await;
    let lease = held.leased.lease;
    let stranger = shared_contracts::dispatch::Lease { generation: 7, ..lease };
    let beats = Duration::from_secs(LEASE_SECONDS) + Duration::from_secs(6);
    let begun = Instant::now();
    let mut token = String::new();
    while begun.elapsed() < beats {
        held.agent.say(&FromContainerAgent::Heartbeat { leases: vec![lease, stranger] }).await;
        let Said::Message(ToContainerAgent::HeartbeatAnswer { gone, renewed }) = held.agent.hears().await
        else {
            panic!("a heartbeat is answered");
        };
        assert_eq!(gone, [stranger]);
        assert_eq!(renewed.len(), 1);
        assert_eq!(renewed[0].lease, lease);
        token.clone_from(&renewed[0].execution_token);
        // The rhythm of heartbeats, not a wait for something.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    assert_ne!(token, held.leased.execution_token);
    let (mut writer, ready) = Writer::open(&held.tenant.client, held.job.id, &token).await;
    assert_eq!(ready, AppendAnswer::Ready { next_sequence: held.leased.next_sequence });
    writer.send(1, held.leased.next_sequence, &[ended(Outcome::Succeeded)]).await;
    let record = held.job.ends().await;
    assert_eq!((record.state, record.generation, record.lost_count), (ExecutionState::Succeeded, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executions_token_opens_that_execution_only() {
    let mut held = Held::new().await;
    let project = held.tenant.project().await;
    let other = Job::script(&project, "this is never run").await;
    let _other_lease = held.agent.takes_work().await;
    let client = held.tenant.client.with_token(&held.leased.execution_token);
    refused(upload(&client, &other).await, ProblemKind::NotFound);
    refused(propose(&client, &other).await, ProblemKind::NotFound);
    let append = format!("/api/sandbox/executions/{}/logs/append", other.id);
    match client.open_socket(&append).await {
        Err(ClientError::Socket { source, .. }) => match *source {
            tokio_tungstenite::tungstenite::Error::Http(response) => assert_eq!(response.status(), 404),
            error => panic!("{error}"),
        },
        other => panic!("the hub took the connection: {other:?}"),
    }
    // Nor does it read what only people may read, nor the workspace of another project.
    refused(client.get_execution(held.job.id).await, ProblemKind::Forbidden);
    assert_eq!(client.get_manifest(held.job.project, Some(1)).await.unwrap().len(), 1);
    refused(client.get_manifest(project.id, Some(1)).await, ProblemKind::NotFound);
    held.job.stop().await;
    other.stop().await;
}
