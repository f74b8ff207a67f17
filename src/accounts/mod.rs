//! Owners and their access tokens, and the short-lived token of one execution under one lease.
//!
//! An access token is 256 random bits, shown once and stored only as SHA-256. An execution token is signed and
//! stored nowhere: it names its execution and generation, and expires by itself.

pub mod access_tokens;
pub mod execution_token;
pub mod store;

use shared_contracts::accounts::Scope;
use shared_contracts::ids::{OwnerId, TokenId};

/// Whose token came in, and what it may do.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Account {
    pub token_id: TokenId,
    pub owner_id: OwnerId,
    pub scopes: Vec<Scope>,
    /// None: until revoked.
    pub expires_at_ms: Option<u64>,
    /// To the minute.
    pub last_used_at_ms: Option<u64>,
}
