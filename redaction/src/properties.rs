//! What holds for every secret, every encoding and every cut: nothing of the secret is left, and nothing else is taken.
//! `PROPTEST_CASES=1000000` makes it a long run.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use proptest::sample::select;

use crate::Redactor;

/// Unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 2_000;

/// With `each` texts of a case tried, so many fewer cases.
fn cases(each: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(CASES).div_ceil(each);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Encodings of text byte by byte. In those that are mixed, `chosen` says which bytes are escaped that need not be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Escaping {
    None,
    Lines,
    SingleQuotes,
    SingleInDoubleQuotes,
    DoubleQuotes,
    Backslashes,
    AnsiC,
    AnsiCOctal,
    Json,
    JsonUpper,
    JsonInJson,
    PercentLower,
    PercentUpper,
    PercentAll,
    PercentTwice,
    Form,
    JsonInPercent,
    PercentInJson,
}

const ESCAPINGS: [Escaping; 18] = [
    Escaping::None,
    Escaping::Lines,
    Escaping::SingleQuotes,
    Escaping::SingleInDoubleQuotes,
    Escaping::DoubleQuotes,
    Escaping::Backslashes,
    Escaping::AnsiC,
    Escaping::AnsiCOctal,
    Escaping::Json,
    Escaping::JsonUpper,
    Escaping::JsonInJson,
    Escaping::PercentLower,
    Escaping::PercentUpper,
    Escaping::PercentAll,
    Escaping::PercentTwice,
    Escaping::Form,
    Escaping::JsonInPercent,
    Escaping::PercentInJson,
];

type Chosen<'a> = &'a dyn Fn(usize) -> bool;

fn json(text: &[u8], chosen: Chosen<'_>, upper: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut out = String::new();
    for (at, char) in text.chars().enumerate() {
        match char {
            '"' if !chosen(at) => out.push_str(r#"\""#),
            '\\' if !chosen(at) => out.push_str(r"\\"),
            '\n' if !chosen(at) => out.push_str(r"\n"),
            '\t' if !chosen(at) => out.push_str(r"\t"),
            '/' if !chosen(at) => out.push_str(r"\/"),
            char if chosen(at) || char < ' ' || char == '"' || char == '\\' => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    out += &if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                }
            }
            char => out.push(char),
        }
    }
    out.into_bytes()
}

