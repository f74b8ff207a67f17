//! Takes named secrets out of byte streams, whatever encoding they come in, and finds them in files.
//!
//! ```
//! let redactor = redaction::Redactor::new([("TOKEN", "s3cr3t/value")])?;
//! assert_eq!(redactor.redact_text("curl -H 'Token: s3cr3t/value'"), "curl -H 'Token: [redacted:TOKEN]'");
//! assert_eq!(redactor.redact_text(r#"{"url":"\/?t=s3cr3t%2Fvalue"}"#), r#"{"url":"\/?t=[redacted:TOKEN]"}"#);
//!
//! let mut stream = redactor.stream();
//! let mut out = Vec::new();
//! stream.feed(b"czNjc", &mut out);
//! stream.feed(b"jN0L3ZhbHVl\n", &mut out);
//! stream.finish(&mut out);
//! assert_eq!(out, b"[redacted:TOKEN]\n");
//! # Ok::<(), redaction::Refused>(())
//! ```
//!
//! Pure: no I/O, no clock, no panic. Who reads and writes streams is the caller.
//!
//! # What is found
//!
//! | form | how it may stand |
//! | --- | --- |
//! | as text | as it is; between other text; broken into lines or indented anywhere |
//! | shell | `'…'` with `'\''` or `'"'"'`, `"…"` with backslashes, `\`-escaped, `$'…'` with `\n`, `\'`, `\xHH`, `\ooo` |
//! | JSON | `\"`, `\\`, `\/`, `\n`…, `\u00XX` in either case, UTF-16 pairs; a string in a string, to any depth |
//! | URL | `%HH` in either case, `+` for a space; encoded again up to four times; of JSON, too |
//! | base64 | standard and URL-safe, padded or not, in lines or not, wherever in a longer text the secret stands; of the secret, or of the secret escaped for JSON. Itself escaped as above |
//! | hex | all upper or all lower case; also with spaces, colons or line ends between |
//!
//! **Each byte may be escaped or not**, and those escapes may be mixed: text is decoded, not compared with a list of
//! spellings. A secret of several lines is found as a whole, and each of its lines by itself (the frame of a PEM block
//! excepted). Of a form longer than 64 characters any of its pieces of that length is enough.
//!
//! To that end some bytes do not count when text and secret are compared: white space, `'`, `"`, `$`, `:` and
//! backslashes. The secret `pass word` is therefore found in `"pass": "word"`. A run of more than 64 such bytes inside
//! of a secret ends a match.
//!
//! # What is not found
//!
//! - A secret that was compressed, encrypted, hashed, reversed, changed in case, or written in another base (base32,
//!   decimal), as UTF-16, or in base64 twice.
//! - HTML entities (`&amp;`), quoted-printable, `\u{e9}`, `\U000000e9`, octal escapes of fewer than three digits.
//! - Hex with offsets (`xxd`, `hexdump -C`) or `0x` before each byte, or in mixed case.
//! - A part of a secret: a prefix that a program prints, or a secret with something else inside (colour codes, a line
//!   number). The exceptions are lines and pieces, as above. Of a secret in the middle of base64 text, the digits at
//!   either end that also depend on the neighbouring bytes remain: up to four bits of its first and last byte.
//! - A secret that has in itself what looks like an escape (`50%25`), if an encoder treats some of these escapes
//!   otherwise than others.
//!
//! # What it costs
//!
//! Of most text four bytes in some twenty are looked at, whether there is one secret or a hundred; every byte only near
//! escapes, secrets, and what begins like a secret. The shortest secret decides how far apart those four may be: with one
//! of six bytes they are two apart. `cargo xtask bench --only 15` prints the speed beside GNU sed's. A redactor is made
//! once and shared: a clone is a pointer.
//!
//! Values are in the memory of a process for as long as a redactor is; they are not wiped from it afterwards, because
//! the automaton cannot be. They are in no error and no `Debug` output.

mod forms;
mod grams;
mod matcher;
#[cfg(test)]
mod properties;
mod scan;
mod stream;
mod view;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::forms::{Patterns, literal_symbols};
use crate::matcher::Matcher;
use crate::scan::Scan;
pub use crate::stream::{FLUSHED_SYMBOLS_MAX, HELD_BYTES_MAX, Stream};

/// The fewest bytes that a value must have, not counting those that are left out of the comparison. A shorter one stands
/// in clean text by chance.
pub const SYMBOLS_MIN: usize = 6;

/// All values together: what bounds the memory of the automaton, which has a dozen forms of each.
pub const VALUES_BYTES_MAX: usize = 64 * 1024;

