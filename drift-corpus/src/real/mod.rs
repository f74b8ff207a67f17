//! Edits from real histories: what changed between published versions of well-known crates, applied to the version
//! itself, to an older and a later one, and to one that has the change already; plain, and spoiled as models spoil it.
//! Which hunk belongs where is known from line diffs between the versions, not from looking for its text.

mod cases;
mod crates;
mod diff;
mod fetch;
mod noise;

use std::collections::BTreeSet;

use anyhow::Result;

pub use self::cases::{Real, cases};
pub use self::fetch::Files;

use crate::round_trip::Pair;

/// Every crate's versions, oldest first. The first time they are downloaded.
pub fn histories() -> Result<Vec<(&'static str, Vec<Files>)>> {
    let history = |(name, versions): &(&'static str, [&'static str; 8])| {
        let versions: Result<Vec<Files>> =
            versions.iter().map(|version| fetch::files(name, version)).collect();
        Ok((*name, versions?))
    };
    crates::CRATES.iter().map(history).collect()
}

/// Every file that differs between two consecutive versions, those that come and go too.
pub fn pairs(histories: &[(&'static str, Vec<Files>)]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (name, versions) in histories {
        for (number, versions) in versions.windows(2).enumerate() {
            let paths: BTreeSet<&String> = versions.iter().flat_map(Files::keys).collect();
            let changed = paths.into_iter().filter(|path| versions[0].get(*path) != versions[1].get(*path));
            pairs.extend(changed.map(|path| Pair {
                name: format!("{name}/{number}/{path}"),
                path: path.clone(),
                before: versions[0].get(path).cloned(),
                after: versions[1].get(path).cloned(),
            }));
        }
    }
    pairs
}