fn percent(text: &[u8], chosen: Chosen<'_>, upper: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        if chosen(at) || !(byte.is_ascii_alphanumeric() || b"-_.~".contains(byte)) {
            let escaped = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
            out.extend(escaped.into_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

fn each(text: &[u8], escape: impl Fn(usize, u8) -> Option<String>) -> Vec<u8> {
    let escaped =
        |(at, byte): (usize, &u8)| escape(at, *byte).map_or_else(|| vec![*byte], String::into_bytes);
    text.iter().enumerate().flat_map(escaped).collect()
}

fn escape(text: &[u8], escaping: Escaping, chosen: Chosen<'_>) -> Vec<u8> {
    let never: Chosen<'_> = &|_| false;
    let quoted =
        |quote: &str, body: Vec<u8>| [quote.as_bytes(), &body, &quote.as_bytes()[quote.len() - 1..]].concat();
    let ansi_c = |octal: bool| {
        let body = each(text, |at, byte| match byte {
            b'\n' if !chosen(at) => Some(r"\n".into()),
            b'\'' | b'\\' if !chosen(at) => Some(format!("\\{}", char::from(byte))),
            _ if (chosen(at) || !(b' '..0x7f).contains(&byte) || b"'\\".contains(&byte)) && octal => {
                Some(format!("\\{byte:03o}"))
            }
            _ if chosen(at) || !(b' '..0x7f).contains(&byte) || b"'\\".contains(&byte) => {
                Some(format!("\\x{byte:02x}"))
            }
            _ => None,
        });
        quoted("$'", body)
    };
    match escaping {
        Escaping::None => text.to_vec(),
        Escaping::Lines => {
            let broken = text.iter().enumerate().map(|(at, byte)| {
                if at > 0 && chosen(at) { (&b"\r\n  "[..], byte) } else { (&b""[..], byte) }
            });
            broken.flat_map(|(end, byte)| end.iter().chain([byte])).copied().collect()
        }
        Escaping::SingleQuotes => quoted("'", each(text, |_, byte| (byte == b'\'').then(|| r"'\''".into()))),
        Escaping::SingleInDoubleQuotes => {
            quoted("'", each(text, |_, byte| (byte == b'\'').then(|| r#"'"'"'"#.into())))
        }
        Escaping::DoubleQuotes => quoted(
            "\"",
            each(text, |_, byte| b"\"\\$`!".contains(&byte).then(|| format!("\\{}", char::from(byte)))),
        ),
        Escaping::Backslashes => each(text, |_, byte| {
            let plain = byte.is_ascii_alphanumeric() || !byte.is_ascii() || byte == b'\n';
            (!plain).then(|| format!("\\{}", char::from(byte)))
        }),
        Escaping::AnsiC => ansi_c(false),
        Escaping::AnsiCOctal => ansi_c(true),
        Escaping::Json => json(text, chosen, false),
        Escaping::JsonUpper => json(text, chosen, true),
        Escaping::JsonInJson => json(&json(text, chosen, false), never, false),
        Escaping::PercentLower => percent(text, chosen, false),
        Escaping::PercentUpper => percent(text, chosen, true),
        Escaping::PercentAll => percent(text, &|_| true, true),
        Escaping::PercentTwice => percent(&percent(text, chosen, true), never, true),
        Escaping::Form => {
            let spaces: Vec<u8> = text.iter().map(|byte| if *byte == b' ' { 0 } else { *byte }).collect();
            let encoded = String::from_utf8(percent(&spaces, never, true)).unwrap();
            encoded.replace("%00", "+").into_bytes()
        }
        Escaping::JsonInPercent => percent(&json(text, chosen, false), never, true),
        Escaping::PercentInJson => json(&percent(text, chosen, true), never, false),
    }
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
    #![proptest_config(cases(1))]

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

    /// One line a case, each against fifty secrets: in a million lines at most one may lose anything.
    #[test]
    fn clean_lines_stay(
        seed in any::<[u64; 4]>(),
        words in prop::collection::vec("[a-z_]{2,12}", 1..8),
        kind in 0..6,
    ) {
        thread_local!(static REDACTOR: Redactor = fifty_secrets());
        let [a, b, c, d] = seed;
        let line = match kind {
            0 => format!("2026-01-02T03:04:05.{a:06}Z INFO {}: {b} of {c} in {d} ms", words.join("::")),
            1 => format!(r#"{{"id":"{a:016x}{b:016x}","message":"it\"s {}\nnext","n":{c}}}"#, words.join(" ")),
            2 => format!("commit {a:016x}{b:016x}{c:08x} {}", words.join("-")),
            3 => BASE64_STANDARD.encode([a, b, c, d].map(u64::to_be_bytes).concat()),
            4 => format!("https://{}/?q={}&t=%{:02x}", words.join("."), BASE64_URL_SAFE.encode(a.to_be_bytes()), b % 256),
            _ => format!("{:p} {:?}", &seed, words),
        };
        REDACTOR.with(|redactor| {
            prop_assert!(matches!(redactor.redact_text(&line), Cow::Borrowed(_)), "{}", line);
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(cases(20))]

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

/// As generated tokens are: a prefix and random characters.
fn fifty_secrets() -> Redactor {
    let secrets = (0..50_u64).map(|at| {
        let mixed = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let digits =
            BASE64_URL_SAFE_NO_PAD.encode([mixed, mixed.rotate_left(23) ^ at].map(u64::to_be_bytes).concat());
        let kept = [8, 12, 22][at as usize % 3];
        (format!("S{at}"), format!("{}{}", ["", "sk-", "ghp_"][at as usize % 3], &digits[..kept]))
    });
    Redactor::new(secrets).unwrap()
}

/// What escaped quoting and white space beside a secret decode to, which is nothing.
fn unescaped(left: &str) -> String {
    let symbols = crate::view::symbols(left.as_bytes(), crate::view::Decode::ALL, false);
    String::from_utf8_lossy(&symbols).into_owned()
}
