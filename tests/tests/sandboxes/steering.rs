//! One container: who is asked, whose answer counts, and what is passed on.

use acceptance::agents::{ScriptedAgent, Tenant, Writer, ended};
use acceptance::{Answer, refused};
use reqwest::Method;
use shared_contracts::containers::{
    ContainerAnswer, ContainerCleanup, ContainerCommand, ContainerFacts, ContainerId, ContainerState,
    ContainerStats,
};
use shared_contracts::dispatch::FromContainerAgent;
use shared_contracts::executions::Outcome;
use shared_contracts::ids::{ProjectId, TaskId};
use shared_contracts::limits::CLEANUPS_MAX;
use shared_contracts::page::PageQuery;
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::sandboxes::SandboxProvider;

use crate::containers::{facts, leased};
use crate::strong_machine;

fn refusal(kind: ProblemKind, detail: &str) -> ContainerAnswer {
    ContainerAnswer::Refused { problem: Problem::new(kind, detail) }
}

/// Answers the next question, which must be this one.
async fn told(agent: &mut ScriptedAgent, wanted: ContainerCommand, answer: ContainerAnswer) {
    let (request, command) = agent.is_asked().await;
    assert_eq!(command, wanted);
    agent.answers(request, answer).await;
}

#[tokio::test]
async fn every_command_is_passed_on_and_its_answer_back() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    let (mut agent, machine) = strong_machine(&tenant).await;
    let running = leased(&tenant, project, &mut agent).await;
    let id: ContainerId = running.lease.into();
    let claimed = (ProjectId::new(1, 1), TaskId::new(1, 1));
    for (name, command, status) in [
        ("restart", ContainerCommand::Restart { id }, 200),
        ("freeze", ContainerCommand::Freeze { id }, 200),
        ("thaw", ContainerCommand::Thaw { id }, 200),
        ("stop", ContainerCommand::Stop { id }, 202),
    ] {
        let after = ContainerFacts { state: ContainerState::Frozen, restarts: 3, ..facts(&running) };
        // Whose it is, D1 says.
        let claimed = ContainerFacts { project_id: claimed.0, task_id: claimed.1, ..after.clone() };
        let answer = ContainerAnswer::Container { container: claimed };
        let call = client.call(Method::POST, format!("/api/containers/{id}/{name}"));
        let (answer, ()) = tokio::join!(Answer::to(call), told(&mut agent, command, answer));
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let container: shared_contracts::containers::Container =
            serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((container.facts, container.container_agent_id), (after, machine));
    }
    let stats = ContainerStats { at_ms: 9, memory_bytes: 4_096, cpu_percent: 12.5, ..Default::default() };
    let answer = ContainerAnswer::Stats { stats: stats.clone() };
    let asked = told(&mut agent, ContainerCommand::Stats { id }, answer);
    let (found, ()) = tokio::join!(client.get_container_stats(id), asked);
    assert_eq!(found.unwrap(), stats);
    let asked = told(&mut agent, ContainerCommand::Remove { id }, ContainerAnswer::Removed);
    let (removed, ()) = tokio::join!(client.remove_container(id), asked);
    removed.unwrap();
}

