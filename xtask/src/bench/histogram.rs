//! Times of many events in little memory: buckets that are at most 1 % wide.

use std::time::Duration;

/// Buckets between one power of two and the next.
const STEPS: u64 = 128;
const STEPS_BITS: u32 = STEPS.trailing_zeros();

/// Counts of microseconds.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most_us: u64,
}

impl Histogram {
    pub fn add(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(us);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.total += 1;
        self.most_us = self.most_us.max(us);
    }

    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.most_us = self.most_us.max(other.most_us);
    }

    pub fn len(&self) -> u64 {
        self.total
    }

    pub fn most(&self) -> Duration {
        Duration::from_micros(self.most_us)
    }

    /// The time that this share of all did not exceed; `0.5` is the median.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(value_of(bucket).min(self.most_us));
            }
        }
        self.most()
    }

    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl FromIterator<Duration> for Histogram {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut histogram = Self::default();
        times.into_iter().for_each(|time| histogram.add(time));
        histogram
    }
}

fn bucket_of(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(STEPS_BITS + 1);
    (u64::from(shift) * STEPS + (us >> shift)) as usize
}

/// The bucket's upper end.
fn value_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = bucket - shift * STEPS;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_per_cent() {
        let histogram: Histogram = (1..=100_000).map(Duration::from_micros).collect();
        for (share, wanted) in [(0.5, 50_000.0), (0.95, 95_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = histogram.quantile(share).as_micros() as f64;
            assert!((found / wanted - 1.0).abs() < 0.01, "{share}: {found}");
        }
        assert_eq!(histogram.len(), 100_000);
    }

    #[test]
    fn small_times_are_exact_and_buckets_never_overlap() {
        let mut before = 0;
        for us in 0..100_000 {
            let bucket = bucket_of(us);
            assert!(bucket >= before && value_of(bucket) >= us, "{us}");
            before = bucket;
        }
        assert_eq!(value_of(bucket_of(77)), 77);
    }
}
