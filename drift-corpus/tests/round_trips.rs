//! A part of what `cargo xtask corpus --round-trips` goes through.

use drift_corpus::pairs::pair;
use drift_corpus::round_trip::{Ways, trips};

#[test]
fn a_difference_leads_there_and_back_in_every_format() {
    let some = trips(4_000, Ways::One, pair);
    assert!(some.failures.is_empty(), "{} failed, the first: {}", some.failed, some.failures[0]);
    let few = trips(150, Ways::All, pair);
    assert!(few.failures.is_empty(), "{} failed, the first: {}", few.failed, few.failures[0]);
    // Most changes can be said in every format; with none said there would be nothing to see.
    assert!(few.texts > 3_000 && few.unwritable < few.texts / 5, "{few:?}");
    // Blocks of search/replace that were written as sections of one unified diff, each counting from the one before.
    let once = trips(1, Ways::All, |_| pair(6_626));
    assert!(once.failures.is_empty(), "{}", once.failures[0]);
}