#[tokio::test]
async fn a_machines_refusal_comes_in_its_words_and_as_our_problem() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    let (mut agent, _) = strong_machine(&tenant).await;
    let running = leased(&tenant, project, &mut agent).await;
    let id: ContainerId = running.lease.into();
    let mut another = facts(&running);
    another.id.generation = 7;
    for (answer, kind, said) in [
        (refusal(ProblemKind::WrongState, "it runs; stop it first"), ProblemKind::WrongState, "it runs"),
        (refusal(ProblemKind::NotFound, "gone"), ProblemKind::NotFound, "container"),
        (refusal(ProblemKind::Internal, "the disk is full"), ProblemKind::MachineFailed, "the disk is full"),
        (refusal(ProblemKind::Unauthenticated, "who?"), ProblemKind::MachineFailed, "who?"),
        (
            ContainerAnswer::Container { container: facts(&running) },
            ProblemKind::MachineFailed,
            "something else",
        ),
        (ContainerAnswer::Listed { containers: Vec::new() }, ProblemKind::MachineFailed, "something else"),
    ] {
        let asked = told(&mut agent, ContainerCommand::Remove { id }, answer);
        let (result, ()) = tokio::join!(client.remove_container(id), asked);
        let problem = refused(result, kind);
        assert!(problem.detail.contains(said), "{problem}");
    }
    let answer = ContainerAnswer::Container { container: another };
    let asked = told(&mut agent, ContainerCommand::Get { id }, answer);
    let (result, ()) = tokio::join!(client.get_container(id), asked);
    refused(result, ProblemKind::MachineFailed);
    let (result, _) = tokio::join!(client.get_container(id), agent.is_asked());
    let problem = refused(result, ProblemKind::MachineSilent);
    assert!(problem.detail.contains("within 5 s"), "{problem}");
}

#[tokio::test]
async fn only_the_machine_with_the_lease_is_asked_and_only_it_answers() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    let (mut holder, machine) = strong_machine(&tenant).await;
    let running = leased(&tenant, project, &mut holder).await;
    let (mut other, other_id) = strong_machine(&tenant).await;
    let id: ContainerId = running.lease.into();
    let forged = ContainerFacts { image: "forged".into(), ..facts(&running) };
    let (found, ()) = tokio::join!(client.get_container(id), async {
        let (request, _) = holder.is_asked().await;
        for number in [request, request - 1, request + 1, 0, u64::MAX >> 11] {
            other.answers(number, ContainerAnswer::Container { container: forged.clone() }).await;
        }
        // What the Dispatcher has answered, it has read: the forgeries came before.
        other.say(&FromContainerAgent::Heartbeat { leases: Vec::new() }).await;
        other.hears().await;
        holder.answers(request, ContainerAnswer::Container { container: facts(&running) }).await;
    });
    let found = found.unwrap();
    assert_eq!((found.container_agent_id, found.facts), (machine, facts(&running)));

    // Its lease has ended: whoever is connected may have what it left, and who does not know it does not matter.
    let (mut writer, _) = Writer::open(client, id.execution_id, &running.execution_token).await;
    writer.send(1, running.next_sequence, &[ended(Outcome::Succeeded)]).await;
    client.poll_until_ended(id.execution_id, acceptance::agents::SOON).await.unwrap();
    let get = ContainerCommand::Get { id };
    let left = ContainerFacts { state: ContainerState::Stopped, ..facts(&running) };
    let (found, (), ()) = tokio::join!(
        client.get_container(id),
        told(&mut holder, get.clone(), refusal(ProblemKind::NotFound, "no")),
        told(&mut other, get.clone(), ContainerAnswer::Container { container: left.clone() }),
    );
    assert_eq!(
        (found.as_ref().unwrap().container_agent_id, &found.as_ref().unwrap().facts),
        (other_id, &left)
    );
    let absent = || refusal(ProblemKind::NotFound, "no");
    let (found, (), ()) = tokio::join!(
        client.get_container(id),
        told(&mut holder, get.clone(), absent()),
        told(&mut other, get.clone(), absent()),
    );
    refused(found, ProblemKind::NotFound);
    let (found, (), _) =
        tokio::join!(client.get_container(id), told(&mut holder, get, absent()), other.is_asked());
    refused(found, ProblemKind::MachineSilent);
}

