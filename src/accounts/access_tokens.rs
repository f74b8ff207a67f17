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

/// A token may be used to make others, but never stronger ones, and none that outlive it.
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
        expires_at_ms: expiry(now, input.lifetime_seconds, account.expires_at_ms)?,
        last_used_at_ms: None,
        revoked_at_ms: None,
    };
    store::insert(db, &record, Sha256::of(token.as_bytes())).await?;
    Ok(CreatedAccessToken { record, token })
}

/// As asked for, but no later than its maker's; the maker's where nothing is asked for.
fn expiry(
    now_ms: u64,
    lifetime_seconds: Option<u64>,
    maker_expires_at_ms: Option<u64>,
) -> Outcome<Option<u64>> {
    let asked = lifetime_seconds.map(|seconds| now_ms + seconds * 1_000);
    match (asked, maker_expires_at_ms) {
        (Some(asked), Some(maker)) if asked > maker => {
            let left = maker.saturating_sub(now_ms) / 1_000;
            let message = format!(
                "outlives your token, which expires in {left} s, at {maker} ms since 1970; ask for less"
            );
            Err(Failure::invalid("lifetime_seconds", message))
        }
        (asked, maker) => Ok(asked.or(maker)),
    }
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

/// Whether the token is still neither revoked nor expired: for connections, which outlive the check at their door.
pub async fn stands(db: &Db, id: TokenId) -> Outcome<bool> {
    store::stands(db, id, now_ms()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_outlives_its_maker() {
        assert_eq!(expiry(1_000, Some(60), None).unwrap(), Some(61_000));
        assert_eq!(expiry(1_000, None, None).unwrap(), None);
        assert_eq!(expiry(1_000, None, Some(9_000)).unwrap(), Some(9_000), "inherited");
        assert_eq!(expiry(1_000, Some(60), Some(61_000)).unwrap(), Some(61_000));
        let Err(Failure::Problem(problem)) = expiry(1_000, Some(60), Some(60_999)) else {
            panic!("admitted")
        };
        let fault = problem.faults.first().unwrap();
        assert_eq!(fault.field, "lifetime_seconds");
        assert!(fault.message.contains("in 59 s") && fault.message.contains("60999"), "{}", fault.message);
    }
}
