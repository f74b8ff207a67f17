//! SQL on `executions`, and the moves of `tasks` that commit with an execution's.

use shared_contracts::dispatch::Lease;
use shared_contracts::events::Usage;
use shared_contracts::executions::{Execution, ExecutionSpec, Outcome as Ended};
use shared_contracts::ids::{ContainerAgentId, ExecutionId, OwnerId, PatchBatchId, ProjectId, TaskId};
use shared_contracts::page::PageQuery;
use shared_contracts::sandboxes::{SandboxProvider, SandboxTier};
use shared_contracts::tasks::TaskState;

use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::paging;

macro_rules! record {
    () => {
        "json_object('id', id, 'project_id', project_id, 'task_id', task_id, 'owner_id', owner_id, 'state', state,
          'generation', generation, 'priority', priority, 'spec', json(spec),
          'container_agent_id', container_agent_id, 'queue_position', NULL,
          'stop_requested', json(iif(stop_requested, 'true', 'false')),
          'exit_code', exit_code, 'exit_signal', exit_signal, 'reason', reason, 'patch_batch_id', patch_batch_id,
          'retry_of', retry_of, 'lost_count', lost_count, 'memory_peak_bytes', memory_peak_bytes, 'cpu_ms', cpu_ms,
          'event_count', event_count, 'created_at_ms', created_at_ms, 'started_at_ms', started_at_ms,
          'ended_at_ms', ended_at_ms)"
    };
}

pub const SETTINGS: &str =
    "SELECT json_group_object(key, value) AS record FROM settings WHERE category = 'sandbox'";

/// Takes the task, if it is there to be taken.
pub const TAKE_TASK: &str = "UPDATE tasks
  SET state = 'in_progress', active_execution_id = ?4, error = NULL, updated_at_ms = ?5
  WHERE id = ?1 AND project_id = ?2 AND state = 'todo'
    AND EXISTS (SELECT 1 FROM projects WHERE projects.id = ?2 AND owner_id = ?3)";

/// Only for whoever holds the task: in one transaction with [`TAKE_TASK`], this is what keeps executions to one.
pub const INSERT: &str = "INSERT INTO executions
  (id, project_id, task_id, owner_id, state, priority, spec, sandbox_tier, retry_of, created_at_ms, changed_at_ms)
  SELECT ?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7, ?8, ?9, ?9 FROM tasks
  WHERE tasks.id = ?3 AND active_execution_id = ?1 ON CONFLICT (id) DO NOTHING";

pub const LIST: &str = crate::page_of!(record!(), "executions WHERE task_id = ?1");

pub const GET: &str =
    concat!("SELECT ", record!(), " AS record FROM executions WHERE id = ?1 AND owner_id = ?2");

/// `?1` is a JSON array of ids.
pub const OWNED: &str =
    "SELECT json_group_array(json_object('id', id, 'project_id', project_id, 'task_id', task_id)) AS record
  FROM executions WHERE id IN (SELECT value FROM json_each(?1)) AND owner_id = ?2";

/// Whether a lease stands: nobody took it over, and the execution has not ended. A lease that was lost keeps its
/// generation until the next one: the state says that nobody holds it.
pub const HELD: &str = "SELECT '1' AS record FROM executions
  WHERE id = ?1 AND generation = ?2 AND state IN ('leased', 'running')";

/// The Dispatcher alone grants leases; the generation keeps an older grant from overtaking a newer one.
pub const LEASE: &str = "UPDATE executions
  SET state = 'leased', generation = ?2, container_agent_id = ?3, changed_at_ms = ?4
  WHERE id = ?1 AND generation < ?2 AND ended_at_ms IS NULL AND stop_requested = 0";

pub const WORK: &str = "SELECT json_object('project_id', executions.project_id, 'task_id', task_id,
    'owner_id', executions.owner_id, 'task_title', title, 'prompt', tasks.description, 'spec', json(spec),
    'denied_paths', json(denied_paths), 'egress', json(egress)) AS record
  FROM executions JOIN tasks ON tasks.id = task_id JOIN projects ON projects.id = executions.project_id
  WHERE executions.id = ?1";

pub const RUNNING: &str =
    "UPDATE executions SET state = 'running', started_at_ms = coalesce(started_at_ms, ?3),
  changed_at_ms = ?3 WHERE id = ?1 AND generation = ?2 AND state = 'leased'";

pub const REQUEUE: &str = "UPDATE executions SET state = 'queued', lost_count = ?3, reason = ?4,
  container_agent_id = NULL, changed_at_ms = ?5
  WHERE id = ?1 AND generation <= ?2 AND state IN ('leased', 'running')";

