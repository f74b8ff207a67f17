//! A patch and a tree on disk: read what it needs, plan, put in place, keep the receipt.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use patch_engine::{Parsed, Plan, Refusal, Rules, formats};
use serde::Serialize;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::patches::{
    FileReceipt, OperationOutcome, OperationReceipt, PatchFormat, PatchOperation, TreeReceipt,
};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::{Problem, ProblemKind};

use crate::disk::{DiskSnapshot, Given, JOURNAL, Obstacle, Recovered, Tree, WORKER_KILLED};
use crate::failure::{Failure, cannot_be_read};
use crate::patch::Base;
use crate::state::State;

pub struct Job {
    pub format: Option<PatchFormat>,
    pub notes: Vec<String>,
    pub operations: Vec<Parsed>,
    pub given: Given,
    pub reverts: Option<PatchBatchId>,
}

impl Job {
    pub fn new(mut read: formats::Read, bases: Vec<Base>, rules: Rules) -> Self {
        for base in &bases {
            let path = &base.path;
            let touching = read.operations.iter_mut().flatten().filter(|operation| operation.path() == path);
            if touching.map(|operation| base.set(operation)).count() == 0 {
                eprintln!("--base-file {path}: the patch does not touch this path; the base is not used");
            }
        }
        let bases = bases.into_iter().map(|base| (base.sha256, base.bytes)).collect();
        Self {
            format: Some(read.format),
            notes: read.notes,
            operations: read.operations,
            given: Given { bases, rules },
            reverts: None,
        }
    }
}

/// How what is done is kept.
#[derive(Default)]
pub struct Writing<'command> {
    pub state: Option<&'command State>,
    pub receipt: Option<&'command Path>,
    /// Through a power loss as well.
    pub is_durable: bool,
}

/// What every program that applies asks first, before it reads its arguments or has a second thread: whether this is
/// the new life of a guardian whose worker was killed, which recovers and ends. Its success is the patch in place.
pub fn worker_was_killed() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let root = arguments.next().filter(|first| *first == *WORKER_KILLED).and(arguments.next())?;
    let found = Tree::open(Path::new(&root)).map(|(_, recovered)| recovered);
    let failure = match found {
        Ok(Recovered::Finished) => {
            println!("finished what a killed run had begun: its whole patch is in place");
            return Some(ExitCode::SUCCESS);
        }
        Ok(_) => Failure::WorkerKilled,
        Err(error) => error.into(),
    };
    eprintln!("{failure}");
    Some(failure.exit_code())
}

/// Without `writing` nothing is written.
pub fn run(tree: &Tree, job: Job, writing: Option<Writing<'_>>) -> Result<TreeReceipt, Failure> {
    // 1. Plan: refused means that nothing was touched.
    let needed = patch_engine::paths_needed(job.operations.iter().flatten());
    let snapshot = tree.snapshot(needed, job.given, job.operations.len())?;
    let mut plan = plan(&job.operations, &snapshot).map_err(|refusal| refused(refusal.operations))?;
    let mut receipt = TreeReceipt {
        id: None,
        format: job.format,
        notes: job.notes,
        operations: std::mem::take(&mut plan.operations),
        files: plan.changes.iter().map(|change| file_receipt(change, &snapshot)).collect(),
        applied_at_ms: now_ms(),
        reverts: job.reverts,
        inverse: None,
    };
    receipt.notes.extend(plan.changes.iter().filter_map(|change| {
        let others = snapshot.names_count(&change.path).saturating_sub(1);
        (others > 0).then(|| format!("{}: {others} other hard links keep the old content", change.path))
    }));
    let Some(writing) = writing.filter(|_| !plan.changes.is_empty()) else {
        return Ok(receipt);
    };
    // 2. Put it in place. The receipt is written first, so that a run that is killed can be taken back all the same.
    let id = PatchBatchId::new(receipt.applied_at_ms, random());
    receipt.id = Some(id);
    let prepare = |state: &&State| warned("keep the receipt", state.prepare(receipt.clone(), &plan.changes));
    let state = writing.state.filter(prepare);
    if let Err(error) = tree.commit(&plan.changes, &snapshot, state.map(State::handle), writing.is_durable) {
        if let Some(state) = state {
            state.forget_pending();
        }
        return Err(error.into());
    }
    // 3. Keep the receipt. The change is in place by now: what fails here is said, and no failure.
    if let Some(state) = state {
        warned("keep the receipt", state.keep(id, receipt.applied_at_ms));
    }
    if let Some(file) = writing.receipt {
        let whole = TreeReceipt { inverse: Some(plan.inverse()), ..receipt.clone() };
        if let Err(failure) = write_receipt(Some(file), &whole) {
            eprintln!("patchctl: the patch is in place, but {failure}");
        }
    }
    Ok(receipt)
}

