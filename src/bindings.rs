//! `Env`, opened once into typed parts. The only file that names a binding; `wrangler.toml` says who writes what.

use std::rc::Rc;

use shared_contracts::ids::{ExecutionId, ProjectId};
use shared_contracts::problem::ProblemKind;
use worker::{Bucket, Env, Stub};

use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::secrets::seal::Keys;

/// All executions wait in one pool; a second pool would be a second name.
const POOL: &str = "default";

pub struct Bindings {
    env: Env,
    pub db: Db,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that opens bindings")]
impl Bindings {
    pub fn open(env: Env) -> Outcome<Self> {
        let db = Db(Rc::new(env.d1("DB")?));
        Ok(Self { env, db })
    }

    /// Large blobs of workspaces, and patch batches.
    pub fn blobs(&self) -> Outcome<Bucket> {
        Ok(self.env.bucket("BLOBS")?)
    }

    pub fn artifacts(&self) -> Outcome<Bucket> {
        Ok(self.env.bucket("ARTIFACTS")?)
    }

    pub fn dispatcher(&self) -> Outcome<Stub> {
        Ok(self.env.durable_object("DISPATCHER")?.get_by_name(POOL)?)
    }

    pub fn hub(&self, id: ExecutionId) -> Outcome<Stub> {
        Ok(self.env.durable_object("EXECUTION_HUB")?.get_by_name(&id.to_string())?)
    }

    pub fn workspace(&self, id: ProjectId) -> Outcome<Stub> {
        Ok(self.env.durable_object("WORKSPACE")?.get_by_name(&id.to_string())?)
    }

    /// Seals the secrets of projects; the old key only opens what was sealed before.
    pub fn secrets_keys(&self) -> Outcome<Keys> {
        let key = |name: &str| self.env.var(name).map(|value| value.to_string()).ok();
        let not_configured = |detail: String| Failure::problem(ProblemKind::NotConfigured, detail);
        let Some(present) = key("SECRETS_KEY").filter(|key| !key.is_empty()) else {
            let detail = "This plane keeps no secrets: its Worker has no SECRETS_KEY. Its operator sets one: \
                          `openssl rand -base64 32 | npx wrangler secret put SECRETS_KEY`";
            return Err(not_configured(detail.into()));
        };
        let old = key("SECRETS_KEY_OLD").filter(|key| !key.is_empty());
        Keys::parse(&present, old.as_deref())
            .map_err(|fault| not_configured(format!("The Worker's SECRETS_KEY or SECRETS_KEY_OLD {fault}")))
    }

    /// Signs the tokens of executions: at least 32 bytes, never a default.
    pub fn signing_key(&self) -> Outcome<Vec<u8>> {
        let key = self.env.var("PATCHBAY_SIGNING_KEY").map(|value| value.to_string()).unwrap_or_default();
        if key.len() < 32 {
            let cause = "PATCHBAY_SIGNING_KEY is missing or shorter than 32 characters";
            return Err(Failure::internal("configuration", cause));
        }
        Ok(key.into_bytes())
    }
}
