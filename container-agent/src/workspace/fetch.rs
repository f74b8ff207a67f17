//! Gets manifests and missing blobs from the plane.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Response;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ProjectId;
use shared_contracts::limits::{BLOB_FETCH_HASHES_MAX, MIB};
use shared_contracts::workspaces::{FetchBlobs, ManifestEntry, RevisionQuery};

use super::cache::{Cache, Missing};
use super::{WorkspaceError, blocking};
use crate::api::{ApiError, Plane};
use crate::lease::Held;

/// Asked for in one request, unless one blob alone is larger.
const PACK_BYTES: u64 = 24 * MIB;
const PACKS_AT_ONCE: usize = 3;
/// A body that breaks off is asked for again this often; the request's own retries come on top.
const BODY_TRIES: u32 = 4;

pub async fn manifest(
    plane: &Plane,
    held: &Held,
    project_id: ProjectId,
    revision: u64,
) -> Result<Vec<ManifestEntry>, WorkspaceError> {
    let failed = |source| WorkspaceError::Manifest { revision, source };
    let mut tries = 0;
    let bytes = loop {
        let path = format!("/api/projects/{project_id}/workspace/manifest");
        let response = plane.request(held, move |client, url| {
            let request =
                client.get(format!("{url}{path}")).query(&RevisionQuery { revision: Some(revision) });
            Box::pin(async { Ok(request) })
        });
        match response.await.map_err(failed)?.bytes().await {
            Ok(bytes) => break bytes,
            Err(error) => {
                tries += 1;
                if tries >= BODY_TRIES {
                    return Err(failed(ApiError::Transport(error.to_string())));
                }
            }
        }
    };
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(line, bytes)| {
            serde_json::from_slice(bytes).map_err(|error| WorkspaceError::ManifestLine {
                revision,
                line: line + 1,
                detail: error.to_string(),
            })
        })
        .collect()
}

pub async fn blobs(
    plane: &Plane,
    held: &Held,
    project_id: ProjectId,
    cache: &Arc<Cache>,
    missing: Vec<Missing>,
) -> Result<(), WorkspaceError> {
    stream::iter(packs(missing))
        .map(|pack| fetch_pack(plane, held, project_id, cache, pack))
        .buffer_unordered(PACKS_AT_ONCE)
        .try_for_each(|()| async { Ok(()) })
        .await
}

fn packs(missing: Vec<Missing>) -> Vec<Vec<Sha256>> {
    let mut packs: Vec<Vec<Sha256>> = Vec::new();
    let mut bytes = 0;
    for blob in missing {
        match packs.last_mut() {
            Some(pack) if pack.len() < BLOB_FETCH_HASHES_MAX && bytes + blob.size_bytes <= PACK_BYTES => {
                pack.push(blob.sha256);
                bytes += blob.size_bytes;
            }
            _ => {
                packs.push(vec![blob.sha256]);
                bytes = blob.size_bytes;
            }
        }
    }
    packs
}

async fn fetch_pack(
    plane: &Plane,
    held: &Held,
    project_id: ProjectId,
    cache: &Arc<Cache>,
    pack: Vec<Sha256>,
) -> Result<(), WorkspaceError> {
    let count = pack.len();
    let failed = |source| WorkspaceError::Fetch { count, source };
    let body = Arc::new(FetchBlobs { sha256: pack.clone() });
    let mut tries = 0;
    loop {
        let (path, body) = (format!("/api/projects/{project_id}/workspace/blobs/fetch"), Arc::clone(&body));
        let response = plane.request(held, move |client, url| {
            let request = client.post(format!("{url}{path}")).json(&*body);
            Box::pin(async { Ok(request) })
        });
        let file = cache.temporary();
        let taken = download(response.await.map_err(failed)?, &file).await;
        match taken {
            Ok(()) => {
                let (cache, file, pack) = (Arc::clone(cache), file, pack.clone());
                return blocking(move || unpack(&cache, file, &pack)).await;
            }
            Err(error) => {
                let _ = std::fs::remove_file(&file);
                tries += 1;
                if tries >= BODY_TRIES {
                    return Err(failed(ApiError::Transport(error.to_string())));
                }
            }
        }
    }
}

async fn download(response: Response, path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let mut body = response.bytes_stream();
    while let Some(bytes) = body.next().await {
        file.write_all(&bytes.map_err(io::Error::other)?)?;
    }
    Ok(())
}

fn unpack(cache: &Cache, path: PathBuf, pack: &[Sha256]) -> Result<(), WorkspaceError> {
    let unpacked = (|| -> io::Result<usize> {
        let mut stored = 0;
        let mut archive = tar::Archive::new(io::BufReader::new(File::open(&path)?));
        for entry in archive.entries()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let sha256 =
                name.parse::<Sha256>().map_err(|error| io::Error::other(format!("`{name}`: {error}")))?;
            if pack.binary_search(&sha256).is_err() {
                return Err(io::Error::other(format!("{sha256} was not asked for")));
            }
            cache.store(sha256, entry)?;
            stored += 1;
        }
        Ok(stored)
    })();
    let _ = std::fs::remove_file(&path);
    match unpacked {
        Ok(stored) if stored >= pack.len() => Ok(()),
        Ok(stored) => {
            Err(WorkspaceError::WrongBlob(format!("{} of {} are missing", pack.len() - stored, pack.len())))
        }
        Err(error) => Err(WorkspaceError::WrongBlob(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_keep_both_limits() {
        let blob =
            |number: u32, size_bytes| Missing { sha256: Sha256::of(&number.to_le_bytes()), size_bytes };
        let small = packs((0..4_500).map(|number| blob(number, 1)).collect());
        assert_eq!(small.iter().map(Vec::len).collect::<Vec<_>>(), [2_000, 2_000, 500]);
        let large = packs((0..5).map(|number| blob(number, 10 * MIB)).collect());
        assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