/// A name is part of the output.
pub const NAME_BYTES_MAX: usize = 64;

/// Why no redactor was made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "the secret `{name}` is too short to be redacted: it has {symbols} bytes without quotes, colons and white space, \
         and with fewer than {SYMBOLS_MIN} it would stand in clean text by chance; use a longer value, or leave it out \
         if it is no secret"
    )]
    Short { name: String, symbols: usize },
    #[error(
        "the name of secret number {number} cannot be shown in output; a name has 1 to {NAME_BYTES_MAX} letters, \
         digits, `_`, `-` or `.`"
    )]
    Name { number: usize },
    #[error(
        "the secrets have more than {VALUES_BYTES_MAX} bytes together; pass large ones as files and leave them out here"
    )]
    TooMuch,
    #[error(
        "the value of the secret `{name}` stands in `[redacted:…]`, which replaces secrets; use another value, or name \
         secrets otherwise"
    )]
    InReplacement { name: String },
}

/// In what form a secret was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As it is, or escaped or quoted.
    Text,
    Base64,
    Hex,
}

/// A place where a secret stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub name: String,
    pub form: Form,
    pub at: Range<usize>,
}

/// Knows all forms of some secrets. A clone is the same redactor.
#[derive(Clone)]
pub struct Redactor(Arc<Secrets>);

struct Secrets {
    names: Vec<String>,
    replacements: Vec<String>,
    matcher: Matcher,
}

impl Redactor {
    /// A redactor for named values. Where two secrets have the same form, the first gives the name.
    pub fn new<N: AsRef<str>, V: AsRef<[u8]>>(
        secrets: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Refused> {
        let mut patterns = Patterns::default();
        let mut names = Vec::new();
        let mut values_bytes = 0;
        for (number, (name, value)) in secrets.into_iter().enumerate() {
            let (name, value) = (name.as_ref().to_owned(), value.as_ref());
            if !is_name(&name) {
                return Err(Refused::Name { number: number + 1 });
            }
            let symbols = literal_symbols(value);
            if symbols < SYMBOLS_MIN {
                return Err(Refused::Short { name, symbols });
            }
            values_bytes += value.len();
            if values_bytes > VALUES_BYTES_MAX {
                return Err(Refused::TooMuch);
            }
            patterns.add(number, value);
            names.push(name);
        }
        let replacements: Vec<String> = names.iter().map(|name| format!("[redacted:{name}]")).collect();
        let matcher = Matcher::new(patterns).ok_or(Refused::TooMuch)?;
        let redactor = Self(Arc::new(Secrets { names, replacements, matcher }));
        for replacement in &redactor.0.replacements {
            if let Some(Finding { name, .. }) = redactor.find(replacement.as_bytes()).into_iter().next() {
                return Err(Refused::InReplacement { name });
            }
        }
        Ok(redactor)
    }

    /// The redaction of a stream that begins now.
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// Where secrets stand in a whole text: for what is reported and not rewritten, such as artifacts and patches.
    /// Secrets that overlap are one finding, under the name of the one that starts first.
    pub fn find(&self, bytes: &[u8]) -> Vec<Finding> {
        let mut scan = Scan::new(&self.0.matcher);
        scan.read(&self.0.matcher, bytes, true);
        self.findings(scan)
    }

    fn findings(&self, scan: Scan) -> Vec<Finding> {
        let findings = scan.regions.into_iter().map(|region| Finding {
            name: self.0.names.get(region.pattern.secret).cloned().unwrap_or_default(),
            form: region.pattern.form,
            at: region.start..region.end,
        });
        findings.collect()
    }

    /// A whole text without its secrets.
    pub fn redact_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let findings = self.find(text.as_bytes());
        if findings.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut redacted = String::with_capacity(text.len());
        let mut from = 0;
        for Finding { name, at, .. } in findings {
            // A value that is no text may begin or end inside of a character.
            redacted.push_str(text.get(from..text.floor_char_boundary(at.start)).unwrap_or_default());
            redacted.push_str(&format!("[redacted:{name}]"));
            from = text.ceil_char_boundary(at.end);
        }
        redacted.push_str(text.get(from..).unwrap_or_default());
        Cow::Owned(redacted)
    }

    pub(crate) fn matcher(&self) -> &Matcher {
        &self.0.matcher
    }

    pub(crate) fn replacement(&self, secret: usize) -> &str {
        self.0.replacements.get(secret).map_or("[redacted]", String::as_str)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("names", &self.0.names).finish_non_exhaustive()
    }
}

fn is_name(name: &str) -> bool {
    let shown = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(shown)
}
