//! Why an image cannot be had.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shared_contracts::hash::Sha256;

use super::reference::ImageReference;
use super::unpack::UnpackFault;

/// One for all who wait for the same image.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the image {reference} cannot be used: {fault}")]
pub struct ImageError {
    pub reference: ImageReference,
    pub fault: Arc<Fault>,
}

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{host} cannot be reached: {cause}; check the name, the network and this machine's certificates")]
    Unreachable { host: String, cause: String },
    #[error("{host} stopped in the middle of {what}: {cause}; try again later")]
    BrokenOff { host: String, what: String, cause: String },
    #[error(
        "{host} did not have it here within {seconds} s; raise the time for a pull, or use a registry that is nearer"
    )]
    TooSlow { host: String, seconds: u64 },
    #[error(
        "{host} wants other credentials for {repository} ({detail}); set a user name and a password for {host} that may pull it"
    )]
    Unauthorized { host: String, repository: String, detail: String },
    #[error("{host} has no {what}{}; check that it was pushed there, to this name", in_brackets(.detail))]
    Absent { host: String, what: String, detail: String },
    #[error("{host} answered {status} for {what}{}{}", in_brackets(.detail), later(*.status))]
    Answered { host: String, what: String, status: u16, detail: String },
    #[error(
        "{host} asks for a login at `{realm}`, where credentials would go in the clear or nowhere; use https"
    )]
    UnsafeLogin { host: String, realm: String },
    #[error(
        "{what} is not what its name says: it hashes to sha256:{actual}, not to sha256:{expected}; push it again"
    )]
    WrongDigest { what: String, expected: Sha256, actual: Sha256 },
    #[error("{what} has more than the {bytes_max} bytes that it may have")]
    TooLarge { what: String, bytes_max: u64 },
    #[error("its {what} is malformed: {cause}")]
    Malformed { what: &'static str, cause: String },
    #[error(
        "its media type `{0}` is not of a container image whose layers are tars; push it as one (OCI, or Docker v2)"
    )]
    NotAnImage(String),
    #[error(
        "it is for {found}, and this machine is {wanted}; build it for {wanted}, or use the digest of an image that is"
    )]
    OtherPlatform { wanted: String, found: String },
    #[error("layer {number} of {count}: {fault}")]
    Layer { number: usize, count: usize, fault: UnpackFault },
    #[error("the tarball: {0}")]
    Tarball(UnpackFault),
    #[error(
        "the tarball is an archive of images ({0} is in it), not of a root file system; make one with `docker create` and \
         `docker export`, or push the image to a registry"
    )]
    ImageArchive(&'static str),
    #[error("{path} changed while it was read; get it again when it is finished")]
    Changed { path: PathBuf },
    #[error("{path} {what}; name a directory that holds a root file system and nothing else")]
    Directory { path: PathBuf, what: &'static str },
    #[error("the disk with {path} is full; free some of it, or lower the size limit of the image store")]
    DiskFull { path: PathBuf },
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the work on it was cut short: {0}")]
    Stopped(String),
}

impl Fault {
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned() }
            }
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    /// A full disk is that, and not the fault of the layer which met it.
    pub fn of_unpacking(fault: UnpackFault, path: &Path, other: impl FnOnce(UnpackFault) -> Self) -> Self {
        match fault {
            UnpackFault::Io(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Self::DiskFull { path: path.to_owned() }
            }
            fault => other(fault),
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::BrokenOff { .. } => true,
            Self::Answered { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}

/// The registry's own words, if it had any.
fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn later(status: u16) -> &'static str {
    match status {
        429 => "; it limits how often it is asked: try again later, or set credentials",
        500.. => "; try again later",
        _ => "",
    }
}
