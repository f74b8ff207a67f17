//! What an entry's path means: a place below the root, or a word about the layers below.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::fault::UnpackFault;
use crate::beneath::DEPTH_MAX;

/// The kernel takes no longer ones, its final zero counted.
const PATH_BYTES_MAX: usize = 4095;
const COMPONENT_BYTES_MAX: usize = 255;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself.
const METADATA: &[u8] = b".wh..wh.";

#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    /// The root itself.
    Root,
    /// `name` in the directory `parent`, which is relative to the root.
    In {
        parent: PathBuf,
        name: OsString,
    },
    /// The layers below have no `name` in `parent`.
    Whiteout {
        parent: PathBuf,
        name: OsString,
    },
    /// The layers below have nothing in this directory.
    Opaque {
        directory: PathBuf,
    },
    Metadata,
}

/// A leading slash is the image's own root. `..` has no honest use in an archive, and is refused.
pub fn read(path: &[u8]) -> Result<Name, UnpackFault> {
    let refused = |what| Err(UnpackFault::name(path, what));
    if path.contains(&0) {
        return refused("has a zero in its name");
    }
    if path.len() > PATH_BYTES_MAX {
        return refused("has a path of more than 4095 bytes");
    }
    let mut parent = PathBuf::new();
    let mut name: Option<&[u8]> = None;
    let mut depth = 0;
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return refused("leaves its directory by `..`"),
            component if component.len() > COMPONENT_BYTES_MAX => {
                return refused("has a name of more than 255 bytes");
            }
            component => {
                if let Some(directory) = name.replace(component) {
                    if directory.starts_with(METADATA) {
                        return Ok(Name::Metadata);
                    }
                    if directory.starts_with(WHITEOUT) {
                        return refused("is below a whiteout, which is no directory");
                    }
                    parent.push(OsStr::from_bytes(directory));
                }
                depth += 1;
            }
        }
    }
    if depth > DEPTH_MAX {
        return refused("is more than 128 directories deep");
    }
    let Some(name) = name else { return Ok(Name::Root) };
    Ok(match name.strip_prefix(WHITEOUT) {
        _ if name == OPAQUE => Name::Opaque { directory: parent },
        _ if name.starts_with(METADATA) => Name::Metadata,
        None => Name::In { parent, name: OsStr::from_bytes(name).to_owned() },
        Some(b"" | b"." | b"..") => return refused("is a whiteout of no name"),
        Some(name) => Name::Whiteout { parent, name: OsStr::from_bytes(name).to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(parent: &str, name: &str) -> Name {
        Name::In { parent: parent.into(), name: name.into() }
    }

    #[test]
    fn paths_are_places_below_the_root_and_whiteouts_are_none() {
        for (path, name) in [
            ("a", plain("", "a")),
            ("./a/b/", plain("a", "b")),
            ("///a//./b", plain("a", "b")),
            ("/", Name::Root),
            ("./", Name::Root),
            ("a/.wh.b", Name::Whiteout { parent: "a".into(), name: "b".into() }),
            (".wh..wh..opq", Name::Opaque { directory: "".into() }),
            ("a/.wh..wh..opq", Name::Opaque { directory: "a".into() }),
            (".wh..wh.plnk/1.2", Name::Metadata),
            ("a/.wh..wh.aufs", Name::Metadata),
            ("...", plain("", "...")),
            ("a/..b", plain("a", "..b")),
        ] {
            assert_eq!(read(path.as_bytes()).unwrap(), name, "{path}");
        }
        let (long, deep) = ("x".repeat(256), "a/".repeat(DEPTH_MAX + 1));
        for path in
            ["..", "../a", "a/../b", "/..", ".wh.", ".wh..", ".wh...", ".wh.a/b", "a\0b", &long, &deep]
        {
            assert!(read(path.as_bytes()).is_err(), "{path:?}");
        }
        assert!(read("x/".repeat(2500).as_bytes()).is_err());
    }
}
