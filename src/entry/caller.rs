//! Who is calling: the bearer token (RFC 6750) becomes an account, or the claims of one execution.

use shared_contracts::accounts::Scope;
use shared_contracts::ids::{OwnerId, TokenId};
use shared_contracts::problem::ProblemKind;
use shared_contracts::routes::Access;

use crate::accounts::Account;
use crate::accounts::access_tokens::authenticate;
use crate::accounts::execution_token::{self, Claims};
use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};

#[derive(Debug, Clone)]
pub enum Caller {
    Public,
    Account(Account),
    Execution(Claims),
}

impl Caller {
    /// Whose things it may see.
    pub fn owner_id(&self) -> Outcome<OwnerId> {
        match self {
            Self::Account(account) => Ok(account.owner_id),
            Self::Execution(claims) => Ok(claims.owner_id),
            Self::Public => Err(unauthenticated("This needs a token")),
        }
    }

    /// Its access token; an execution's is none.
    pub fn token_id(&self) -> Option<TokenId> {
        match self {
            Self::Account(account) => Some(account.token_id),
            Self::Execution(_) | Self::Public => None,
        }
    }
}

fn unauthenticated(detail: &str) -> Failure {
    Failure::problem(ProblemKind::Unauthenticated, format!("{detail}; send `Authorization: Bearer <token>`"))
}

fn forbidden(detail: String) -> Failure {
    Failure::problem(ProblemKind::Forbidden, detail)
}

/// Whoever the token says, before it is asked what they may do.
pub async fn identify(bindings: &Bindings, authorization: Option<&str>) -> Outcome<Caller> {
    let header = authorization.ok_or_else(|| unauthenticated("There is no token"))?;
    let token = header
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unauthenticated("The Authorization header is not a bearer token"))?;
    if let Some(claims) = execution_token::verify(&bindings.signing_key()?, token, now_ms())? {
        return Ok(Caller::Execution(claims));
    }
    match authenticate(&bindings.db, token).await? {
        Some(account) => Ok(Caller::Account(account)),
        None => Err(unauthenticated("The token is unknown, expired or revoked")),
    }
}

/// Whether this caller may use a route with this access. Which things it may touch, and whether an execution's lease
/// still stands, is each operation's to ask (`operations/owned.rs`).
pub fn admit(caller: &Caller, access: Access) -> Outcome<()> {
    match (access, caller) {
        (Access::Public, _) | (Access::Execution | Access::ReadOrExecution, Caller::Execution(_)) => Ok(()),
        (Access::Token(scope), Caller::Account(account)) => require(account, scope),
        (Access::ReadOrExecution, Caller::Account(account)) => require(account, Scope::Read),
        (Access::Execution, Caller::Account(_)) => {
            Err(forbidden("Only the container agent that holds the execution's lease may do this".into()))
        }
        (Access::Token(_), Caller::Execution(_)) => {
            Err(forbidden("An execution's token opens only what belongs to the execution".into()))
        }
        (_, Caller::Public) => Err(unauthenticated("There is no token")),
    }
}

fn require(account: &Account, scope: Scope) -> Outcome<()> {
    let shared = scope == Scope::ContainerAgent && account.scopes.contains(&Scope::SharedContainerAgent);
    if shared || account.scopes.contains(&scope) {
        return Ok(());
    }
    Err(forbidden(format!("This needs a token with the scope {scope:?}; yours has {:?}", account.scopes)))
}
