//! The first owners and their tokens: made here, because every route but two wants a caller.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use shared_contracts::accounts::Scope;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{OwnerId, TokenId};

use super::state_folder::StateFolder;
use super::wrangler::Wrangler;
use crate::random;

/// What only this machine knows; D1 holds the tokens' hashes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// Signs the tokens of executions.
    pub signing_key: String,
    /// Seals the secrets of projects; empty in a folder that an older version made, until it is used again.
    #[serde(default)]
    pub secrets_key: String,
    pub owners: Vec<Owner>,
    /// For a container agent that takes every owner's executions.
    pub shared_agent_token: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Owner {
    pub id: OwnerId,
    pub name: String,
    /// Reads, writes, makes tokens.
    pub token: String,
    /// For a container agent that takes this owner's executions.
    pub agent_token: String,
}

/// The secrets of this folder; in a new one, made and put into D1.
pub fn ensure(folder: &StateFolder, wrangler: &Wrangler, owners: u32) -> Result<Secrets> {
    if let Some(mut secrets) = folder.read_secrets()? {
        if secrets.secrets_key.is_empty() {
            secrets.secrets_key = random::secret()?;
            folder.write_secrets(&secrets)?;
        }
        return Ok(secrets);
    }
    let mut statements = String::new();
    let mut made = Vec::new();
    for number in 1..=owners.max(1) {
        made.push(make_owner(&format!("owner {number}"), &mut statements)?);
    }
    let first = made.first().context("a plane has at least one owner")?.id;
    let shared_agent_token =
        make_token(first, "shared container agents", &[Scope::SharedContainerAgent], &mut statements)?;
    let (signing_key, secrets_key) = (random::secret()?, random::secret()?);
    let secrets = Secrets { signing_key, secrets_key, owners: made, shared_agent_token };
    let file = folder.path().join("bootstrap.sql");
    fs::write(&file, statements).with_context(|| format!("cannot write {}", file.display()))?;
    wrangler.execute_file(&file)?;
    folder.write_secrets(&secrets)?;
    Ok(secrets)
}

fn make_owner(name: &str, statements: &mut String) -> Result<Owner> {
    let now_ms = random::now_ms();
    let id = OwnerId::new(now_ms, random::id_bits()?);
    statements.push_str(&format!(
        "INSERT INTO owners (id, name, created_at_ms) VALUES ('{id}', '{name}', {now_ms});\n"
    ));
    let user = [Scope::Read, Scope::Write, Scope::Tokens];
    let token = make_token(id, "first token", &user, statements)?;
    let agent_token = make_token(id, "container agents", &[Scope::ContainerAgent], statements)?;
    Ok(Owner { id, name: name.to_owned(), token, agent_token })
}

fn make_token(owner: OwnerId, name: &str, scopes: &[Scope], statements: &mut String) -> Result<String> {
    let now_ms = random::now_ms();
    let id = TokenId::new(now_ms, random::id_bits()?);
    let token = format!("pby_{}", random::secret()?);
    let sha256 = Sha256::of(token.as_bytes());
    let scopes = serde_json::to_string(scopes).context("cannot write scopes as JSON")?;
    statements.push_str(&format!(
        "INSERT INTO access_tokens (id, owner_id, name, token_sha256, scopes, created_at_ms) \
         VALUES ('{id}', '{owner}', '{name}', '{sha256}', '{scopes}', {now_ms});\n"
    ));
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_itself_is_never_in_the_statements() {
        let mut statements = String::new();
        let owner = make_owner("someone", &mut statements).unwrap();
        assert_eq!(owner.token.len(), "pby_".len() + 43);
        assert!(!statements.contains(&owner.token) && !statements.contains(&owner.agent_token));
        assert!(statements.contains(&Sha256::of(owner.token.as_bytes()).to_string()));
        assert!(statements.contains(r#"'["read","write","tokens"]'"#));
    }
}
