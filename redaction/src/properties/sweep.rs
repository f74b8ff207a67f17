//! Fifty secrets, each in every encoding, cut at every place.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};

use super::encodings::{ESCAPINGS, Escaping, escape};
use super::{Random, base64_decoded, cases_asked, contains, redacted, streamed, unescaped};
use crate::Redactor;

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Escaped(Escaping),
    /// With so many bytes before it, which shift its digits.
    Base64(usize),
    Base64Lines(usize),
    Base64Url(usize),
    /// A JSON document as base64: tokens, and configuration in environment variables.
    JsonInBase64(usize),
    Hex,
    HexUpper,
    HexColons,
}

impl Encoding {
    fn all() -> Vec<Self> {
        let phases = [Self::Base64, Self::Base64Lines, Self::Base64Url, Self::JsonInBase64];
        let mut all: Vec<Self> = ESCAPINGS.map(Self::Escaped).into();
        all.extend(phases.iter().flat_map(|encoding| (0..3).map(encoding)));
        all.extend([Self::Hex, Self::HexUpper, Self::HexColons]);
        all
    }

    fn of(self, secret: &[u8], mask: u64) -> Vec<u8> {
        let shifted = |bytes: usize| [&b"ab"[..bytes], secret, b"c"].concat();
        let hex = |separator: &str| {
            secret.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator).into_bytes()
        };
        match self {
            Self::Escaped(escaping) => escape(secret, escaping, &|at| mask >> (at % 64) & 1 == 1),
            Self::Base64(bytes) => BASE64_STANDARD.encode(shifted(bytes)).into_bytes(),
            Self::Base64Lines(bytes) => {
                let columns = 8 + (mask % 70) as usize;
                let digits = BASE64_STANDARD_NO_PAD.encode(shifted(bytes));
                digits.as_bytes().chunks(columns).collect::<Vec<_>>().join(&b"\n"[..])
            }
            Self::Base64Url(bytes) => BASE64_URL_SAFE.encode(shifted(bytes)).into_bytes(),
            Self::JsonInBase64(bytes) => {
                let text = String::from_utf8_lossy(&shifted(bytes)).into_owned();
                let json = text.replace('"', "\\\"").replace('\n', "\\n");
                BASE64_STANDARD.encode(json).into_bytes()
            }
            Self::Hex => hex(""),
            Self::HexUpper => hex("").to_ascii_uppercase(),
            Self::HexColons => hex(":"),
        }
    }
}

/// One whole sweep; with `PROPTEST_CASES`, sweeps with other escapes and line ends until so many cuts were made.
#[test]
fn every_secret_in_every_encoding_leaves_nothing_at_every_cut() {
    let secrets = fifty_secrets();
    let redactor = Redactor::new(secrets.iter().map(|(name, value)| (name, value))).unwrap();
    let mut random = Random(3);
    let mut cuts = 0;
    while cuts == 0 || cuts < u64::from(cases_asked().unwrap_or(0)) {
        for (name, secret) in &secrets {
            for encoding in Encoding::all() {
                let text = [b"x#", &encoding.of(secret.as_bytes(), random.next())[..], b"#y"].concat();
                let whole = redacted(&redactor, &text);
                leaves_nothing(&whole, name, secret.as_bytes(), encoding);
                for cut in 0..=text.len() {
                    let out = streamed(&redactor, &text, &[cut]);
                    assert_eq!(out, whole, "{secret:?} as {encoding:?}, cut at {cut}");
                }
                cuts += text.len() as u64 + 1;
            }
        }
    }
    println!("{cuts} cuts, no leak");
}

fn leaves_nothing(out: &[u8], name: &str, secret: &[u8], encoding: Encoding) {
    let shown = String::from_utf8_lossy(out);
    let inside = shown.strip_prefix("x#").and_then(|out| out.strip_suffix("#y"));
    let halves = inside.and_then(|inside| inside.split_once(&format!("[redacted:{name}]")));
    let Some((before, after)) = halves else { panic!("{encoding:?} of {name}: {shown}") };
    match encoding {
        // Quotes, white space and backslashes beside the secret may stay.
        Encoding::Escaped(_) => {
            assert_eq!(unescaped(before) + &unescaped(after), "", "{encoding:?}: {shown}")
        }
        Encoding::Base64(_)
        | Encoding::Base64Lines(_)
        | Encoding::Base64Url(_)
        | Encoding::JsonInBase64(_) => {
            for decoded in base64_decoded(out) {
                let ends = [&secret[..6], &secret[secret.len() - 6..]];
                assert!(!ends.iter().any(|end| contains(&decoded, end)), "{encoding:?}: {shown}");
            }
        }
        Encoding::Hex | Encoding::HexUpper | Encoding::HexColons => {
            assert_eq!(before.to_owned() + after, "", "{encoding:?}: {shown}");
        }
    }
}

/// Of every kind that people have.
fn fifty_secrets() -> Vec<(String, String)> {
    let mut random = Random(4);
    let mut secret = |at: usize| match at % 6 {
        0 => format!("sk-{}", random.characters(40)),
        1 => format!("ghp_{}", random.characters(12)),
        2 => format!("{:016x}{:016x}", random.next(), random.next()),
        3 => format!(
            "{} \"{}'s/{}+é=&!{}😀$",
            random.characters(4),
            random.characters(3),
            at,
            random.characters(4)
        ),
        4 => format!("postgres://app:{}@db.example:5432/live?x={at}", random.characters(16)),
        _ => {
            let lines: Vec<String> = (0..3).map(|_| random.characters(64).replace('_', "/")).collect();
            format!("-----BEGIN KEY-----\n{}\n-----END KEY-----\n", lines.join("\n"))
        }
    };
    (0..50).map(|at| (format!("S{at}"), secret(at))).collect()
}
