//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request sent again is answered again, not done
//! again.
//!
//! The key is claimed before the work, with a seed from which every id of the work derives. So even a request that
//! died between doing and answering is finished by its second try, on the same ids.

use sha2::Digest;
use shared_contracts::ids::OwnerId;
use shared_contracts::limits::{IDEMPOTENCY_CLAIM_SECONDS, IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENCY_KEY_HOURS};
use shared_contracts::problem::ProblemKind;
use worker::Response;

use super::call::{Call, json_text};
use crate::args;
use crate::platform::clock::now_ms;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::{derived, entropy};

/// The key of a refused request is free for another one.
pub const CLAIM: &str = "INSERT INTO idempotency_keys
  (owner_id, key, operation, request_sha256, seed, claimed_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
  ON CONFLICT (owner_id, key) DO UPDATE SET operation = excluded.operation,
    request_sha256 = excluded.request_sha256, seed = excluded.seed, claimed_at_ms = excluded.claimed_at_ms,
    status = NULL, response = NULL
  WHERE claimed_at_ms < ?7 OR (status IS NOT NULL AND response IS NULL AND
    (idempotency_keys.operation <> excluded.operation OR idempotency_keys.request_sha256 <> excluded.request_sha256))";

pub const FIND: &str =
    "SELECT json_object('operation', operation, 'request_sha256', request_sha256, 'seed', seed,
    'claimed_at_ms', claimed_at_ms, 'status', status, 'response', response) AS record
  FROM idempotency_keys WHERE owner_id = ?1 AND key = ?2";

/// With the seed it has: what died, or was refused, is tried again on the same ids.
pub const TAKE_OVER: &str = "UPDATE idempotency_keys SET claimed_at_ms = ?4, status = NULL
  WHERE owner_id = ?1 AND key = ?2 AND claimed_at_ms = ?3 AND response IS NULL";

pub const ANSWER: &str =
    "UPDATE idempotency_keys SET status = ?3, response = ?4 WHERE owner_id = ?1 AND key = ?2";

/// A refusal has a status and no response.
pub const REFUSED: &str =
    "UPDATE idempotency_keys SET status = ?3 WHERE owner_id = ?1 AND key = ?2 AND status IS NULL";

pub const FORGET: &str = "DELETE FROM idempotency_keys WHERE claimed_at_ms < ?1";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("CLAIM", CLAIM),
    ("FIND", FIND),
    ("TAKE_OVER", TAKE_OVER),
    ("ANSWER", ANSWER),
    ("REFUSED", REFUSED),
    ("FORGET", FORGET),
];

/// What the ids of a request derive from.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Seed {
    pub at_ms: u64,
    pub random: u64,
}

impl Seed {
    fn fresh() -> Outcome<Self> {
        // 53 bits survive JSON anywhere; together with the millisecond they are unique enough for one owner's keys.
        let random = entropy()? as u64 >> 11;
        Ok(Self { at_ms: now_ms(), random })
    }

    /// The 80 bits of an id.
    pub fn bits(self) -> u128 {
        derived(self.random.to_be_bytes())
    }
}

#[derive(serde::Deserialize)]
struct Row {
    operation: String,
    request_sha256: String,
    seed: String,
    claimed_at_ms: u64,
    status: Option<u16>,
    response: Option<String>,
}

fn conflict(detail: &str) -> Failure {
    Failure::problem(ProblemKind::IdempotencyConflict, detail)
}

/// A request that may come again.
pub struct Keyed<'a> {
    pub db: &'a Db,
    pub owner_id: OwnerId,
    /// Without one, every request is its own.
    pub key: Option<String>,
    pub operation: &'a str,
    /// What tells it from another one: another request under the same key is refused.
    pub request: String,
    pub status: u16,
}

/// The answer of now, or of the first time.
pub struct Answered {
    pub status: u16,
    pub text: String,
    pub is_replayed: bool,
}

