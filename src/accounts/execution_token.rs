//! The token that a container agent gets with a lease: `pbx_<claims>.<HMAC-SHA256 of the claims>`, both base64url
//! (RFC 2104, RFC 4648 §5). It opens what belongs to one execution, under one generation, for a few
//! minutes. That the generation is still the present one is asked where it is used.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ContainerAgentId, OwnerId, ProjectId};
use shared_contracts::limits::EXECUTION_TOKEN_SECONDS;

use crate::platform::failure::{Failure, Outcome};

const PREFIX: &str = "pbx_";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub lease: Lease,
    pub project_id: ProjectId,
    /// Whose execution it is; the machine may belong to someone else.
    pub owner_id: OwnerId,
    pub container_agent_id: ContainerAgentId,
    pub expires_at_ms: u64,
}

impl Claims {
    pub fn new(
        lease: Lease,
        project_id: ProjectId,
        owner_id: OwnerId,
        container_agent_id: ContainerAgentId,
        now_ms: u64,
    ) -> Self {
        let expires_at_ms = now_ms + EXECUTION_TOKEN_SECONDS * 1_000;
        Self { lease, project_id, owner_id, container_agent_id, expires_at_ms }
    }
}

fn mac(key: &[u8], payload: &str) -> Outcome<Hmac<sha2::Sha256>> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key)
        .map_err(|error| Failure::internal("the signing key", error))?;
    mac.update(payload.as_bytes());
    Ok(mac)
}

pub fn sign(key: &[u8], claims: &Claims) -> Outcome<String> {
    let json = serde_json::to_vec(claims).map_err(|error| Failure::internal("writing claims", error))?;
    let payload = BASE64_URL_SAFE_NO_PAD.encode(json);
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac(key, &payload)?.finalize().into_bytes());
    Ok(format!("{PREFIX}{payload}.{signature}"))
}

/// The claims of a token of ours that has not expired; none of anything else. Compares in constant time.
pub fn verify(key: &[u8], token: &str, now_ms: u64) -> Outcome<Option<Claims>> {
    let Some((payload, signature)) = token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.')) else {
        return Ok(None);
    };
    let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else { return Ok(None) };
    if mac(key, payload)?.verify_slice(&signature).is_err() {
        return Ok(None);
    }
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .ok()
        .and_then(|json| serde_json::from_str(str::from_utf8(&json).ok()?).ok());
    Ok(claims.filter(|claims: &Claims| claims.expires_at_ms > now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared_contracts::ids::ExecutionId;

    fn claims() -> Claims {
        let lease = Lease { execution_id: ExecutionId::new(1, 2), generation: 3 };
        Claims::new(lease, ProjectId::new(1, 1), OwnerId::new(1, 1), ContainerAgentId::new(1, 1), 1_000)
    }

    #[test]
    fn opens_only_whole_and_fresh() {
        let key = [7; 32];
        let token = sign(&key, &claims()).unwrap();
        assert_eq!(verify(&key, &token, 2_000).unwrap(), Some(claims()));
        assert_eq!(verify(&key, &token, claims().expires_at_ms).unwrap(), None, "expired");
        assert_eq!(verify(&[8; 32], &token, 2_000).unwrap(), None, "another key");
        let (payload, signature) = token.strip_prefix(PREFIX).unwrap().split_once('.').unwrap();
        let mut other = claims();
        other.lease.generation = 4;
        let forged = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&other).unwrap());
        assert_eq!(
            verify(&key, &format!("{PREFIX}{forged}.{signature}"), 2_000).unwrap(),
            None,
            "other claims"
        );
        for broken in ["", "pbx_", "pbx_.", &format!("{PREFIX}{payload}."), &token[..token.len() - 1]] {
            assert_eq!(verify(&key, broken, 2_000).unwrap(), None, "{broken}");
        }
    }
}