pub const END: &str = "UPDATE executions SET state = ?3, exit_code = ?4, exit_signal = ?5, reason = ?6,
  patch_batch_id = coalesce(?7, patch_batch_id), memory_peak_bytes = ?8, cpu_ms = ?9, event_count = ?10,
  changed_at_ms = ?11, ended_at_ms = ?11
  WHERE id = ?1 AND generation <= ?2 AND ended_at_ms IS NULL";

pub const RELEASE_TASK: &str = "UPDATE tasks SET state = ?3, active_execution_id = NULL, error = ?4,
  updated_at_ms = ?5 WHERE id = ?1 AND active_execution_id = ?2
  AND EXISTS (SELECT 1 FROM executions WHERE executions.id = ?2 AND ended_at_ms IS NOT NULL)";

pub const REQUEST_STOP: &str = "UPDATE executions SET stop_requested = 1
  WHERE id = ?1 AND owner_id = ?2 AND ended_at_ms IS NULL";

/// What has not moved for a while, oldest first.
pub const UNMOVED: &str = "SELECT json_group_array(json_object('id', id, 'project_id', project_id,
    'task_id', task_id, 'owner_id', owner_id, 'state', state, 'generation', generation, 'priority', priority,
    'sandbox_tier', sandbox_tier, 'memory_mb', spec ->> '$.limits.memory_mb',
    'cpu_cores', spec ->> '$.limits.cpu_cores', 'sandbox_provider', spec ->> '$.sandbox_provider',
    'image', spec ->> '$.image', 'lost_count', lost_count,
    'stop_requested', json(iif(stop_requested, 'true', 'false')))) AS record
  FROM (SELECT * FROM executions WHERE state IN ('queued', 'leased', 'running') AND changed_at_ms < ?1
    ORDER BY changed_at_ms LIMIT ?2)";

/// So that the next pass looks at others first.
pub const LOOKED_AT: &str = "UPDATE executions SET changed_at_ms = ?2 WHERE id = ?1 AND ended_at_ms IS NULL";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("SETTINGS", SETTINGS),
    ("TAKE_TASK", TAKE_TASK),
    ("INSERT", INSERT),
    ("LIST", LIST),
    ("GET", GET),
    ("OWNED", OWNED),
    ("HELD", HELD),
    ("LEASE", LEASE),
    ("WORK", WORK),
    ("RUNNING", RUNNING),
    ("REQUEUE", REQUEUE),
    ("END", END),
    ("RELEASE_TASK", RELEASE_TASK),
    ("REQUEST_STOP", REQUEST_STOP),
    ("UNMOVED", UNMOVED),
    ("LOOKED_AT", LOOKED_AT),
];

/// The defaults and ceilings of `sandbox.*`; what is missing or unreadable falls back to the built-in limit.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Settings(std::collections::BTreeMap<String, String>);

impl Settings {
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.0.get(key).and_then(|value| value.parse().ok())
    }
}

pub async fn settings(db: &Db) -> Outcome<Settings> {
    Ok(db.typed(SETTINGS, &[]).await?.unwrap_or_default())
}

/// Whether this execution took the task, now or in an earlier try of the same request.
pub async fn insert(db: &Db, execution: &Execution) -> Outcome<bool> {
    let spec = json(&execution.spec)?;
    let id = execution.id.to_string();
    let (project, task) = (execution.project_id.to_string(), execution.task_id.to_string());
    let owner = execution.owner_id.to_string();
    let take = args![task.as_str(), project.as_str(), owner.as_str(), id.as_str(), execution.created_at_ms];
    let insert = args![
        id.as_str(),
        project.as_str(),
        task.as_str(),
        owner.as_str(),
        execution.priority,
        spec,
        execution.spec.sandbox_tier.as_str(),
        execution.retry_of.map(|id| id.to_string()),
        execution.created_at_ms,
    ];
    let changed = db.change_all(&[(TAKE_TASK, take), (INSERT, insert)]).await?;
    if changed.last().copied().unwrap_or(0) > 0 {
        return Ok(true);
    }
    Ok(get(db, execution.owner_id, execution.id).await?.is_some())
}

fn json(value: &impl serde::Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::internal("writing a record", error))
}

pub async fn list(db: &Db, task_id: TaskId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, task_id.to_string(), page).await
}

pub async fn get(db: &Db, owner_id: OwnerId, id: ExecutionId) -> Outcome<Option<Execution>> {
    db.typed(GET, args![id.to_string(), owner_id.to_string()]).await
}

/// Whose an execution is.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Owned {
    pub id: ExecutionId,
    pub project_id: ProjectId,
    pub task_id: TaskId,
}

