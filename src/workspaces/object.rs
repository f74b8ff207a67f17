//! `Workspace`: the Durable Object that owns one project's files. SQLite answers without an await, so a commit is
//! one step that nobody sees half of.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use shared_contracts::ids::ImportId;
use shared_contracts::problem::ProblemKind;
use worker::{Bucket, ByteStream, DurableObject, Env, Request, Response, State};

use super::commands::WorkspaceCommand;
use super::tree::Tree;
use super::{apply, collect, commit, export, import, import_in_parts, plan, touches};
use crate::bindings::Bindings;
use crate::platform::body::drain;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::entropy;
use crate::platform::object;
use crate::platform::sql::Sql;

#[worker::durable_object]
pub struct Workspace {
    state: State,
    env: Env,
    tree: OnceCell<Rc<Tree>>,
    /// Commands under way; others come in while one waits for R2.
    busy: Cell<u32>,
    /// Its project was deleted: until this object goes too, nothing brings it back.
    is_forgotten: Cell<bool>,
}

/// When to look again for what may be collected.
const COLLECT_EVERY: Duration = Duration::from_millis(collect::ABANDONED_MS);
/// After a failure, or while commands are under way.
const COLLECT_AGAIN: Duration = Duration::from_mins(10);

/// A command under way.
struct Busy<'a>(&'a Cell<u32>);

impl<'a> Busy<'a> {
    fn with(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl DurableObject for Workspace {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, tree: OnceCell::new(), busy: Cell::new(0), is_forgotten: Cell::new(false) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        object::respond("workspace", self.handle(&mut request).await)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let again = self.collect().await.unwrap_or_else(|failure| {
            failure.log("collecting blobs");
            Some(COLLECT_AGAIN)
        });
        if let Some(again) = again {
            self.state.storage().set_alarm(again).await?;
        }
        Response::empty()
    }
}

impl Workspace {
    fn tree(&self) -> Outcome<&Rc<Tree>> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = Rc::new(Tree::open(Sql(self.state.storage().sql()))?);
        Ok(self.tree.get_or_init(|| tree))
    }

    fn bucket(&self) -> Outcome<Bucket> {
        Bindings::open(self.env.clone())?.blobs()
    }

    /// When to do it again, if there may be more.
    async fn collect(&self) -> Outcome<Option<Duration>> {
        let (tree, bucket) = (self.tree()?, self.bucket()?);
        let is_idle = || self.busy.get() == 0;
        if !is_idle() {
            return Ok(Some(COLLECT_AGAIN));
        }
        collect::forget_abandoned(tree)?;
        collect::delete_loose_objects(tree, &bucket, is_idle).await?;
        Ok(collect::is_anything_left(tree)?.then_some(COLLECT_EVERY))
    }

    /// Whatever comes of a command that writes, what it leaves is collected.
    async fn will_collect(&self) -> Outcome<()> {
        let storage = self.state.storage();
        if storage.get_alarm().await?.is_none() {
            storage.set_alarm(COLLECT_EVERY).await?;
        }
        Ok(())
    }

    async fn handle(&self, request: &mut Request) -> Outcome<Response> {
        let command: WorkspaceCommand = object::command(request).await?;
        if self.is_forgotten.get() && !matches!(command, WorkspaceCommand::Forget) {
            return Err(Failure::problem(ProblemKind::NotFound, "This project was deleted"));
        }
        let tree = self.tree()?;
        let bucket = self.bucket()?;
        let _busy = Busy::with(&self.busy);
        if command.writes() {
            self.will_collect().await?;
        }
        match command {
            WorkspaceCommand::Revision { revision } => object::answer(&tree.revision(revision)?),
            WorkspaceCommand::Import { project_id } => {
                let import_id = ImportId::new(now_ms(), entropy()?);
                let import =
                    async |body: &mut _| import::import(tree, &bucket, project_id, import_id, body).await;
                object::answer(&taken(request.stream()?, import).await?)
            }
            WorkspaceCommand::StartImport { import_id } => {
                let start = async |body: &mut _| import_in_parts::start(tree, import_id, body).await;
                object::answer(&taken(request.stream()?, start).await?)
            }
            WorkspaceCommand::StoreBlobs { project_id, import_id } => {
                let store = async |body: &mut _| {
                    import_in_parts::store_blobs(tree, &bucket, project_id, import_id, body).await
                };
                object::answer(&taken(request.stream()?, store).await?)
            }
            WorkspaceCommand::CommitImport { import_id } => object::answer(&commit::commit(tree, import_id)?),
            WorkspaceCommand::Tree { query } => object::answer(&tree.list(&query)?),
            WorkspaceCommand::File { path, revision } => {
                let revision = tree.revision(revision)?.revision;
                let file = tree.file(&path, revision)?.ok_or_else(|| Failure::not_found("file", &path))?;
                export::content(tree, &bucket, file.sha256).await
            }
            WorkspaceCommand::Manifest { revision } => {
                export::manifest(Rc::clone(tree), tree.revision(revision)?.revision)
            }
            WorkspaceCommand::Export { revision } => {
                export::export(Rc::clone(tree), Rc::new(bucket), &tree.revision(revision)?)
            }
            WorkspaceCommand::Blob { sha256 } => export::content(tree, &bucket, sha256).await,
            WorkspaceCommand::Blobs { sha256 } => export::fetch(Rc::clone(tree), Rc::new(bucket), sha256),
            WorkspaceCommand::Apply { project_id, patch_batch_id, title, reading, wanted } => {
                let batch = apply::Batch { project_id, id: patch_batch_id, title, reading };
                object::answer(&apply::apply(tree, &bucket, &batch, wanted).await?)
            }
            WorkspaceCommand::Receipt { patch_batch_id } => {
                object::answer(&apply::receipt(tree, patch_batch_id)?)
            }
            WorkspaceCommand::Check { project_id, reading, wanted } => {
                object::answer(&plan::check(tree, &bucket, project_id, reading, wanted).await?)
            }
            WorkspaceCommand::Touches { wanted } => {
                let operations = wanted.operations.clone();
                let (head, plan) = plan::plan(tree, &bucket, wanted).await?;
                let touches = touches::touches(&operations, &plan.changes);
                object::answer(&touches::Touched { revision: head.revision, touches })
            }
            WorkspaceCommand::Inverse { patch_batch_id } => {
                object::answer(&plan::inverse(tree, &bucket, patch_batch_id).await?)
            }
            WorkspaceCommand::Forget => {
                self.is_forgotten.set(true);
                let storage = self.state.storage();
                storage.delete_alarm().await?;
                storage.delete_all().await?;
                object::answer(&())
            }
        }
    }
}

/// What comes of a body; one that is refused is read to its end.
async fn taken<T>(mut body: ByteStream, take: impl AsyncFnOnce(&mut ByteStream) -> Outcome<T>) -> Outcome<T> {
    let outcome = take(&mut body).await;
    if outcome.is_err() {
        drain(&mut body).await;
    }
    outcome
}
