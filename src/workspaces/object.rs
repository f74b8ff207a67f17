//! `Workspace`: the Durable Object that owns one project's files. SQLite answers without an await, so a commit is
//! one step that nobody sees half of.

use std::cell::OnceCell;
use std::rc::Rc;

use shared_contracts::ids::ImportId;
use worker::{Bucket, DurableObject, Env, Request, Response, State};

use super::commands::WorkspaceCommand;
use super::tree::Tree;
use super::{apply, blobs, commit, export, import};
use crate::bindings::Bindings;
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
}

impl DurableObject for Workspace {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, tree: OnceCell::new() }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        object::respond("workspace", self.handle(&mut request).await)
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

    async fn handle(&self, request: &mut Request) -> Outcome<Response> {
        let command = object::command(request).await?;
        let tree = self.tree()?;
        let bucket = self.bucket()?;
        match command {
            WorkspaceCommand::Revision { revision } => object::answer(&tree.revision(revision)?),
            WorkspaceCommand::Import { project_id } => {
                let import_id = ImportId::new(now_ms(), entropy()?);
                let receipt = import::import(tree, &bucket, project_id, import_id, request.stream()?).await?;
                object::answer(&receipt)
            }
            WorkspaceCommand::StartImport { import_id } => {
                object::answer(&import::start(tree, import_id, request.stream()?).await?)
            }
            WorkspaceCommand::StoreBlobs { project_id, import_id } => {
                let body = request.stream()?;
                object::answer(&import::store_blobs(tree, &bucket, project_id, import_id, body).await?)
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
            WorkspaceCommand::Apply { project_id, patch_batch_id, title, batch } => {
                let batch = apply::Batch { project_id, id: patch_batch_id, title, batch };
                object::answer(&apply::apply(tree, &bucket, &batch).await?)
            }
            WorkspaceCommand::Delete => {
                blobs::delete_all(&tree.sql, &bucket).await?;
                for table in ["entries", "revisions", "staged", "imports", "blobs"] {
                    tree.sql.run(&format!("DELETE FROM {table}"), Vec::new())?;
                }
                object::answer(&())
            }
        }
    }
}