#[tokio::test]
async fn what_is_anothers_or_never_was_is_absent_and_nobody_is_asked() {
    let (tenant, stranger) = (Tenant::new(), Tenant::new());
    let project = tenant.project().await.id;
    let (mut agent, _) = strong_machine(&tenant).await;
    let running = leased(&tenant, project, &mut agent).await;
    let id: ContainerId = running.lease.into();
    let (_theirs, _) = strong_machine(&stranger).await;
    refused(stranger.client.get_container(id).await, ProblemKind::NotFound);
    refused(stranger.client.get_container_stats(id).await, ProblemKind::NotFound);
    refused(stranger.client.restart_container(id).await, ProblemKind::NotFound);
    refused(stranger.client.stop_container(id).await, ProblemKind::NotFound);
    refused(stranger.client.freeze_container(id).await, ProblemKind::NotFound);
    refused(stranger.client.thaw_container(id).await, ProblemKind::NotFound);
    refused(stranger.client.remove_container(id).await, ProblemKind::NotFound);
    for generation in [0, 2] {
        let never = ContainerId { generation, ..id };
        refused(tenant.client.stop_container(never).await, ProblemKind::NotFound);
    }
    for text in
        ["x", "exe_01arz3ndektsv4rrffq69g5fav", &format!("{id}.1"), &format!("{}.01", id.execution_id)]
    {
        let call = tenant.client.call(Method::GET, format!("/api/containers/{text}"));
        Answer::to(call).await.problem(ProblemKind::NotFound);
    }
    // The first that the machine hears is the owner's.
    let asked = told(&mut agent, ContainerCommand::Stop { id }, refusal(ProblemKind::WrongState, "stopped"));
    let (result, ()) = tokio::join!(tenant.client.stop_container(id), asked);
    refused(result, ProblemKind::WrongState);
    // Its machine is away: nobody else is asked about what it holds.
    drop(agent);
    let result = tenant.client.get_container(id).await;
    refused(result, ProblemKind::MachineSilent);
}

#[tokio::test]
async fn cleanups_are_recorded_for_the_machines_owner() {
    let (tenant, stranger) = (Tenant::new(), Tenant::new());
    let project = tenant.project().await.id;
    let (mut agent, machine) = strong_machine(&tenant).await;
    let running = leased(&tenant, project, &mut agent).await;
    let cleanup = |generation: u32, at_ms: u64| ContainerCleanup {
        id: ContainerId { generation, ..running.lease.into() },
        provider: SandboxProvider::Oci,
        reason: "its container agent had died".into(),
        at_ms,
    };
    let now = acceptance::now_ms();
    let (first, second) = (cleanup(1, now - 60_000), cleanup(2, now - 50_000));
    let report = |removed: &[ContainerCleanup]| FromContainerAgent::CleanedUp { removed: removed.to_vec() };
    agent.say(&report(&[first.clone(), second.clone()])).await;
    // Told again, as after a lost connection; and one by a clock that is an hour ahead.
    let ahead = cleanup(3, now + 3_600_000);
    agent.say(&report(&[second.clone(), ahead.clone()])).await;
    let list = async |client: &xtask::client::Client| {
        client.list_container_cleanups(machine, &PageQuery::default()).await
    };
    let found = acceptance::agents::eventually("all are recorded", acceptance::agents::SOON, async || {
        Some(list(&tenant.client).await.unwrap().items).filter(|items| items.len() == 3)
    })
    .await;
    assert!(found[0].id == ahead.id && found[0].at_ms < now + 1_800_000, "{found:?}");
    assert_eq!(found[1..], [second, first]);
    refused(list(&stranger.client).await, ProblemKind::NotFound);
    // More than a message may hold is no cleanup.
    agent.say(&report(&vec![cleanup(4, now); CLEANUPS_MAX + 1])).await;
    let heard = agent.hears().await;
    assert!(
        matches!(&heard, acceptance::agents::Said::Message(
            shared_contracts::dispatch::ToContainerAgent::Refused { problem, .. }
        ) if problem.kind == ProblemKind::Malformed),
        "{heard:?}"
    );
    assert_eq!(list(&tenant.client).await.unwrap().items.len(), 3);
}
