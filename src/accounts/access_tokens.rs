//! `create_access_token`, `list_access_tokens`, `revoke_access_token`, and who a token belongs to.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use shared_contracts::accounts::{AccessToken, CreateAccessToken, CreatedAccessToken, Scope};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{OwnerId, TokenId};
use shared_contracts::page::PageQuery;
use shared_contracts::problem::ProblemKind;

use super::{Account, store};
use crate::platform::clock::now_ms;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::{entropy, random};

const PREFIX: &str = "pby_";

/// A token may be used to make others, but never stronger ones.
pub async fn create_access_token(
    db: &Db,
    account: &Account,
    input: CreateAccessToken,
) -> Outcome<CreatedAccessToken> {
    if let Some(scope) = input.scopes.iter().find(|scope| !may_grant(&account.scopes, **scope)) {
        let detail = format!("Your token does not have the scope {scope:?} and so cannot grant it");
        return Err(Failure::problem(ProblemKind::Forbidden, detail));
    }
    let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?));
    let now = now_ms();
    let record = AccessToken {
        id: TokenId::new(now, entropy()?),
        owner_id: account.owner_id,
        name: input.name,
        scopes: input.scopes,
        created_at_ms: now,
        expires_at_ms: input.lifetime_seconds.map(|seconds| now + seconds * 1_000),
        last_used_at_ms: None,
        revoked_at_ms: None,
    };
    store::insert(db, &record, Sha256::of(token.as_bytes())).await?;
    Ok(CreatedAccessToken { record, token })
}

fn may_grant(own: &[Scope], wanted: Scope) -> bool {
    // Whoever manages tokens may also admit machines of the owner's.
    own.contains(&wanted) || wanted == Scope::ContainerAgent
}

pub async fn list_access_tokens(db: &Db, owner_id: OwnerId, page: &PageQuery) -> Outcome<String> {
    store::list(db, owner_id, page).await
}

pub async fn revoke_access_token(db: &Db, owner_id: OwnerId, id: TokenId) -> Outcome<()> {
    if store::revoke(db, owner_id, id, now_ms()).await? {
        Ok(())
    } else {
        Err(Failure::not_found("access token", id))
    }
}

/// The account behind a token that is neither revoked nor expired.
pub async fn authenticate(db: &Db, token: &str) -> Outcome<Option<Account>> {
    if !token.starts_with(PREFIX) || token.len() > 100 {
        return Ok(None);
    }
    store::find(db, Sha256::of(token.as_bytes()), now_ms()).await
}