fn plan(operations: &[Parsed], snapshot: &DiskSnapshot<'_>) -> Result<Plan, Refusal> {
    let planned = patch_engine::plan_parsed(operations, snapshot);
    // What only a disk can hold is judged here.
    let obstacles: BTreeMap<u32, OperationOutcome> = operations
        .iter()
        .enumerate()
        .filter_map(|(index, parsed)| {
            let outcome = obstacle(parsed.as_ref().ok()?, snapshot)?;
            Some((u32::try_from(index).unwrap_or(u32::MAX), outcome))
        })
        .collect();
    if obstacles.is_empty() {
        return planned;
    }
    let mut receipts = match planned {
        Ok(plan) => plan.operations,
        Err(refusal) => refusal.operations,
    };
    for receipt in &mut receipts {
        if let Some(outcome) = obstacles.get(&receipt.index) {
            receipt.outcome = outcome.clone();
        }
    }
    Err(Refusal { operations: receipts })
}

fn obstacle(operation: &PatchOperation, snapshot: &DiskSnapshot<'_>) -> Option<OperationOutcome> {
    let target = match operation {
        PatchOperation::Rename { to, .. } => Some(to),
        _ => None,
    };
    std::iter::once(operation.path()).chain(target).find_map(|path| {
        let first = path.as_str().split('/').next().unwrap_or_default();
        if first.eq_ignore_ascii_case(JOURNAL) {
            return Some(OperationOutcome::DeniedPath {
                why: format!("`{JOURNAL}` is where a patch waits while it is applied"),
            });
        }
        let above = path.ancestors().filter_map(|path| WorkspacePath::parse(path).ok());
        let (path, found) = std::iter::once(path.clone())
            .chain(above)
            .find_map(|path| snapshot.obstacle(&path).map(|found| (path, found)))?;
        Some(match found {
            Obstacle::Special => OperationOutcome::DeniedPath {
                why: format!("`{path}` is a device, a socket or a pipe, which is no part of a workspace"),
            },
            Obstacle::TooLarge { size_bytes } => OperationOutcome::TooLarge {
                hint: format!("`{path}` has {size_bytes} bytes, more than a workspace's file may have"),
            },
        })
    })
}

pub fn refused(operations: Vec<OperationReceipt>) -> Failure {
    let failed = operations.iter().filter(|receipt| !receipt.outcome.is_success()).count();
    let is_malformed = cannot_be_read(&operations);
    let kind = if is_malformed { ProblemKind::Malformed } else { ProblemKind::PatchRefused };
    let detail = format!("{failed} of {} operations refused; nothing was changed", operations.len());
    Failure::Refused(Box::new(Problem { outcomes: operations, ..Problem::new(kind, detail) }))
}

fn file_receipt(change: &patch_engine::FileChange, snapshot: &DiskSnapshot<'_>) -> FileReceipt {
    FileReceipt {
        path: change.path.clone(),
        sha256_before: snapshot.sha256(&change.path),
        sha256_after: change.after.as_ref().map(|file| Sha256::of(&file.bytes)),
    }
}

pub fn write_receipt(file: Option<&Path>, receipt: &impl Serialize) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let written =
        serde_json::to_vec_pretty(receipt).map_err(Into::into).and_then(|json| std::fs::write(file, json));
    written.map_err(Failure::io("cannot write", file.display()))
}

/// The state folder, if there can be one; without it a patch applies all the same, and only `revert` has nothing.
pub fn noted(state: &std::io::Result<State>) -> Option<&State> {
    state.as_ref().inspect_err(|error| eprintln!("patchctl: cannot keep receipts: {error}")).ok()
}

fn warned(doing: &str, result: std::io::Result<()>) -> bool {
    result.inspect_err(|error| eprintln!("patchctl: cannot {doing}: {error}")).is_ok()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn random() -> u128 {
    let mut bytes = [0_u8; 16];
    // Without random numbers the time alone tells two applies apart: the lock lets one happen at a time.
    let _ = getrandom::fill(&mut bytes);
    u128::from_le_bytes(bytes)
}