pub async fn owned(db: &Db, owner_id: OwnerId, ids: &[ExecutionId]) -> Outcome<Vec<Owned>> {
    Ok(db.typed(OWNED, args![json(&ids)?, owner_id.to_string()]).await?.unwrap_or_default())
}

pub async fn is_held(db: &Db, lease: Lease) -> Outcome<bool> {
    let args = args![lease.execution_id.to_string(), lease.generation];
    Ok(db.record(HELD, args).await?.is_some())
}

/// What a container agent is told about its work.
#[derive(Debug, serde::Deserialize)]
pub struct Work {
    pub project_id: ProjectId,
    pub task_id: TaskId,
    pub owner_id: OwnerId,
    pub task_title: String,
    pub prompt: String,
    pub spec: ExecutionSpec,
    pub denied_paths: Vec<String>,
    pub egress: Vec<String>,
}

/// None where the execution is no longer there to be leased.
pub async fn lease(
    db: &Db,
    lease: Lease,
    container_agent_id: ContainerAgentId,
    now_ms: u64,
) -> Outcome<Option<Work>> {
    let id = lease.execution_id.to_string();
    let args = args![id.as_str(), lease.generation, container_agent_id.to_string(), now_ms];
    if db.change(LEASE, args).await? == 0 {
        return Ok(None);
    }
    db.typed(WORK, args![id]).await
}

pub async fn running(db: &Db, lease: Lease, at_ms: u64) -> Outcome<()> {
    db.change(RUNNING, args![lease.execution_id.to_string(), lease.generation, at_ms]).await.map(drop)
}

/// It waits again, unless it does already.
pub async fn requeue(db: &Db, lease: Lease, lost_count: u32, reason: &str, now_ms: u64) -> Outcome<()> {
    let args = args![lease.execution_id.to_string(), lease.generation, lost_count, reason, now_ms];
    db.change(REQUEUE, args).await.map(drop)
}

/// How an execution ended, for the record.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct End {
    pub generation: u32,
    pub outcome: Ended,
    pub exit_code: Option<i32>,
    pub exit_signal: Option<i32>,
    pub reason: String,
    pub usage: Usage,
    pub patch_batch_id: Option<PatchBatchId>,
    pub event_count: u64,
    pub at_ms: u64,
}

/// One transaction: the execution's end and the task's move. A second time changes nothing.
pub async fn end(db: &Db, id: ExecutionId, task_id: TaskId, end: &End) -> Outcome<()> {
    let (next, error) = match end.outcome {
        Ended::Succeeded => (TaskState::AiReview, None),
        Ended::Failed | Ended::Cancelled | Ended::TimedOut => (TaskState::Todo, Some(end.reason.as_str())),
    };
    let id = id.to_string();
    let execution = args![
        id.as_str(),
        end.generation,
        end.outcome.state().as_str(),
        end.exit_code,
        end.exit_signal,
        end.reason.as_str(),
        end.patch_batch_id.map(|id| id.to_string()),
        end.usage.memory_peak_bytes,
        end.usage.cpu_ms,
        end.event_count,
        end.at_ms,
    ];
    let task = args![task_id.to_string(), id.as_str(), next.as_str(), error, end.at_ms];
    db.change_all(&[(END, execution), (RELEASE_TASK, task)]).await.map(drop)
}

/// Whether it had not ended yet.
pub async fn request_stop(db: &Db, owner_id: OwnerId, id: ExecutionId) -> Outcome<bool> {
    Ok(db.change(REQUEST_STOP, args![id.to_string(), owner_id.to_string()]).await? > 0)
}

/// What the reconciler looks at.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Unmoved {
    pub id: ExecutionId,
    pub project_id: ProjectId,
    pub task_id: TaskId,
    pub owner_id: OwnerId,
    pub state: shared_contracts::executions::ExecutionState,
    pub generation: u32,
    pub priority: u8,
    pub sandbox_tier: SandboxTier,
    pub sandbox_provider: Option<SandboxProvider>,
    pub image: Option<String>,
    pub memory_mb: u32,
    pub cpu_cores: f64,
    pub lost_count: u32,
    pub stop_requested: bool,
}

pub async fn unmoved(db: &Db, before_ms: u64, limit: u32) -> Outcome<Vec<Unmoved>> {
    Ok(db.typed(UNMOVED, args![before_ms, limit]).await?.unwrap_or_default())
}

pub async fn looked_at(db: &Db, id: ExecutionId, now_ms: u64) -> Outcome<()> {
    db.change(LOOKED_AT, args![id.to_string(), now_ms]).await.map(drop)
}
