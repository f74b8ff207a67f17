//! How text is read so that one secret looks the same however it was escaped: as **symbols**, which are the bytes
//! that remain when quoting, white space and backslashes are left out and, in the decoded view, escapes are decoded.
//!
//! Secrets are read in the same way before they become patterns. So `it's`, `it\'s`, `'it'\''s'`, `"it\u0027s"` and
//! `it%27s` are all the symbols `its`, at any depth of escaping: a run of backslashes is one backslash, and `%2525`
//! is `%`.

/// The longest run of bytes without a symbol inside of a match: quoting, indentation, line ends. A longer one ends it.
pub(crate) const GAP_BYTES_MAX: usize = 64;

/// How often `%` may have been encoded again: `%2541` is one level more than `%41`.
const PERCENT_LEVELS_MAX: usize = 4;

/// The source of an atom: `%`, the repeated `25`, two digits.
const ATOM_BYTES_MAX: usize = 1 + 2 * PERCENT_LEVELS_MAX + 2;

/// A run of backslashes, whose first and last may pass the limit, and up to five atoms after it (`u0041`). All that
/// twice: a surrogate pair.
pub(crate) const TOKEN_BYTES_MAX: usize = 2 * (GAP_BYTES_MAX + 7 * ATOM_BYTES_MAX);

/// What a byte is before anything is decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A symbol.
    Kept,
    /// Quoting, white space, separators: what encodings put in or change.
    Dropped,
    /// `\` and `%`: kept or dropped, and perhaps the first byte of an escape.
    Opening,
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a wrong index")]
static KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Kept; 256];
    let dropped = b" \t\n\r\x07\x08\x0b\x0c\x1b'\"$:";
    let mut at = 0;
    while at < dropped.len() {
        kinds[dropped[at] as usize] = Kind::Dropped;
        at += 1;
    }
    kinds[b'\\' as usize] = Kind::Opening;
    kinds[b'%' as usize] = Kind::Opening;
    kinds
};

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
pub(crate) fn kind(byte: u8) -> Kind {
    KINDS[usize::from(byte)]
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a wrong index")]
static SYMBOLS: [bool; 256] = {
    let mut symbols = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        symbols[byte] = !matches!(KINDS[byte], Kind::Dropped) && byte as u8 != b'\\';
        byte += 1;
    }
    symbols
};

/// Whether the byte, read literally, is a symbol.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
pub(crate) fn is_symbol(byte: u8) -> bool {
    SYMBOLS[usize::from(byte)]
}

/// What stands at a `\` or a `%`.
pub(crate) enum Read {
    /// This many bytes that mean themselves.
    Literal(usize),
    Escape(Escape),
    /// More bytes are needed to know.
    Incomplete,
}

/// An escape sequence: its source, and what it decodes to, some of which may not be symbols.
pub(crate) struct Escape {
    pub bytes: usize,
    decoded: [u8; 4],
    length: usize,
}

impl Escape {
    fn of(bytes: usize, decoded: &[u8]) -> Read {
        let mut escape = Escape { bytes, decoded: [0; 4], length: decoded.len() };
        for (slot, byte) in escape.decoded.iter_mut().zip(decoded) {
            *slot = *byte;
        }
        Read::Escape(escape)
    }

    pub fn symbols(&self) -> impl Iterator<Item = u8> {
        self.decoded.into_iter().take(self.length).filter(|byte| is_symbol(*byte))
    }
}

/// Which escapes are decoded. A stream is read with [`Decode::ALL`]; a secret that contains what looks like an
/// escape (`50%25`) is read in every way, because an encoder may have escaped that very text.
#[derive(Clone, Copy)]
pub(crate) struct Decode {
    pub percent: bool,
    pub backslash: bool,
}

impl Decode {
    pub const ALL: Decode = Decode { percent: true, backslash: true };
}

struct NeedsMore;

/// Bytes after percent-decoding, one by one: the layer below backslashes.
struct Atoms<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether the text ends after `bytes`.
    ended: bool,
    decode: Decode,
    /// Whether one of them was decoded.
    decoded: bool,
}

