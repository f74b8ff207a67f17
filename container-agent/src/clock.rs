//! Time and randomness, in one place: what is made of them elsewhere can be tested without them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// For measuring: never goes backwards.
pub fn now() -> Instant {
    Instant::now()
}

pub fn random() -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_le_bytes(bytes),
        // The kernel's generator fails only before it is seeded; the time differs from call to call then, too.
        Err(_) => u128::from(now_ms()) << 32 ^ u128::from(std::process::id()),
    }
}

/// A fraction from 0 to below 1.
pub fn random_fraction() -> f64 {
    (random() >> 96) as f64 / f64::from(u32::MAX) % 1.0
}
