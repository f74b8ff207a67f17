//! In long texts only few bytes are looked at closely. What is found is what an automaton finds that reads them all.

use proptest::prelude::*;

use super::encodings::{ESCAPINGS, escape};
use super::{Random, config, redacted, streamed};
use crate::scan::Scan;
use crate::{Finding, Redactor};

/// What `Redactor::find` would find if it looked at every byte.
fn find_closely(redactor: &Redactor, text: &[u8]) -> Vec<Finding> {
    let mut scan = Scan::new(redactor.matcher());
    while scan.read_one(redactor.matcher(), text, true) {}
    redactor.findings(scan)
}

/// One of the secrets, written in some way, whole or in part.
fn form(random: &mut Random, values: &[String]) -> Vec<u8> {
    let value = values[random.below(values.len())].as_bytes();
    let mask = random.next() & random.next();
    let form = match random.below(4) {
        0 => hex::encode(value).into_bytes(),
        1 => base64::Engine::encode(&base64::prelude::BASE64_STANDARD, value).into_bytes(),
        _ => escape(value, random.of(&ESCAPINGS), &|at| mask >> (at % 64) & 1 == 1),
    };
    let end = if random.below(3) == 0 { 1 + random.below(form.len()) } else { form.len() };
    form[..end].to_vec()
}

/// Logs, and what is hard about them: gaps as long as a match may have and longer, escapes side by side, halves of
/// escapes, runs of backslashes.
fn text(random: &mut Random, values: &[String], bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 512);
    // Some texts are full of secrets and escapes, most have few.
    let rare = random.of(&[2, 20, 200, 2_000]);
    while text.len() < bytes {
        match random.below(rare) {
            0 => text.extend(form(random, values)),
            1 => match random.below(5) {
                0 => text.extend(std::iter::repeat_n(random.of(b" \n\"'$:\\"), random.below(140))),
                1 => text.extend_from_slice(
                    random.of(&[r"\n", r"\u0041", "%41", r"\x", "%2", r"\\\u00", "%25252541"]).as_bytes(),
                ),
                2 => text.extend(std::iter::repeat_n(random.of(b"%\\a"), random.below(20))),
                3 => text.extend((0..random.below(20)).map(|_| random.next() as u8)),
                _ => text.extend(format!("{:x}", random.next()).into_bytes()),
            },
            _ => {
                let length = 1 + random.below(12);
                text.extend(random.characters(length).into_bytes());
                text.push(random.of(b"   \n,.:=/\"'-"));
            }
        }
    }
    text
}

/// From six characters on, alike in their first ones or not.
fn values(random: &mut Random) -> Vec<String> {
    let shortest = random.of(&[6, 7, 9, 16, 30]);
    let prefix = random.of(&["", "sk-", "e", "%zz"]);
    let count = 1 + random.below(50);
    let mut value = || {
        let length = shortest + random.below(20);
        let middle = random.of(&["", "", "", " ", "/", "\n", "é"]);
        format!("{prefix}{}{middle}{}", random.characters(length / 2), random.characters(length - length / 2))
    };
    (0..count).map(|_| value()).collect()
}

proptest! {
    #![proptest_config(config(10))]

    #[test]
    fn looking_here_and_there_finds_what_reading_finds(
        seed in any::<u64>(),
        bytes in 1..65_536_usize,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut random = Random(seed);
        let values = values(&mut random);
        let named = values.iter().enumerate().map(|(at, value)| (format!("S{at}"), value));
        let redactor = Redactor::new(named).unwrap();
        let text = text(&mut random, &values, bytes);
        prop_assert_eq!(redactor.find(&text), find_closely(&redactor, &text));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert!(streamed(&redactor, &text, &cuts) == redacted(&redactor, &text));
    }

    /// Where a secret stands between the bytes that are looked at: it is moved on byte by byte.
    #[test]
    fn no_place_in_a_text_hides_a_secret(seed in any::<u64>(), bytes in 4_000..5_000_usize) {
        let mut random = Random(seed);
        let values = values(&mut random);
        let redactor = Redactor::new(values.iter().map(|value| ("NAME", value))).unwrap();
        let before = text(&mut random, &["#######".to_owned()], bytes);
        let form = form(&mut random, &values);
        for moved in 0..40 {
            let text = [&before[moved..], b"#", &form, b"#", &before[..moved]].concat();
            prop_assert_eq!(redactor.find(&text), find_closely(&redactor, &text), "{}", moved);
        }
    }
}
