//! A layer's blob to disk, digested as it comes. What broke off goes on from where it was.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, HeaderMap};
use sha2::Digest;
use shared_contracts::hash::Sha256;

use super::{Retry, Session};
use crate::images::error::Fault;
use crate::images::manifest::Blob;

struct Partial<'a> {
    path: &'a Path,
    file: File,
    hasher: sha2::Sha256,
    written: u64,
    /// The most that it ever had.
    furthest: u64,
}

impl Session<'_> {
    /// Leaves the blob at `path`, whole and checked, or fails.
    pub async fn download(&self, blob: &Blob, what: &str, path: &Path) -> Result<(), Fault> {
        let what = format!("{what} sha256:{}", blob.digest);
        let mut partial = Partial::create(path)?;
        let mut retry = Retry::new(self.client.settings.tries_max);
        // With nothing to come there is nothing to ask for, and no range of it either.
        while partial.written < blob.size_bytes {
            if let Err(fault) = self.append(blob, &what, &mut partial).await {
                if partial.written > partial.furthest {
                    partial.furthest = partial.written;
                    retry.progressed();
                }
                retry.after(fault).await?;
            }
        }
        let actual = Sha256::from_bytes(partial.hasher.finalize().into());
        if actual != blob.digest {
            return Err(Fault::WrongDigest { what, expected: blob.digest, actual });
        }
        Ok(())
    }

    async fn append(&self, blob: &Blob, what: &str, partial: &mut Partial<'_>) -> Result<(), Fault> {
        let from = Some(partial.written).filter(|written| *written > 0);
        let mut response = self.get(&format!("blobs/sha256:{}", blob.digest), what, from).await?;
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT
            && starts_at(response.headers()) == Some(partial.written);
        if !goes_on {
            partial.restart()?;
        }
        // What it has ends before the rest begins: told as what it is, once the tries are over.
        if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            while let Some(piece) = response.chunk().await.map_err(|error| self.broken_off(what, &error))? {
                if partial.written + piece.len() as u64 > blob.size_bytes {
                    return Err(Fault::TooLarge { what: what.to_owned(), bytes_max: blob.size_bytes });
                }
                partial.write(&piece)?;
            }
        }
        if partial.written < blob.size_bytes {
            let host = self.reference.api_host().to_owned();
            let cause = format!("it has {} bytes instead of {}", partial.written, blob.size_bytes);
            return Err(Fault::BrokenOff { host, what: what.to_owned(), cause });
        }
        Ok(())
    }
}

impl<'a> Partial<'a> {
    fn create(path: &'a Path) -> Result<Self, Fault> {
        let file = File::create_new(path).map_err(Fault::io("make", path))?;
        Ok(Self { path, file, hasher: sha2::Sha256::new(), written: 0, furthest: 0 })
    }

    fn restart(&mut self) -> Result<(), Fault> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(Fault::io("empty", self.path))?;
        self.hasher = sha2::Sha256::new();
        self.written = 0;
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.file.write_all(piece).map_err(Fault::io("write", self.path))?;
        self.hasher.update(piece);
        self.written += piece.len() as u64;
        Ok(())
    }
}

/// `bytes 100-199/200` starts at 100.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.parse().ok()
}
