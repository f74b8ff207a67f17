//! Patches while an execution runs: what becomes of them is in its log, once, between the events of its writer; and with
//! its own token it may check.

use acceptance::agents::{Job, ScriptedAgent, Tenant, Writer, ended, line, unique};
use acceptance::{Archive, Project, create, edit, refused};
use shared_contracts::append::AppendAnswer;
use shared_contracts::dispatch::LeasedExecution;
use shared_contracts::events::{EventBody, LogStream};
use shared_contracts::executions::Outcome;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::patches::{PatchBatch, PatchOperation, PatchOrigin, ProposePatch};
use shared_contracts::patches::{PatchEventKind, PatchRequest};
use shared_contracts::problem::ProblemKind;

const POEM: &str = "one\ntwo\nthree\n";

struct Running {
    tenant: Tenant,
    project: Project,
    job: Job,
    leased: LeasedExecution,
    /// The lease is held as long as this is.
    _agent: ScriptedAgent,
}

impl Running {
    async fn new() -> Self {
        let tenant = Tenant::new();
        let project = tenant.project_with(Archive::of(&[("poem", POEM)])).await;
        let mut agent = ScriptedAgent::connect(&tenant, &unique("scripted"), 1).await;
        let job = Job::script(&project, "this is never run").await;
        let leased = agent.takes_work().await;
        Self { tenant, project, job, leased, _agent: agent }
    }

    async fn writer(&self) -> (Writer, AppendAnswer) {
        Writer::open(&self.tenant.client, self.job.id, &self.leased.execution_token).await
    }

    fn request(&self, operations: Vec<PatchOperation>) -> PatchRequest {
        let origin = PatchOrigin { execution_id: Some(self.job.id), ..PatchOrigin::default() };
        PatchRequest {
            project_id: Some(self.project.id),
            title: Some("while it runs".into()),
            batch: Some(PatchBatch { operations }),
            origin: Some(origin),
            ..PatchRequest::default()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_a_patch_stands_once_between_the_writers_events() {
    let running = Running::new().await;
    let client = &running.project.client;
    let first = running.leased.next_sequence;
    let (mut writer, _) = running.writer().await;
    writer.send(1, first, &[line("1"), line("2")]).await;
    let kept = client.apply_patch(&running.request(vec![edit("poem", POEM, 2, "zwei\n")])).await.unwrap();
    let id = kept.receipt.patch_batch_id;
    // Asked for again, it is the same event.
    client.apply_patches(id).await.unwrap();
    // The writer counts on as if nothing had been said, and repeats itself as it may.
    let through = AppendAnswer::Acknowledged { through: first + 3 };
    assert_eq!(writer.send(1, first + 1, &[line("2"), line("3"), line("4")]).await, through);
    refused(
        client.apply_patch(&running.request(vec![create("poem", "x\n")])).await,
        ProblemKind::PatchRefused,
    );
    let unreadable =
        PatchRequest { batch: None, text: Some("no patch".into()), ..running.request(Vec::new()) };
    refused(client.apply_patch(&unreadable).await, ProblemKind::PatchRefused);
    client.revert_patch(id).await.unwrap();
    client.revert_patch(id).await.unwrap();
    let (mut writer, ready) = running.writer().await;
    assert_eq!(ready, AppendAnswer::Ready { next_sequence: first + 4 });
    assert_eq!(writer.send(1, first + 5, &[line("6")]).await, AppendAnswer::Gap { wanted: first + 4 });
    writer.send(1, first + 4, &[ended(Outcome::Succeeded)]).await;
    // An ended log takes nothing.
    client.apply_patch(&running.request(vec![create("late", "x\n")])).await.unwrap();
    let log = running.job.log().await;
    assert_eq!(log.lines(LogStream::Stdout), ["1", "2", "3", "4"]);
    let told: Vec<_> = log
        .0
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::PatchEvent(told) => Some((told.kind, told.patch_batch_id == Some(id))),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            (PatchEventKind::Applied, true),
            (PatchEventKind::Refused, false),
            (PatchEventKind::Refused, false),
            (PatchEventKind::Reverted, true)
        ]
    );
    let record = running.job.ends().await;
    assert_eq!(record.event_count, Some(log.0.len() as u64), "the record counts the plane's events too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_checks_and_proposes_and_is_told_what_to_send_instead() {
    let running = Running::new().await;
    let own = running.tenant.client.with_token(&running.leased.execution_token);
    own.check_patches(&running.request(vec![edit("poem", POEM, 2, "zwei\n")])).await.unwrap();
    let astray = || vec![create("new", "n\n"), create("poem", "x\n")];
    let problem = refused(own.check_patches(&running.request(astray())).await, ProblemKind::PatchRefused);
    let id = PatchBatchId::new(acceptance::now_ms(), xtask::random::id_bits().unwrap());
    let proposal = ProposePatch { id: Some(id), ..running.project.batch(astray()) };
    let proposed = own.propose_execution_patch(running.job.id, &proposal).await.unwrap();
    assert_eq!(proposed.outcomes, problem.outcomes);
    assert_eq!(proposed.outcomes.len(), 2);
    // A proposed batch of its project, too; nothing of another's.
    refused(own.check_patches(&PatchRequest::proposed(id)).await, ProblemKind::PatchRefused);
    let other = running.tenant.project().await;
    let elsewhere = PatchRequest { project_id: Some(other.id), ..running.request(astray()) };
    refused(own.check_patches(&elsewhere).await, ProblemKind::NotFound);
    let theirs = other.propose(vec![create("x", "y\n")]).await;
    refused(own.check_patches(&PatchRequest::proposed(theirs.id)).await, ProblemKind::NotFound);
    refused(own.apply_patch(&running.request(astray())).await, ProblemKind::Forbidden);
}
