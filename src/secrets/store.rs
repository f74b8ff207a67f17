//! SQL on `project_secrets`. No statement answers a list with a value in it, sealed or not.

use shared_contracts::ids::{OwnerId, ProjectId};
use shared_contracts::limits::SECRETS_PER_PROJECT_MAX;
use shared_contracts::page::PageQuery;
use shared_contracts::secrets::Secret;

use super::seal::Sealed;
use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};

macro_rules! record {
    () => {
        "json_object('name', name, 'created_at_ms', created_at_ms, 'updated_at_ms', updated_at_ms)"
    };
}

/// By name. `?2` is the last name of the page before.
pub const LIST: &str = concat!(
    "WITH page AS MATERIALIZED (SELECT name, ",
    record!(),
    " AS record FROM project_secrets WHERE project_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3 + 1)
  SELECT json_object('items', json((SELECT json_group_array(json(record)) FROM
      (SELECT record FROM page ORDER BY name LIMIT ?3))),
    'next', (SELECT CASE WHEN (SELECT count(*) FROM page) > ?3 THEN
      (SELECT name FROM page ORDER BY name LIMIT 1 OFFSET ?3 - 1) END)) AS record"
);

/// In the owner's project, while it may have one more or has this one already.
pub const SET: &str = concat!(
    "INSERT INTO project_secrets (project_id, name, key_id, sealed, size_bytes, created_at_ms, updated_at_ms)
  SELECT id, ?3, ?4, ?5, ?6, ?7, ?7 FROM projects WHERE id = ?1 AND owner_id = ?2
    AND ((SELECT count(*) FROM project_secrets WHERE project_id = ?1) < ?8
      OR EXISTS (SELECT 1 FROM project_secrets WHERE project_id = ?1 AND name = ?3))
  ON CONFLICT (project_id, name) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed,
    size_bytes = excluded.size_bytes, updated_at_ms = excluded.updated_at_ms
  RETURNING ",
    record!(),
    " AS record"
);

pub const DELETE: &str = "DELETE FROM project_secrets WHERE project_id = ?1 AND name = ?2
  AND EXISTS (SELECT 1 FROM projects WHERE id = ?1 AND owner_id = ?3)";

/// Those of these names that there are.
pub const SIZES: &str = "SELECT json_group_object(name, size_bytes) AS record FROM project_secrets
  WHERE project_id = ?1 AND name IN (SELECT value FROM json_each(?2))";

/// For the moment at which a lease is granted, and for no other.
pub const SEALED: &str =
    "SELECT json_group_object(name, json_object('key_id', key_id, 'sealed', sealed)) AS record FROM project_secrets
  WHERE project_id = ?1 AND name IN (SELECT value FROM json_each(?2))";

pub const SEALED_BY: &str = "SELECT json_group_array(json_object('project_id', project_id, 'name', name,
    'key_id', key_id, 'sealed', sealed)) AS record
  FROM (SELECT * FROM project_secrets WHERE key_id = ?1 LIMIT ?2)";

/// What was set meanwhile stays.
pub const RESEAL: &str = "UPDATE project_secrets SET key_id = ?4, sealed = ?5
  WHERE project_id = ?1 AND name = ?2 AND sealed = ?3";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("LIST", LIST),
    ("SET", SET),
    ("DELETE", DELETE),
    ("SIZES", SIZES),
    ("SEALED", SEALED),
    ("SEALED_BY", SEALED_BY),
    ("RESEAL", RESEAL),
];

pub async fn list(db: &Db, project_id: ProjectId, page: &PageQuery) -> Outcome<String> {
    let after = page.after.as_deref().unwrap_or_default();
    let args = args![project_id.to_string(), after, page.limit_or_default()];
    db.record(LIST, args).await?.ok_or_else(|| Failure::internal("reading a page", "no row"))
}

/// A secret about to be stored.
pub struct NewSecret<'a> {
    pub project_id: ProjectId,
    pub name: &'a str,
    pub sealed: &'a Sealed,
    pub size_bytes: usize,
    pub now_ms: u64,
}

/// None where the project is not the owner's, or has no room.
pub async fn set(db: &Db, owner_id: OwnerId, secret: &NewSecret<'_>) -> Outcome<Option<Secret>> {
    let args = args![
        secret.project_id.to_string(),
        owner_id.to_string(),
        secret.name,
        secret.sealed.key_id.as_str(),
        secret.sealed.sealed.as_str(),
        secret.size_bytes,
        secret.now_ms,
        SECRETS_PER_PROJECT_MAX,
    ];
    db.typed(SET, args).await
}

/// Whether it was there.
pub async fn delete(db: &Db, owner_id: OwnerId, project_id: ProjectId, name: &str) -> Outcome<bool> {
    Ok(db.change(DELETE, args![project_id.to_string(), name, owner_id.to_string()]).await? > 0)
}

fn list_of(names: &[&str]) -> Outcome<String> {
    serde_json::to_string(names).map_err(|error| Failure::internal("writing names", error))
}

pub type ByName<T> = std::collections::BTreeMap<String, T>;

pub async fn sizes(db: &Db, project_id: ProjectId, names: &[&str]) -> Outcome<ByName<usize>> {
    Ok(db.typed(SIZES, args![project_id.to_string(), list_of(names)?]).await?.unwrap_or_default())
}

pub async fn sealed(db: &Db, project_id: ProjectId, names: &[&str]) -> Outcome<ByName<Sealed>> {
    Ok(db.typed(SEALED, args![project_id.to_string(), list_of(names)?]).await?.unwrap_or_default())
}

/// A stored value and where it is.
#[derive(Debug, serde::Deserialize)]
pub struct Stored {
    pub project_id: ProjectId,
    pub name: String,
    #[serde(flatten)]
    pub sealed: Sealed,
}

/// Some of those that this key sealed.
pub async fn sealed_by(db: &Db, key_id: &str, limit: u32) -> Outcome<Vec<Stored>> {
    Ok(db.typed(SEALED_BY, args![key_id, limit]).await?.unwrap_or_default())
}

pub async fn reseal(db: &Db, old: &Stored, new: &Sealed) -> Outcome<()> {
    let args = args![
        old.project_id.to_string(),
        old.name.as_str(),
        old.sealed.sealed.as_str(),
        new.key_id.as_str(),
        new.sealed.as_str(),
    ];
    db.change(RESEAL, args).await.map(drop)
}
