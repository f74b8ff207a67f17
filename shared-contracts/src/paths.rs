//! A path inside a workspace: relative, normalised, and harmless on every system that might hold the tree.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{PATH_BYTES_MAX, PATH_SEGMENT_BYTES_MAX};

/// Segments joined by `/`; never absolute, never `.` or `..`, never through `.git`, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspacePath(String);

/// Why a text is not a path inside a workspace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path is absolute; give it relative to the workspace's root")]
    Absolute,
    #[error("the path leaves the workspace or is not normalised (`.`, `..` or an empty segment)")]
    NotNormalised,
    #[error("the path contains a backslash or a drive letter; separate segments with `/`")]
    Backslash,
    #[error("the path contains a control character")]
    Control,
    #[error("the path goes through `.git`, which is never part of a workspace")]
    Git,
    #[error("a segment of the path ends in a dot or a space, which some systems drop")]
    TrailingDot,
    #[error("a segment of the path is a device on Windows (`con`, `nul`, `com1` and the like)")]
    Device,
    #[error("a segment of the path has a colon, which names a stream on Windows")]
    Stream,
    #[error("the path is longer than {PATH_BYTES_MAX} bytes or a segment than {PATH_SEGMENT_BYTES_MAX}")]
    TooLong,
}

impl WorkspacePath {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check(text).map(|()| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every directory above it, nearest first: `a/b/c` gives `a/b`, `a`.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.as_str();
        std::iter::from_fn(move || {
            rest = rest.rsplit_once('/')?.0;
            Some(rest)
        })
    }

    /// Where a symbolic link at this path with this target leads, if that is inside the workspace. `..` only at the
    /// target's start: after a name it would climb from wherever that name, itself a link perhaps, leads.
    pub fn resolve_link(&self, target: &str) -> Result<Self, PathError> {
        if target.is_empty() {
            return Err(PathError::Empty);
        }
        if target.starts_with('/') {
            return Err(PathError::Absolute);
        }
        let mut segments: Vec<&str> =
            self.ancestors().next().map_or(Vec::new(), |dir| dir.split('/').collect());
        let mut climbing = true;
        for segment in target.split('/') {
            match segment {
                "" | "." => {}
                ".." if climbing => {
                    segments.pop().ok_or(PathError::NotNormalised)?;
                }
                ".." => return Err(PathError::NotNormalised),
                name => {
                    climbing = false;
                    segments.push(name);
                }
            }
        }
        Self::parse(&segments.join("/"))
    }
}

fn check(text: &str) -> Result<(), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if text.starts_with('/') {
        return Err(PathError::Absolute);
    }
    let mut bytes = text.bytes();
    let drive = bytes.next().is_some_and(|first| first.is_ascii_alphabetic()) && bytes.next() == Some(b':');
    if drive || text.contains('\\') {
        return Err(PathError::Backslash);
    }
    text.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    if segment.is_empty() || segment == "." || segment == ".." {
        return Err(PathError::NotNormalised);
    }
    if segment.len() > PATH_SEGMENT_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if is_git(segment) {
        return Err(PathError::Git);
    }
    if segment.ends_with(['.', ' ']) {
        return Err(PathError::TrailingDot);
    }
    if is_device(segment) {
        return Err(PathError::Device);
    }
    if names_stream(segment) {
        return Err(PathError::Stream);
    }
    Ok(())
}

