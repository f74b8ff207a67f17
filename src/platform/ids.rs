//! New ids and secrets from the platform's random numbers.

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
