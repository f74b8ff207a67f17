//! Which files a header names: prefixes, quoting, dates and `/dev/null` taken off.

use super::header::{Header, NOWHERE_NEW};

/// Before and after; none is nowhere.
#[derive(PartialEq, Debug)]
pub(super) struct Names {
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

pub(super) enum NameFault {
    /// The header names no file.
    Missing,
    /// Two files, and nothing says that one becomes the other.
    Two(String, String),
    /// A quoted name that is not UTF-8.
    NotUtf8(String),
}

impl Names {
    pub(super) fn of(header: &Header<'_>) -> Result<Self, NameFault> {
        if let (Some(from), Some(to)) = header.renamed {
            return Ok(Self { old: Some(unquoted(from)?), new: Some(unquoted(to)?) });
        }
        if let (_, Some(to)) = header.copied {
            return Ok(Self { old: None, new: Some(unquoted(to)?) });
        }
        let (old, new) = match (header.old, header.new) {
            (Some(old), Some(new)) => (named(old)?, named(new)?),
            (Some(old), None) => return Self::kept(named(old)?, "a/", header),
            (None, Some(new)) => return Self::kept(named(new)?, "b/", header),
            (None, None) => {
                let (old, new) = header.git.and_then(split_git).ok_or(NameFault::Missing)?;
                (named(old)?, named(new)?)
            }
        };
        match (old, new) {
            (None, None) => Err(NameFault::Missing),
            (Some(old), None) => Ok(Self { old: Some(without_prefix(&old, "a/", header)), new: None }),
            (None, Some(new)) => Ok(Self { old: None, new: Some(without_prefix(&new, "b/", header)) }),
            (Some(old), Some(new)) => {
                let name = common_name(&old, &new).ok_or(NameFault::Two(old, new))?;
                Ok(Self { old: Some(name.clone()), new: Some(name) })
            }
        }
    }

    /// Of a file whose name comes once.
    fn kept(name: Option<String>, prefix: &str, header: &Header<'_>) -> Result<Self, NameFault> {
        let name = without_prefix(&name.ok_or(NameFault::Missing)?, prefix, header);
        Ok(Self { old: Some(name.clone()), new: Some(name) })
    }
}

/// The name that both sides have, without the prefixes in which they differ.
fn common_name(old: &str, new: &str) -> Option<String> {
    if old == new {
        return Some(old.to_owned());
    }
    if let (Some((old_prefix, old)), Some((new_prefix, new))) = (old.split_once('/'), new.split_once('/'))
        && old == new
        && are_prefixes(old_prefix, new_prefix)
    {
        return Some(new.to_owned());
    }
    let one_prefix = old.strip_prefix("a/") == Some(new) || new.strip_prefix("b/") == Some(old);
    let is_backup = [".orig", ".old", ".bak", "~"].iter().any(|end| old.strip_suffix(end) == Some(new));
    (one_prefix || is_backup).then(|| if new.len() < old.len() { new.to_owned() } else { old.to_owned() })
}

/// Git's letters, `old` and `new`, or a directory's two versions such as `tool-1.0` and `tool-1.1`; not two directories
/// of one tree.
fn are_prefixes(old: &str, new: &str) -> bool {
    let stem = |name: &str| name.split(['-', '.', '_']).next().unwrap_or_default().to_owned();
    (old.len() == 1 && new.len() == 1)
        || matches!((old, new), ("old" | "orig" | "original" | "before", "new" | "modified" | "after"))
        || (stem(old) == stem(new) && !stem(old).is_empty())
}

/// The one name of a created or deleted file. Its prefix is git's, unless `diff --git` shows it to be without any.
fn without_prefix(name: &str, prefix: &str, header: &Header<'_>) -> String {
    let has_none = header.git.and_then(split_git).is_some_and(|(old, new)| old == new);
    match name.strip_prefix(prefix) {
        Some(inside) if !has_none => inside.to_owned(),
        _ => name.to_owned(),
    }
}

/// Both names of `diff --git`: two quoted ones, or two of the same length with a space between.
fn split_git(names: &str) -> Option<(&str, &str)> {
    let names = names.trim_end();
    if let Some(end) = quoted_end(names) {
        return Some((names.get(..end)?, names.get(end..)?.trim_start()));
    }
    let middle = names.len() / 2;
    match (names.get(..middle), names.get(middle + 1..)) {
        (Some(old), Some(new)) if names.get(middle..=middle) == Some(" ") => Some((old, new)),
        _ => names.split_once(' '),
    }
}

/// A name of `---` or `+++`; none is nowhere.
fn named(field: &str) -> Result<Option<String>, NameFault> {
    let name = unquoted(field)?;
    let is_nowhere = [NOWHERE_NEW, "dev/null", "a/dev/null", "b/dev/null"].contains(&name.as_str());
    Ok((!is_nowhere).then_some(name))
}

/// Without the date that follows a name, and without quotes.
fn unquoted(field: &str) -> Result<String, NameFault> {
    if let Some(inside) = quoted_end(field).and_then(|end| field.get(1..end - 1)) {
        return unescaped(inside).ok_or_else(|| NameFault::NotUtf8(field.to_owned()));
    }
    let name = field.split('\t').next().unwrap_or_default();
    Ok(without_date(name).trim_matches([' ', '`']).to_owned())
}

/// `x.c  2024-05-01 12:00:00`: a date where the tab before it became spaces.
fn without_date(name: &str) -> &str {
    let is_date = |text: &str| {
        let digits = |range: std::ops::Range<usize>| {
            text.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        digits(0..4)
            && text.get(4..5) == Some("-")
            && digits(5..7)
            && text.get(7..8) == Some("-")
            && digits(8..10)
    };
    match name.match_indices(' ').find(|(at, _)| name.get(at + 1..).is_some_and(is_date)) {
        Some((at, _)) => name.get(..at).unwrap_or(name),
        None => name,
    }
}

/// Where a quoted name ends, after its quote.
fn quoted_end(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    (bytes.next()?.1 == b'"').then_some(())?;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// C's escapes, as git quotes names: `\303\244` is one letter in UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            digit @ b'0'..=b'7' => {
                let mut code = u32::from(digit - b'0');
                for _ in 0..2 {
                    if let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) {
                        code = code * 8 + u32::from(digit - b'0');
                    }
                }
                u8::try_from(code).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
