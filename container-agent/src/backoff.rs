//! How long to wait before the next try: doubling from 0.25 s to 15 s, with full jitter, so that a thousand agents
//! do not come back in the same instant.

use std::time::Duration;

use crate::clock;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    pub fn delay(&mut self) -> Duration {
        let longest = self.ceiling();
        self.tries = self.tries.saturating_add(1);
        longest.mul_f64(clock::random_fraction())
    }

    pub fn reset(&mut self) {
        self.tries = 0;
    }

    fn ceiling(&self) -> Duration {
        FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<_> = (0..8)
            .map(|_| {
                let ceiling = backoff.ceiling();
                assert!(backoff.delay() <= ceiling);
                ceiling.as_millis()
            })
            .collect();
        assert_eq!(ceilings, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000]);
    }
}