/// Does the work of an HTTP call once for each `Idempotency-Key`.
pub async fn once<F>(call: &Call, body: &[u8], work: impl FnOnce(Seed) -> F) -> Outcome<Response>
where
    F: Future<Output = Outcome<String>>,
{
    let keyed = Keyed {
        db: &call.bindings.db,
        owner_id: call.caller.owner_id()?,
        key: call.header("idempotency-key"),
        operation: call.route.operation,
        request: format!("{} {}", call.request.path(), hex::encode(sha2::Sha256::digest(body))),
        status: call.route.status,
    };
    let answered = keyed.once(work).await?;
    let mut response = json_text(answered.status, answered.text)?;
    if answered.is_replayed {
        response.headers_mut().set("idempotent-replayed", "true")?;
    }
    Ok(response)
}

impl Keyed<'_> {
    pub async fn once<F>(self, work: impl FnOnce(Seed) -> F) -> Outcome<Answered>
    where
        F: Future<Output = Outcome<String>>,
    {
        let (db, status) = (self.db, self.status);
        let Some(key) = self.key else {
            return Ok(Answered { status, text: work(Seed::fresh()?).await?, is_replayed: false });
        };
        if key.is_empty()
            || key.len() > IDEMPOTENCY_KEY_CHARS_MAX
            || !key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let message = format!("must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters");
            return Err(Failure::invalid("Idempotency-Key", message));
        }
        let owner = self.owner_id.to_string();
        let request_sha256 = hex::encode(sha2::Sha256::digest(self.request));
        match claim(db, &owner, &key, self.operation, &request_sha256).await? {
            Claimed::Answered { status, response } => {
                Ok(Answered { status, text: response, is_replayed: true })
            }
            Claimed::Ours(seed) => match work(seed).await {
                Ok(text) => {
                    let args = args![owner.as_str(), key.as_str(), status, text.as_str()];
                    db.change(ANSWER, args).await?;
                    Ok(Answered { status, text, is_replayed: false })
                }
                Err(failure) => {
                    // A refusal is no result: mended circumstances may be tried with the same key.
                    let args = args![owner.as_str(), key.as_str(), failure.status()];
                    db.change(REFUSED, args).await?;
                    Err(failure)
                }
            },
        }
    }
}

enum Claimed {
    Ours(Seed),
    Answered { status: u16, response: String },
}

async fn claim(db: &Db, owner: &str, key: &str, operation: &str, request: &str) -> Outcome<Claimed> {
    let (now, seed) = (now_ms(), Seed::fresh()?);
    let seed_text =
        serde_json::to_string(&seed).map_err(|error| Failure::internal("writing a seed", error))?;
    let forgotten = now.saturating_sub(IDEMPOTENCY_KEY_HOURS * 3_600_000);
    let args = args![owner, key, operation, request, seed_text, now, forgotten];
    if db.change(CLAIM, args).await? > 0 {
        return Ok(Claimed::Ours(seed));
    }
    let row: Option<Row> = db.typed(FIND, args![owner, key]).await?;
    let row = row.ok_or_else(|| conflict("The request with this key was just given up; send it again"))?;
    if row.operation != operation || row.request_sha256 != request {
        return Err(conflict("This key was used for another request; make a new key for each request"));
    }
    if let (Some(status), Some(response)) = (row.status, row.response) {
        return Ok(Claimed::Answered { status, response });
    }
    let is_running = row.status.is_none();
    if is_running && row.claimed_at_ms + IDEMPOTENCY_CLAIM_SECONDS * 1_000 > now {
        return Err(conflict("The first request with this key is still running; try again in a moment"));
    }
    if db.change(TAKE_OVER, args![owner, key, row.claimed_at_ms, now]).await? == 0 {
        return Err(conflict("The first request with this key is still running; try again in a moment"));
    }
    let seed = serde_json::from_str(&row.seed).map_err(|error| Failure::internal("a stored seed", error))?;
    Ok(Claimed::Ours(seed))
}

/// For the cron: keys older than a day.
pub async fn forget(db: &Db) -> Outcome<()> {
    let before = now_ms().saturating_sub(IDEMPOTENCY_KEY_HOURS * 3_600_000);
    db.change(FORGET, args![before]).await.map(drop)
}
