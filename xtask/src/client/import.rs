//! Bringing a tree into a workspace: as one tar, or in parts of which only what is missing travels.

use std::collections::HashSet;

use reqwest::Method;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ImportId, ProjectId};
use shared_contracts::limits::BLOB_PACK_BYTES_MAX;
use shared_contracts::workspaces::{ImportReceipt, ManifestEntry, StartedImport, StoredBlobs};

use super::tree::LocalTree;
use super::{Client, ClientError};

const TAR: &str = "application/x-tar";
/// A tar file's header, and what its end is padded with.
const TAR_HEADER_BYTES: u64 = 512;
const TAR_END_BYTES: u64 = 1_024;

/// What an import in parts sent.
#[derive(Debug)]
pub struct ImportInParts {
    pub receipt: ImportReceipt,
    pub blobs_sent: u64,
    pub packs_sent: u32,
    /// Bytes of all packs.
    pub pack_bytes: u64,
    pub manifest_bytes: u64,
}

impl Client {
    /// A tar, or a gzipped tar.
    pub async fn import_workspace(
        &self,
        project: ProjectId,
        tar: impl Into<reqwest::Body>,
    ) -> Result<ImportReceipt, ClientError> {
        self.post(format!("/api/projects/{project}/workspace/import")).bytes(TAR, tar).typed().await
    }

    pub async fn start_import(
        &self,
        project: ProjectId,
        manifest: &[ManifestEntry],
    ) -> Result<StartedImport, ClientError> {
        let body = manifest_lines(manifest)?;
        self.post(format!("/api/projects/{project}/workspace/imports"))
            .bytes("application/x-ndjson", body)
            .typed()
            .await
    }

    /// One pack: a tar whose files are named by the SHA-256 of their content.
    pub async fn store_blobs(
        &self,
        project: ProjectId,
        import: ImportId,
        pack: Vec<u8>,
    ) -> Result<StoredBlobs, ClientError> {
        let path = format!("/api/projects/{project}/workspace/imports/{import}/blobs");
        self.call(Method::PUT, path).bytes(TAR, pack).typed().await
    }

    pub async fn commit_import(
        &self,
        project: ProjectId,
        import: ImportId,
    ) -> Result<ImportReceipt, ClientError> {
        self.post(format!("/api/projects/{project}/workspace/imports/{import}/commit")).bulk().typed().await
    }

    /// Manifest, then the missing blobs in packs, then commit. Holds one pack in memory at a time.
    pub async fn import_in_parts(
        &self,
        project: ProjectId,
        tree: &LocalTree,
    ) -> Result<ImportInParts, ClientError> {
        let manifest = tree.manifest();
        let manifest_bytes = manifest_lines(&manifest)?.len() as u64;
        let started = self.start_import(project, &manifest).await?;
        let missing: HashSet<Sha256> = started.missing.into_iter().collect();
        let (mut blobs_sent, mut packs_sent, mut pack_bytes) = (0, 0, 0);
        let mut pack = Pack::new();
        let mut packed = HashSet::new();
        for entry in &manifest {
            if !missing.contains(&entry.sha256) || !packed.insert(entry.sha256) {
                continue;
            }
            if !pack.is_empty() && pack.bytes_with(entry.size_bytes) > BLOB_PACK_BYTES_MAX {
                let full = std::mem::replace(&mut pack, Pack::new()).finish()?;
                pack_bytes += full.len() as u64;
                packs_sent += 1;
                self.store_blobs(project, started.import_id, full).await?;
            }
            pack.add(entry.sha256, &tree.read(&entry.path)?)?;
            blobs_sent += 1;
        }
        if !pack.is_empty() {
            let last = pack.finish()?;
            pack_bytes += last.len() as u64;
            packs_sent += 1;
            self.store_blobs(project, started.import_id, last).await?;
        }
        let receipt = self.commit_import(project, started.import_id).await?;
        Ok(ImportInParts { receipt, blobs_sent, packs_sent, pack_bytes, manifest_bytes })
    }
}

fn manifest_lines(manifest: &[ManifestEntry]) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    for entry in manifest {
        serde_json::to_writer(&mut body, entry)
            .map_err(|source| ClientError::contract("a manifest entry", entry.path.as_str(), Some(source)))?;
        body.push(b'\n');
    }
    Ok(body)
}

/// A tar of blobs, as [`Client::store_blobs`] takes it.
pub struct Pack {
    tar: tar::Builder<Vec<u8>>,
    bytes: u64,
}

impl Default for Pack {
    fn default() -> Self {
        Self { tar: tar::Builder::new(Vec::new()), bytes: 0 }
    }
}

impl Pack {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// How large it would be with one more blob.
    fn bytes_with(&self, blob_bytes: u64) -> u64 {
        self.bytes + TAR_HEADER_BYTES + blob_bytes.next_multiple_of(TAR_HEADER_BYTES) + TAR_END_BYTES
    }

    pub fn add(&mut self, sha256: Sha256, content: &[u8]) -> Result<(), ClientError> {
        self.bytes = self.bytes_with(content.len() as u64) - TAR_END_BYTES;
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let added = self.tar.append_data(&mut header, sha256.to_string(), content);
        added.map_err(|source| ClientError::Local { what: format!("the blob {sha256}"), source })
    }

    pub fn finish(self) -> Result<Vec<u8>, ClientError> {
        let done = self.tar.into_inner();
        done.map_err(|source| ClientError::Local { what: "a pack of blobs".into(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_as_large_as_foretold() {
        let mut pack = Pack::new();
        for content in [&b"one"[..], &[7; 512], &[], &[1; 513]] {
            let foretold = pack.bytes_with(content.len() as u64);
            pack.add(Sha256::of(content), content).unwrap();
            assert_eq!(pack.bytes + TAR_END_BYTES, foretold);
        }
        let foretold = pack.bytes + TAR_END_BYTES;
        assert_eq!(pack.finish().unwrap().len() as u64, foretold);
    }
}
