//! Why a layer is not unpacked.

use std::io;
use std::sync::Arc;

use shared_contracts::hash::Sha256;

use super::archive::show;

#[derive(Debug, Clone, thiserror::Error)]
pub enum UnpackFault {
    #[error("it is no tar: {0}")]
    NotTar(&'static str),
    #[error("it cannot be decompressed: {0}")]
    NotDecompressed(String),
    #[error("it is compressed with {0}; compress it with gzip or zstd")]
    UnknownCompression(&'static str),
    #[error("it ends in the middle")]
    Truncated,
    #[error("its entry `{path}` {what}")]
    Name { path: String, what: &'static str },
    #[error("its entry `{0}` is a sparse file; archive it without --sparse")]
    Sparse(String),
    #[error("its entry `{path}` is of the unknown kind {kind:#04x}")]
    UnknownKind { path: String, kind: u8 },
    #[error("a name or attribute in it has {bytes} bytes, more than {bytes_max}")]
    ExtensionTooLong { bytes: u64, bytes_max: u64 },
    #[error("its hard link `{path}` is to `{target}`, {what}")]
    HardLink { path: String, target: String, what: &'static str },
    #[error("the image unpacks to more than {bytes_max} bytes; raise the limit of an image's unpacked size")]
    TooManyBytes { bytes_max: u64 },
    #[error("the image has more than {entries_max} entries; raise the limit of an image's entries")]
    TooManyEntries { entries_max: u64 },
    #[error("it unpacks to sha256:{actual}, and the image's configuration says sha256:{expected}")]
    WrongDiffId { expected: Sha256, actual: Sha256 },
    #[error("nobody waits for it any more")]
    Cancelled,
    #[error("{0}")]
    Io(Arc<io::Error>),
}

impl UnpackFault {
    pub fn name(path: &[u8], what: &'static str) -> Self {
        Self::Name { path: show(path), what }
    }
}

/// A fault travels through `Read` as an `io::Error`, and comes out as itself.
impl From<UnpackFault> for io::Error {
    fn from(fault: UnpackFault) -> Self {
        Self::other(fault)
    }
}

impl From<io::Error> for UnpackFault {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(fault) => fault,
            Err(error) => Self::Io(Arc::new(error)),
        }
    }
}

impl From<rustix::io::Errno> for UnpackFault {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(Arc::new(error.into()))
    }
}