/// A name that Windows takes for a device in every directory, whatever extension or stream follows it.
fn is_device(segment: &str) -> bool {
    let stem =
        segment.split(['.', ':']).next().unwrap_or_default().trim_end_matches(' ').to_ascii_lowercase();
    let numbered = |name: &str| {
        let mut number = stem.strip_prefix(name).unwrap_or_default().chars();
        matches!((number.next(), number.next()), (Some('1'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}'), None))
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$")
        || numbered("com")
        || numbered("lpt")
}

/// `name::$DATA` and the like; a colon elsewhere is a name's own.
fn names_stream(segment: &str) -> bool {
    segment.contains(":$") || segment.contains("::")
}

/// `.git` in every spelling a file system may fold into it: other case, HFS+'s ignored code points, NTFS's short
/// name and stream suffix (CVE-2014-9390, CVE-2019-1353, CVE-2021-21300).
fn is_git(segment: &str) -> bool {
    let folded: String = segment
        .chars()
        .filter(|c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .flat_map(char::to_lowercase)
        .collect();
    let stem = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let short = stem.strip_prefix("git~").is_some_and(|rest| matches!(rest.as_bytes(), [b'1'..=b'4']));
    stem == ".git" || short
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for WorkspacePath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl Borrow<str> for WorkspacePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for WorkspacePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for WorkspacePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_leaves_the_tree_or_hides_in_it() {
        for (text, why) in [
            ("", PathError::Empty),
            ("/etc/passwd", PathError::Absolute),
            ("../x", PathError::NotNormalised),
            ("a/../../x", PathError::NotNormalised),
            ("./a", PathError::NotNormalised),
            ("a//b", PathError::NotNormalised),
            ("a/", PathError::NotNormalised),
            ("a\\b", PathError::Backslash),
            ("C:/x", PathError::Backslash),
            ("a\0b", PathError::Control),
            ("a\nb", PathError::Control),
            (".git/config", PathError::Git),
            ("sub/.GIT/hooks/x", PathError::Git),
            (".g\u{200c}it/config", PathError::Git),
            (".git::$INDEX_ALLOCATION/x", PathError::Git),
            ("git~1/x", PathError::Git),
            (".git. /x", PathError::Git),
            (".git::$DATA", PathError::Git),
            ("a/.gIt:stream", PathError::Git),
            ("\u{feff}.git/x", PathError::Git),
            (".gi\u{202e}t/x", PathError::Git),
            ("GIT~2/x", PathError::Git),
            (".git ", PathError::Git),
            (".git...", PathError::Git),
            ("con", PathError::Device),
            ("a/NUL.txt", PathError::Device),
            ("aux.c/x", PathError::Device),
            ("COM1", PathError::Device),
            ("lpt9.tar.gz", PathError::Device),
            ("com\u{b2}", PathError::Device),
            ("prn .txt", PathError::Device),
            ("conin$", PathError::Device),
            ("nul:x", PathError::Device),
            ("a.txt::$DATA", PathError::Stream),
            ("dir:$INDEX_ALLOCATION/x", PathError::Stream),
            ("a. ", PathError::TrailingDot),
            ("a./b", PathError::TrailingDot),
        ] {
            assert_eq!(WorkspacePath::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(WorkspacePath::parse(&"a".repeat(256)), Err(PathError::TooLong));
        for text in [
            "a",
            ".github/x.yml",
            ".gitignore",
            "a b/c",
            "...x",
            "ä/ö",
            "src/git",
            "console",
            "com10",
            "com",
            "null.rs",
            "auxiliary",
            "ab:c",
            "git~5",
            "lpt0",
        ] {
            assert!(WorkspacePath::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn links_lead_inside_or_are_refused() {
        let link = WorkspacePath::parse("a/b/link").unwrap();
        assert_eq!(link.resolve_link("../c").map(|p| p.0), Ok("a/c".into()));
        assert_eq!(link.resolve_link("x").map(|p| p.0), Ok("a/b/x".into()));
        assert_eq!(link.resolve_link("../../../x"), Err(PathError::NotNormalised));
        assert_eq!(link.resolve_link("/etc"), Err(PathError::Absolute));
        assert_eq!(link.resolve_link("dir/../x"), Err(PathError::NotNormalised));
        assert_eq!(link.resolve_link("../../.git/x"), Err(PathError::Git));
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_inside(text in "[a-zA-Z./\\\\:~ \u{0}-\u{1f}]{0,24}") {
            if let Ok(path) = WorkspacePath::parse(&text) {
                let joined = std::path::Path::new("/root").join(path.as_str());
                prop_assert!(joined.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
                prop_assert!(joined.starts_with("/root") && joined != std::path::Path::new("/root"));
            }
        }
    }
}
