//! A tree on this machine as a workspace would hold it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use shared_contracts::hash::Sha256;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::{FileMode, ManifestEntry};

use super::ClientError;

/// Every file below a folder, with its hash. Content stays on disk. `.git` is left out.
#[derive(Debug, Clone)]
pub struct LocalTree {
    root: PathBuf,
    files: BTreeMap<WorkspacePath, ManifestEntry>,
}

impl LocalTree {
    pub fn scan(root: &Path) -> Result<Self, ClientError> {
        let mut tree = Self { root: root.to_owned(), files: BTreeMap::new() };
        tree.scan_folder(root, "")?;
        Ok(tree)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Ordered by path.
    pub fn manifest(&self) -> Vec<ManifestEntry> {
        self.files.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn total_bytes(&self) -> u64 {
        self.files.values().map(|entry| entry.size_bytes).sum()
    }

    /// A file's content; of a symbolic link its target.
    pub fn read(&self, path: &WorkspacePath) -> Result<Vec<u8>, ClientError> {
        content(&self.root.join(path.as_str()))
    }

    fn scan_folder(&mut self, folder: &Path, prefix: &str) -> Result<(), ClientError> {
        let entries = fs::read_dir(folder).map_err(|source| local(folder, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| local(folder, source))?;
            let name = entry.file_name();
            let shown = entry.path();
            let Some(name) = name.to_str() else {
                let source = std::io::Error::other("its name is not UTF-8");
                return Err(local(&shown, source));
            };
            if name == ".git" {
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(|source| local(&shown, source))?;
            if kind.is_dir() {
                self.scan_folder(&shown, &format!("{path}/"))?;
            } else {
                self.add(&path, &shown, kind.is_symlink())?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, file: &Path, is_link: bool) -> Result<(), ClientError> {
        let path = WorkspacePath::parse(path)
            .map_err(|error| local(file, std::io::Error::other(error.to_string())))?;
        let content = content(file)?;
        let mode = if is_link {
            FileMode::Symlink
        } else {
            let details = fs::metadata(file).map_err(|source| local(file, source))?;
            // Whether its owner may execute it, as git sees it.
            if details.permissions().mode() & 0o100 == 0 { FileMode::Regular } else { FileMode::Executable }
        };
        let entry = ManifestEntry {
            path: path.clone(),
            sha256: Sha256::of(&content),
            size_bytes: content.len() as u64,
            mode,
        };
        self.files.insert(path, entry);
        Ok(())
    }
}

fn content(file: &Path) -> Result<Vec<u8>, ClientError> {
    let details = fs::symlink_metadata(file).map_err(|source| local(file, source))?;
    if details.is_symlink() {
        let target = fs::read_link(file).map_err(|source| local(file, source))?;
        return Ok(target.into_os_string().into_encoded_bytes());
    }
    fs::read(file).map_err(|source| local(file, source))
}

fn local(file: &Path, source: std::io::Error) -> ClientError {
    ClientError::Local { what: file.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_links_and_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("b")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join(".git/config"), "").unwrap();
        fs::write(root.join("b/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("b/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("a"), "text").unwrap();
        std::os::unix::fs::symlink("../a", root.join("b/link")).unwrap();
        let manifest = LocalTree::scan(root).unwrap().manifest();
        let seen: Vec<_> = manifest.iter().map(|entry| (entry.path.as_str(), entry.mode)).collect();
        assert_eq!(
            seen,
            [("a", FileMode::Regular), ("b/link", FileMode::Symlink), ("b/run", FileMode::Executable)]
        );
        assert_eq!(manifest[1].sha256, Sha256::of(b"../a"));
    }
}
