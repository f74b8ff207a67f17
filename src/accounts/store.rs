//! SQL on `access_tokens`.

use shared_contracts::accounts::AccessToken;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{OwnerId, TokenId};
use shared_contracts::page::PageQuery;

use super::Account;
use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::Outcome;
use crate::platform::paging;

pub const INSERT: &str = "INSERT INTO access_tokens
  (id, owner_id, name, token_sha256, scopes, created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

pub const LIST: &str = crate::page_of!(
    "json_object('id', id, 'owner_id', owner_id, 'name', name, 'scopes', json(scopes), 'created_at_ms', created_at_ms,
      'expires_at_ms', expires_at_ms, 'last_used_at_ms', last_used_at_ms, 'revoked_at_ms', revoked_at_ms)",
    "access_tokens WHERE owner_id = ?1"
);

pub const REVOKE: &str = "UPDATE access_tokens SET revoked_at_ms = coalesce(revoked_at_ms, ?3)
  WHERE id = ?1 AND owner_id = ?2";

/// Neither revoked nor, at the time ?2, expired.
macro_rules! stands {
    () => {
        "revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > ?2)"
    };
}

pub const FIND: &str = concat!(
    "SELECT json_object('token_id', id, 'owner_id', owner_id, 'scopes', json(scopes),
    'expires_at_ms', expires_at_ms, 'last_used_at_ms', last_used_at_ms) AS record
  FROM access_tokens WHERE token_sha256 = ?1 AND ",
    stands!()
);

pub const STANDS: &str = concat!("SELECT '1' AS record FROM access_tokens WHERE id = ?1 AND ", stands!());

/// To the minute, so that a busy token is not a row written per request.
pub const TOUCH: &str = "UPDATE access_tokens SET last_used_at_ms = ?2
  WHERE id = ?1 AND (last_used_at_ms IS NULL OR last_used_at_ms < ?2 - 60000)";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("INSERT", INSERT),
    ("LIST", LIST),
    ("REVOKE", REVOKE),
    ("FIND", FIND),
    ("STANDS", STANDS),
    ("TOUCH", TOUCH),
];

pub async fn insert(db: &Db, token: &AccessToken, sha256: Sha256) -> Outcome<()> {
    let scopes = serde_json::to_string(&token.scopes)
        .map_err(|error| crate::platform::failure::Failure::internal("writing scopes", error))?;
    let args = args![
        token.id.to_string(),
        token.owner_id.to_string(),
        token.name.as_str(),
        sha256.to_string(),
        scopes,
        token.created_at_ms,
        token.expires_at_ms,
    ];
    db.change(INSERT, args).await.map(drop)
}

pub async fn list(db: &Db, owner_id: OwnerId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, owner_id.to_string(), page).await
}

pub async fn revoke(db: &Db, owner_id: OwnerId, id: TokenId, now_ms: u64) -> Outcome<bool> {
    Ok(db.change(REVOKE, args![id.to_string(), owner_id.to_string(), now_ms]).await? > 0)
}

pub async fn find(db: &Db, sha256: Sha256, now_ms: u64) -> Outcome<Option<Account>> {
    db.typed(FIND, args![sha256.to_string(), now_ms]).await
}

pub async fn stands(db: &Db, id: TokenId, now_ms: u64) -> Outcome<bool> {
    Ok(db.record(STANDS, args![id.to_string(), now_ms]).await?.is_some())
}

pub fn is_touched(account: &Account, now_ms: u64) -> bool {
    account.last_used_at_ms.is_some_and(|at_ms| at_ms + 60_000 > now_ms)
}

pub async fn touch(db: &Db, id: TokenId, now_ms: u64) -> Outcome<()> {
    db.change(TOUCH, args![id.to_string(), now_ms]).await.map(drop)
}
