//! What holds for every secret, every encoding and every cut: nothing of the secret is left, and nothing else is taken.
//! `PROPTEST_CASES=1000000` makes it a long run; with `-- --nocapture` it says how long.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use proptest::sample::select;

mod cases;
mod clean;
mod encodings;
mod long;
mod sweep;

use self::encodings::{Chosen, ESCAPINGS, Escaping, escape};
use crate::Redactor;

/// Unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 2_000;

fn cases_asked() -> Option<u32> {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok())
}

/// With `each` texts of a case tried, so many fewer cases.
fn config(each: u32) -> ProptestConfig {
    let cases = cases_asked().unwrap_or(CASES).div_ceil(each);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Values with what each encoding treats in its own way. What looks like an escape is excepted, as documented.
fn a_secret() -> impl Strategy<Value = Vec<u8>> {
    let special = select(vec![
        "\"", "'", "\\ ", "$", "`", "!", " ", "/", "+", "=", "&", "% ", "<", "\n", "\t", ":", "-", "é", "😀",
        "#", "?",
    ]);
    let token = "[A-Za-z0-9_]{8,40}";
    let mixed = prop::collection::vec(
        prop_oneof![3 => "[A-Za-z0-9]{1,4}", 1 => special.prop_map(str::to_owned)],
        6..24,
    );
    let key = prop::collection::vec("[A-Za-z0-9+/]{16,64}", 2..6)
        .prop_map(|lines| format!("-----BEGIN KEY-----\n{}\n-----END KEY-----\n", lines.join("\n")));
    let text =
        prop_oneof![2 => token.prop_map(|text| text), 4 => mixed.prop_map(|parts| parts.concat()), 1 => key];
    text.prop_map(String::into_bytes)
        .prop_filter("long enough", |value| crate::forms::literal_symbols(value) >= 8)
}

/// Text around a secret, which no pattern can grow into.
fn a_neighbour() -> impl Strategy<Value = String> {
    select(vec!["", "#", "--token=#", "{#", "#\n#", "(((#", "#100% #", "#\\#", "#,#,#"])
        .prop_map(str::to_owned)
}

fn streamed(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stream = redactor.stream();
    let mut from = 0;
    for cut in cuts {
        stream.feed(&text[from..*cut], &mut out);
        from = *cut;
    }
    stream.feed(&text[from..], &mut out);
    stream.finish(&mut out);
    out
}

fn redacted(redactor: &Redactor, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut from = 0;
    for finding in redactor.find(text) {
        out.extend_from_slice(&text[from..finding.at.start]);
        out.extend(format!("[redacted:{}]", finding.name).into_bytes());
        from = finding.at.end;
    }
    out.extend_from_slice(&text[from..]);
    out
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// All base64 in `text`, decoded from each of the four places where a group of digits may begin.
fn base64_decoded(text: &[u8]) -> Vec<Vec<u8>> {
    let joined: Vec<u8> = text.iter().filter(|byte| !b"\r\n ".contains(byte)).copied().collect();
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let runs = joined.split(|byte| !is_digit(byte)).map(|run| run.iter().map(standard).collect::<Vec<u8>>());
    let decoded = runs.flat_map(|run| {
        (0..4.min(run.len())).map(move |from| {
            let rest = (run.len() - from) % 4;
            let filled = [&run[from..], &[b'A'; 4][..(4 - rest) % 4]].concat();
            BASE64_STANDARD.decode(filled).unwrap()
        })
    });
    decoded.collect()
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn an_escaped_secret_goes_and_what_stands_around_it_stays(
        secret in a_secret(),
        escaping in select(ESCAPINGS.to_vec()),
        mask in any::<u64>(),
        before in a_neighbour(),
        after in a_neighbour(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let redactor = Redactor::new([("NAME", &secret)]).unwrap();
        let escaped = escape(&secret, escaping, &|at| mask >> (at % 64) & 1 == 1);
        let text = [before.as_bytes(), &escaped, after.as_bytes()].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let out = streamed(&redactor, &text, &cuts);
        prop_assert_eq!(&out, &redacted(&redactor, &text));
        // Quotes, white space and backslashes beside the secret may stay.
        let inside = out.strip_prefix(before.as_bytes()).and_then(|out| out.strip_suffix(after.as_bytes()));
        let halves = inside.map(String::from_utf8_lossy);
        let halves = halves.as_ref().and_then(|inside| inside.split_once("[redacted:NAME]"));
        let left = halves.map(|(before, after)| unescaped(before) + &unescaped(after));
        prop_assert_eq!(left.as_deref(), Some(""), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn base64_and_hex_of_a_longer_text_decode_to_no_secret(
        secret in a_secret(),
        before in prop::collection::vec(any::<u8>(), 0..9),
        after in prop::collection::vec(any::<u8>(), 0..9),
        engine in 0..4,
        columns in prop_oneof![Just(usize::MAX), Just(76), Just(64), 5..30_usize],
        slashes in any::<bool>(),
        upper in any::<bool>(),
        separator in select(vec!["", ":", " ", "\n"]),
    ) {
        // A backslash would belong to the secret escaped for JSON, and go with it.
        prop_assume!(before.last() != Some(&b'\\'));
        let redactor = Redactor::new([("NAME", &secret)]).unwrap();
        let text = [&before[..], &secret, &after].concat();
        let encoded = match engine {
            0 => BASE64_STANDARD.encode(&text),
            1 => BASE64_STANDARD_NO_PAD.encode(&text),
            2 => BASE64_URL_SAFE.encode(&text),
            _ => BASE64_URL_SAFE_NO_PAD.encode(&text),
        };
        prop_assert!(base64_decoded(encoded.as_bytes()).iter().any(|decoded| contains(decoded, &secret)));
        let lines: Vec<&[u8]> = encoded.as_bytes().chunks(columns).collect();
        let mut wrapped = lines.join(&b"\n  "[..]);
        if slashes {
            wrapped = String::from_utf8(wrapped).unwrap().replace('/', r"\/").replace('\n', r"\n").into_bytes();
        }
        let out = streamed(&redactor, &wrapped, &[wrapped.len() / 2]);
        prop_assert!(contains(&out, b"[redacted:NAME]"), "{}", String::from_utf8_lossy(&out));
        // What is left is no piece of it either: the digits that depend on the secret alone are gone.
        let shown = String::from_utf8_lossy(&out).replace(r"\/", "/").replace(r"\n", "\n");
        for decoded in base64_decoded(shown.as_bytes()) {
            prop_assert!(!contains(&decoded, &secret[..6]) && !contains(&decoded, &secret[secret.len() - 6..]));
        }

        let pairs = text.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        let pairs: Vec<String> = pairs.collect();
        let out = streamed(&redactor, pairs.join(separator).as_bytes(), &[pairs.len()]);
        let digits = String::from_utf8(out).unwrap().replace(separator, "");
        let expected = [&before[..], b"\0", &after].map(hex::encode);
        let found = digits.to_lowercase().replace("[redactedname]", "00").replace("[redacted:name]", "00");
        prop_assert_eq!(found, expected.concat());
    }

    #[test]
    fn any_bytes_at_all_are_the_same_in_any_chunks(
        text in prop::collection::vec(select(br#"ab%25Cc0nxu\"' "#.to_vec()), 0..200),
        values in prop::collection::vec(prop::collection::vec(select(br#"ab%25Cc0nxu\"' "#.to_vec()), 8..20), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let named = values.iter().zip(["A", "B", "C"]).map(|(value, name)| (name, value));
        let Ok(redactor) = Redactor::new(named) else { return Ok(()) };
        let planted = [&text[..text.len() / 2], &values[0], &text[text.len() / 2..]].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(planted.len() + 1)).collect();
        cuts.sort_unstable();
        let out = streamed(&redactor, &planted, &cuts);
        prop_assert_eq!(&out, &redacted(&redactor, &planted));
        // As it stands, a secret is found beside and between anything.
        for value in &values {
            prop_assert!(!contains(&out, value), "{:?} in {:?}", value, String::from_utf8_lossy(&planted));
        }
    }
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn every_cut_and_single_bytes_give_what_the_whole_gives(
        secret in a_secret(),
        other in a_secret(),
        escaping in select(ESCAPINGS.to_vec()),
        mask in any::<u64>(),
        between in a_neighbour(),
    ) {
        let redactor = Redactor::new([("ONE", &secret), ("TWO", &other)]).unwrap();
        let chosen: Chosen<'_> = &|at| mask >> (at % 64) & 1 == 1;
        let (one, two) = (escape(&secret, escaping, chosen), escape(&other, Escaping::JsonInJson, chosen));
        let text = [b"x", &one[..one.len() / 2], &one[..], between.as_bytes(), &two, &other].concat();
        let whole = redacted(&redactor, &text);
        // Up to here a thousand bytes: every cut of a longer text would take the time of ten others.
        for cut in 0..=text.len().min(1_000) {
            prop_assert_eq!(&streamed(&redactor, &text, &[cut]), &whole, "{}", cut);
        }
        let all: Vec<usize> = (0..text.len()).collect();
        prop_assert_eq!(&streamed(&redactor, &text, &all), &whole);
    }
}

/// What escaped quoting and white space beside a secret decode to, which is nothing.
fn unescaped(left: &str) -> String {
    let symbols = crate::view::symbols(left.as_bytes(), crate::view::Decode::ALL, false);
    String::from_utf8_lossy(&symbols).into_owned()
}

/// Splitmix: as many choices as a long text wants, from one number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// So many characters of base64, as in a token.
    fn characters(&mut self, count: usize) -> String {
        let bytes: Vec<u8> = (0..count).map(|_| self.next() as u8).collect();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)[..count].to_owned()
    }
}
