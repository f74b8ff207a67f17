//! Access tokens: who may call, for whom, and what for.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::ids::{OwnerId, TokenId};
use crate::limits::NAME_CHARS_MAX;
use crate::text::one_line;

/// What a token is good for. A route names the scope it needs; see [`crate::routes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Scope {
    Read,
    Write,
    /// Make, list and revoke the owner's access tokens.
    Tokens,
    /// Connect as a container agent and run the owner's executions.
    ContainerAgent,
    /// Connect as a container agent that runs every owner's executions.
    SharedContainerAgent,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateAccessToken {
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub name: String,
    #[garde(length(min = 1, max = 5))]
    pub scopes: Vec<Scope>,
    /// At most a year, and never beyond the expiry of the token that makes it. None: as long as that one.
    #[garde(inner(range(min = 60, max = 366 * 86_400)))]
    pub lifetime_seconds: Option<u64>,
}

/// A token's record; the token itself is stored nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccessToken {
    pub id: TokenId,
    pub owner_id: OwnerId,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub created_at_ms: u64,
    pub expires_at_ms: Option<u64>,
    /// To the minute.
    pub last_used_at_ms: Option<u64>,
    pub revoked_at_ms: Option<u64>,
}

/// The only answer that ever holds the token itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatedAccessToken {
    #[serde(flatten)]
    pub record: AccessToken,
    /// `pby_` and 256 random bits in base64url. Shown once.
    pub token: String,
}
