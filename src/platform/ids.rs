//! New ids and secrets from the platform's random numbers, and ids that derive from others.

use sha2::Digest;

use super::failure::{Failure, Outcome};

/// Cryptographically random bytes.
pub fn random<const LENGTH: usize>() -> Outcome<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal("random numbers", error))?;
    Ok(bytes)
}

/// 128 random bits for an id, which takes the lower 80 of them.
pub fn entropy() -> Outcome<u128> {
    random::<16>().map(u128::from_be_bytes)
}

/// 128 bits that derive from what they are to stand for, the same each time.
pub fn derived(of: impl AsRef<[u8]>) -> u128 {
    let digest = sha2::Sha256::digest(of);
    digest.iter().take(16).fold(0, |bits, byte| (bits << 8) | u128::from(*byte))
}
