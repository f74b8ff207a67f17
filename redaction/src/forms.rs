//! The forms of a secret: for each encoding the runs of symbols that depend on the secret's bytes alone.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;

use crate::view::{Decode, GAP_BYTES_MAX, is_symbol, symbols};
use crate::{Form, SYMBOLS_MIN};

/// A longer pattern is searched in pieces of this length, each of which is redacted by itself: so a stream holds
/// little back, and most of a private key is as secret as all of it.
pub(crate) const PATTERN_SYMBOLS_MAX: usize = 64;

/// Whose pattern it is, and what it is searched for as.
#[derive(Clone, Copy)]
pub(crate) struct Pattern {
    /// Which of the secrets.
    pub secret: usize,
    pub form: Form,
    pub symbols: usize,
}

/// All patterns of all secrets, each once: the first secret that has it gives the name.
#[derive(Default)]
pub(crate) struct Patterns {
    pub symbols: Vec<Vec<u8>>,
    pub about: Vec<Pattern>,
    known: HashSet<Vec<u8>>,
}

/// How many symbols the value has as it stands: what the minimum is about.
pub(crate) fn literal_symbols(value: &[u8]) -> usize {
    value.iter().filter(|byte| is_symbol(**byte)).count()
}

impl Patterns {
    pub fn add(&mut self, secret: usize, value: &[u8]) {
        for part in std::iter::once(value).chain(parts(value)) {
            for text in spellings(part) {
                for read in readings(&text) {
                    self.insert(secret, Form::Text, &read);
                }
            }
            for text in [part, &json_escaped(part)] {
                self.insert(secret, Form::Hex, hex::encode(text).as_bytes());
                self.insert(secret, Form::Hex, hex::encode_upper(text).as_bytes());
                for phase in 0..3 {
                    self.insert(secret, Form::Base64, &base64_inside(text, phase, &STANDARD));
                    self.insert(secret, Form::Base64, &base64_inside(text, phase, &URL_SAFE));
                }
            }
        }
    }

    fn insert(&mut self, secret: usize, form: Form, symbols: &[u8]) {
        for piece in pieces(symbols) {
            if piece.len() >= SYMBOLS_MIN && self.known.insert(piece.to_vec()) {
                self.symbols.push(piece.to_vec());
                self.about.push(Pattern { secret, form, symbols: piece.len() });
            }
        }
    }
}

/// Pieces that overlap in one symbol, so that a whole secret is one stretch of matches. The last is as long as the
/// others.
fn pieces(symbols: &[u8]) -> impl Iterator<Item = &[u8]> {
    let last = symbols.len().saturating_sub(PATTERN_SYMBOLS_MAX);
    (0..last)
        .step_by(PATTERN_SYMBOLS_MAX - 1)
        .chain([last])
        .filter_map(move |from| symbols.get(from..symbols.len().min(from + PATTERN_SYMBOLS_MAX)))
}

/// The lines of a value of several lines, each of which is secret by itself. What frames a PEM block tells nothing.
/// A line end may be written as `\n` in the value: private keys in environment variables are. A gap that no match
/// spans parts a value too.
fn parts(value: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut gap = 0;
    for (at, byte) in value.iter().enumerate() {
        let rest = value.get(at..).unwrap_or_default();
        gap = if is_symbol(*byte) { 0 } else { gap + 1 };
        if *byte == b'\n' || rest.starts_with(br"\n") || gap > GAP_BYTES_MAX {
            parts.extend(value.get(from..at));
            from = if *byte == b'\\' { at + 2 } else { at + 1 };
        }
    }
    if from == 0 {
        return parts;
    }
    parts.extend(value.get(from..));
    parts.retain(|part| literal_symbols(part) >= SYMBOLS_MIN && !part.trim_ascii().starts_with(b"-----"));
    parts
}

/// The bytes an escape may stand for, where that is not the value itself.
fn spellings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![value.to_vec()];
    if value.contains(&b' ') {
        // Forms encode a space as `+`.
        spellings.push(value.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect());
    }
    if !value.is_ascii() {
        // `\u00e9` for the byte e9.
        spellings.push(value.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes());
    }
    spellings
}

/// The symbols of a value, as streams show them. There are several where the value has in itself what looks like an
/// escape, or where its first or last bytes would make one with what stands beside them.
fn readings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut readings = Vec::new();
    for (percent, backslash) in [(false, false), (true, true), (true, false), (false, true)] {
        readings.push(symbols(value, Decode { percent, backslash }, false));
    }
    for before in [&br"\"[..], b"%"] {
        readings.push(symbols(&[before, value].concat(), Decode::ALL, false));
    }
    readings.push(symbols(value, Decode::ALL, true));
    readings
}

/// The base64 digits that depend on `value` alone where `phase` bytes stand before it in its group of three.
fn base64_inside(value: &[u8], phase: usize, alphabet: &Alphabet) -> Vec<u8> {
    let padded = [vec![0; phase], value.to_vec()].concat();
    let digits = GeneralPurpose::new(alphabet, NO_PAD).encode(&padded);
    let first = (phase * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    digits.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

/// The value inside of a JSON document that is encoded as a whole.
fn json_escaped(value: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'"' => escaped.extend(br#"\""#),
            b'\\' => escaped.extend(br"\\"),
            b'\n' => escaped.extend(br"\n"),
            b'\r' => escaped.extend(br"\r"),
            b'\t' => escaped.extend(br"\t"),
            _ => escaped.push(*byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_STANDARD;

    #[test]
    fn the_digits_inside_are_the_same_whatever_stands_around() {
        for phase in 0..3 {
            let inside = base64_inside(b"s3cr3t-value", phase, &STANDARD);
            for (around, length) in [(b'a', 0), (0xff, 1), (b'z', 2), (b'0', 3)] {
                let text = [&vec![around; phase + 3][..], b"s3cr3t-value", &vec![around; length]].concat();
                let encoded = BASE64_STANDARD.encode(text);
                assert!(encoded.as_bytes().windows(inside.len()).any(|window| window == inside), "{encoded}");
            }
        }
    }

    #[test]
    fn pieces_cover_everything_and_overlap() {
        for length in [6, 63, 64, 65, 127, 128, 500] {
            let symbols: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut end = 0;
            for piece in pieces(&symbols) {
                let from = piece.as_ptr() as usize - symbols.as_ptr() as usize;
                assert!(piece.len() == length.min(PATTERN_SYMBOLS_MAX));
                assert!(end == 0 || from < end);
                end = from + piece.len();
            }
            assert_eq!(end, length);
        }
    }

    #[test]
    fn lines_count_by_themselves_but_not_the_frame_of_a_key() {
        let key = "-----BEGIN KEY-----\nabcdefgh\n\r\nabc\n ijklmnop\r\n-----END KEY-----";
        assert_eq!(parts(key.as_bytes()), [&b"abcdefgh"[..], b" ijklmnop\r"]);
        assert_eq!(parts(br"abcdefgh\nijklmnop"), [b"abcdefgh", b"ijklmnop"]);
        assert!(parts(b"abcdefgh").is_empty());
    }
}
