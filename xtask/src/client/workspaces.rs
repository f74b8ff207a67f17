//! A project's workspace: read it, list it, export it. Imports are in `import`.

use shared_contracts::hash::Sha256;
use shared_contracts::ids::ProjectId;
use shared_contracts::page::Page;
use shared_contracts::workspaces::{FetchBlobs, ManifestEntry, Revision, RevisionQuery, TreeItem, TreeQuery};

use super::{Client, ClientError};

impl Client {
    /// A revision; the head unless one is named.
    pub async fn get_workspace(
        &self,
        project: ProjectId,
        revision: Option<u64>,
    ) -> Result<Revision, ClientError> {
        self.get(format!("/api/projects/{project}/workspace"))
            .query(&RevisionQuery { revision })
            .typed()
            .await
    }

    pub async fn list_tree(
        &self,
        project: ProjectId,
        query: &TreeQuery,
    ) -> Result<Page<TreeItem>, ClientError> {
        self.get(format!("/api/projects/{project}/workspace/tree")).query(query).typed().await
    }

    pub async fn read_file(
        &self,
        project: ProjectId,
        path: &str,
        revision: Option<u64>,
    ) -> Result<Vec<u8>, ClientError> {
        self.get(format!("/api/projects/{project}/workspace/files/{}", percent_encoded(path)))
            .query(&RevisionQuery { revision })
            .bulk()
            .body()
            .await
    }

    pub async fn get_manifest(
        &self,
        project: ProjectId,
        revision: Option<u64>,
    ) -> Result<Vec<ManifestEntry>, ClientError> {
        self.get(format!("/api/projects/{project}/workspace/manifest"))
            .query(&RevisionQuery { revision })
            .bulk()
            .typed_lines()
            .await
    }

    /// A revision as a tar.
    pub async fn export_workspace(
        &self,
        project: ProjectId,
        revision: Option<u64>,
    ) -> Result<Vec<u8>, ClientError> {
        self.get(format!("/api/projects/{project}/workspace/export"))
            .query(&RevisionQuery { revision })
            .bulk()
            .body()
            .await
    }

    pub async fn get_blob(&self, project: ProjectId, sha256: Sha256) -> Result<Vec<u8>, ClientError> {
        self.get(format!("/api/projects/{project}/workspace/blobs/{sha256}")).bulk().body().await
    }

    /// A tar of files named by their hashes.
    pub async fn fetch_blobs(&self, project: ProjectId, input: &FetchBlobs) -> Result<Vec<u8>, ClientError> {
        self.post(format!("/api/projects/{project}/workspace/blobs/fetch")).json(input).bulk().body().await
    }
}

/// A path as part of a URL; its slashes stay.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_parts_of_urls() {
        assert_eq!(percent_encoded("a b/ö?#%.rs"), "a%20b/%C3%B6%3F%23%25.rs");
    }
}