impl Atoms<'_> {
    fn byte(&self, at: usize) -> Result<Option<u8>, NeedsMore> {
        match self.bytes.get(at) {
            None if !self.ended => Err(NeedsMore),
            byte => Ok(byte.copied()),
        }
    }

    fn hex_pair(&self, at: usize) -> Result<Option<u8>, NeedsMore> {
        let Some(high) = self.byte(at)?.and_then(hex_digit) else { return Ok(None) };
        let Some(low) = self.byte(at + 1)?.and_then(hex_digit) else { return Ok(None) };
        Ok(Some(high << 4 | low))
    }

    fn next(&mut self) -> Result<Option<u8>, NeedsMore> {
        let first = self.byte(self.at)?;
        if first != Some(b'%') || !self.decode.percent {
            self.at += 1;
            return Ok(first);
        }
        let mut at = self.at + 1;
        for _ in 0..PERCENT_LEVELS_MAX {
            if self.hex_pair(at)? != Some(b'%') {
                break;
            }
            at += 2;
        }
        let inner = self.hex_pair(at)?;
        let encoded = at > self.at + 1 || inner.is_some();
        self.decoded |= encoded;
        self.at = if inner.is_some() { at + 2 } else { at };
        Ok(Some(inner.unwrap_or(b'%')))
    }
}

/// Reads what begins at the `\` or `%` that `bytes` begins with. `ended` says that the text ends with `bytes`.
pub(crate) fn read(bytes: &[u8], ended: bool, decode: Decode) -> Read {
    let mut atoms = Atoms { bytes, at: 0, ended, decode, decoded: false };
    read_atoms(&mut atoms).unwrap_or(Read::Incomplete)
}

fn read_atoms(atoms: &mut Atoms<'_>) -> Result<Read, NeedsMore> {
    let plain = |atoms: &Atoms<'_>, end: usize, decoded: &[u8]| {
        if atoms.decoded { Escape::of(end, decoded) } else { Read::Literal(end) }
    };
    let first = atoms.next()?;
    if first != Some(b'\\') || !atoms.decode.backslash {
        return Ok(plain(atoms, atoms.at, first.as_slice()));
    }
    let Run { end, after } = rest_of_run(atoms)?;
    let escape = match after {
        Some(b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'a' | b'e' | b'E') => Escape::of(atoms.at, &[]),
        Some(b'x') => match digits(atoms, 2, 16)? {
            Some(byte) => Escape::of(atoms.at, &[byte as u8]),
            None => Read::Literal(0),
        },
        Some(b'u') => match digits(atoms, 4, 16)? {
            Some(unit) => utf8(atoms, unit)?,
            None => Read::Literal(0),
        },
        Some(first @ b'0'..=b'3') => match digits(atoms, 2, 8)? {
            Some(rest) => Escape::of(atoms.at, &[(first - b'0') << 6 | rest as u8]),
            None => Read::Literal(0),
        },
        _ => Read::Literal(0),
    };
    if let Read::Escape(_) = escape {
        return Ok(escape);
    }
    Ok(plain(atoms, end, &[]))
}

/// Backslashes, however deep the nesting was that doubled them, and the atom after them, which is read already.
struct Run {
    end: usize,
    after: Option<u8>,
}

/// Goes on after the first backslash.
fn rest_of_run(atoms: &mut Atoms<'_>) -> Result<Run, NeedsMore> {
    let start = atoms.at;
    loop {
        let end = atoms.at;
        if end - start >= GAP_BYTES_MAX {
            return Ok(Run { end, after: None });
        }
        let after = atoms.next()?;
        if after != Some(b'\\') {
            return Ok(Run { end, after });
        }
    }
}

/// As many digits as there must be, or none.
fn digits(atoms: &mut Atoms<'_>, count: usize, radix: u32) -> Result<Option<u32>, NeedsMore> {
    let mut value = 0;
    for _ in 0..count {
        let Some(digit) = atoms.next()?.and_then(|byte| char::from(byte).to_digit(radix)) else {
            return Ok(None);
        };
        value = value * radix + digit;
    }
    Ok(Some(value))
}

/// A UTF-16 unit, and the second of a pair if it follows, as the bytes of UTF-8. Half a pair is encoded as if it were
/// a character.
fn utf8(atoms: &mut Atoms<'_>, unit: u32) -> Result<Read, NeedsMore> {
    let end = atoms.at;
    if let 0xd800..0xdc00 = unit
        && let Some(low) = second_of_pair(atoms)?
    {
        let point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        let tail = |shift: u32| 0x80 | (point >> shift & 0x3f) as u8;
        return Ok(Escape::of(atoms.at, &[0xf0 | (point >> 18) as u8, tail(12), tail(6), tail(0)]));
    }
    let tail = |shift: u32| 0x80 | (unit >> shift & 0x3f) as u8;
    Ok(match unit {
        0..0x80 => Escape::of(end, &[unit as u8]),
        0x80..0x800 => Escape::of(end, &[0xc0 | (unit >> 6) as u8, tail(0)]),
        _ => Escape::of(end, &[0xe0 | (unit >> 12) as u8, tail(6), tail(0)]),
    })
}

