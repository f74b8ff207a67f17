//! Times, and the lines that tell them.

use std::time::{Duration, Instant};

use serde_json::json;

/// The median of each, taken in turns, so that what else the machine does falls on both.
pub fn in_turns<const COUNT: usize>(rounds: usize, runs: [&mut dyn FnMut(); COUNT]) -> [Duration; COUNT] {
    times(rounds, runs).map(median)
}

/// Where the work itself is asked for, and not how it fares beside another: nothing makes it faster than it is.
pub fn fastest_in_turns<const COUNT: usize>(
    rounds: usize,
    runs: [&mut dyn FnMut(); COUNT],
) -> [Duration; COUNT] {
    times(rounds, runs).map(|times| times.into_iter().min().unwrap_or_default())
}

fn times<const COUNT: usize>(rounds: usize, mut runs: [&mut dyn FnMut(); COUNT]) -> [Vec<Duration>; COUNT] {
    let mut times = [(); COUNT].map(|()| Vec::with_capacity(rounds));
    // The first round fills caches.
    for round in 0..=rounds {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            let started = Instant::now();
            run();
            let took = started.elapsed();
            if round > 0 {
                times.push(took);
            }
        }
    }
    times
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A comparison whose bar is how many times as long the peer takes.
pub fn compared(what: &str, ours: Duration, peer: &str, theirs: Duration, bar: f64) {
    println!(
        "{}",
        json!({ "what": what, "seconds": ours.as_secs_f64(), "beside": peer, "beside_seconds": theirs.as_secs_f64(), "bar": bar })
    );
}

pub fn not_measured(what: &str, ours: Duration, peer: &str, why: &str, bar: f64) {
    println!(
        "{}",
        json!({ "what": what, "seconds": ours.as_secs_f64(), "beside": peer, "not_measured": why, "bar": bar })
    );
}