fn second_of_pair(atoms: &mut Atoms<'_>) -> Result<Option<u32>, NeedsMore> {
    if atoms.next()? != Some(b'\\') || rest_of_run(atoms)?.after != Some(b'u') {
        return Ok(None);
    }
    Ok(digits(atoms, 4, 16)?.filter(|unit| (0xdc00..0xe000).contains(unit)))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// The symbols of a whole text. With `open`, what may be the first part of an escape at its end is left out.
pub(crate) fn symbols(bytes: &[u8], decode: Decode, open: bool) -> Vec<u8> {
    let mut symbols = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if kind(byte) != Kind::Opening {
            symbols.extend(is_symbol(byte).then_some(byte));
            rest = after;
            continue;
        }
        let used = match read(rest, !open, decode) {
            Read::Incomplete => break,
            Read::Literal(length) => {
                symbols.extend(rest.iter().take(length).copied().filter(|byte| is_symbol(*byte)));
                length
            }
            Read::Escape(escape) => {
                symbols.extend(escape.symbols());
                escape.bytes
            }
        };
        rest = rest.get(used..).unwrap_or_default();
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> String {
        String::from_utf8(symbols(text.as_bytes(), Decode::ALL, false)).unwrap()
    }

    #[test]
    fn every_escape_of_a_text_has_the_symbols_of_the_text() {
        for escaped in [
            "it's 5/é",
            r"it\'s 5/é",
            r"'it'\''s'' '5/é",
            r#""it\u0027s 5\/\u00e9""#,
            r#"\"it\\u0027s 5\\/\\u00E9\""#,
            "it%27s%205%2f%C3%A9",
            "it%2527s%25205%252F%25c3%25a9",
            r"$'it\'s 5/\303\251'",
            r"it\x27s\0405/\xc3\xA9",
            r"%5Cu0069%5C%75%30%30%374s 5/é",
        ] {
            assert_eq!(decoded(escaped), "its5/é", "{escaped}");
        }
    }

    #[test]
    fn the_halves_of_a_surrogate_pair_are_one_character() {
        for escaped in [r"\ud83d\uDE00!", r"\\ud83d\\ude00!", "%5Cud83d%5Cude00!", "%F0%9F%98%80!"] {
            assert_eq!(decoded(escaped), "😀!", "{escaped}");
        }
        let halves = symbols(br"\ud83d!\ud83d\u0041", Decode::ALL, false);
        assert_eq!(halves, b"\xed\xa0\xbd!\xed\xa0\xbdA");
    }

    #[test]
    fn what_only_resembles_an_escape_stays() {
        for text in ["100%", "%zz", "%2", "%4g"] {
            assert_eq!(decoded(text), text);
        }
        assert_eq!(decoded(r"\x4g"), "x4g");
        assert_eq!(decoded(r"\u00"), "u00");
        assert_eq!(decoded(r"\189"), "189");
        assert_eq!(decoded("%25"), "%");
        for letter in "nrtbfvaeE".chars() {
            assert_eq!(decoded(&format!(r"a\{letter}b")), "ab");
        }
        assert_eq!(decoded(r"a\qb"), "aqb");
    }

    #[test]
    fn half_an_escape_waits_for_the_rest() {
        for half in [
            r"\",
            r"\\",
            r"\u",
            r"\u00e",
            r"\x4",
            r"\10",
            "%",
            "%4",
            "%25",
            "%254",
            "%5C",
            "%5Cu",
            r"\ud83d",
            r"\ud83d\ude",
        ] {
            assert!(matches!(read(half.as_bytes(), false, Decode::ALL), Read::Incomplete), "{half}");
            assert!(!matches!(read(half.as_bytes(), true, Decode::ALL), Read::Incomplete), "{half}");
        }
    }

    #[test]
    fn a_token_has_a_longest_length() {
        let run = "%2525255C".repeat(20) + "u0041";
        let Read::Escape(escape) = read(run.as_bytes(), true, Decode::ALL) else { panic!("not an escape") };
        assert!(escape.bytes <= TOKEN_BYTES_MAX);
        assert!(
            matches!(read(&[b'\\'; 500], true, Decode::ALL), Read::Literal(length) if length <= GAP_BYTES_MAX + 1)
        );
    }
}
