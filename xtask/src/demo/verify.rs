//! Whether the new revision holds exactly the change: the same edits, made here by a plain shell on a plain copy of
//! the tree, must give the same files. Nothing of Patchbay's takes part in making the expectation.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use shared_contracts::patches::Receipt;
use shared_contracts::projects::Project;
use shared_contracts::workspaces::ManifestEntry;

use super::change::Change;
use super::repository::{Repository, unpack};
use crate::client::Client;
use crate::client::tree::LocalTree;
use crate::terminal;

pub async fn verify(
    client: &Client,
    project: &Project,
    repository: &Repository,
    change: &Change,
    receipt: &Receipt,
) -> Result<()> {
    let scratch = repository.tree.root().parent().context("the tree has no folder above it")?;
    // 1. The expectation.
    let here = scratch.join("expected");
    unpack(&repository.tar, &here)?;
    let mut bash = Command::new("/bin/bash");
    bash.args(["-c", &change.edits()]).current_dir(&here).stdin(Stdio::null()).stdout(Stdio::null());
    let status = bash.status().context("cannot start bash")?;
    if !status.success() {
        bail!("the edits failed here ({status})");
    }
    let expected = LocalTree::scan(&here)?.manifest();

    // 2. The manifest: names, hashes, sizes, modes.
    let revision = Some(receipt.revision_after);
    same("the manifest", &expected, &client.get_manifest(project.id, revision).await?)?;
    terminal::found("manifest", &format!("{} files, each as expected", expected.len()), None);

    // 3. The export: the bytes themselves.
    let exported = scratch.join("exported");
    unpack(&client.export_workspace(project.id, revision).await?, &exported)?;
    same("the export", &expected, &LocalTree::scan(&exported)?.manifest())?;
    terminal::found("export", "every byte as expected", None);

    // 4. The revision before is as it was.
    let before = client.get_manifest(project.id, Some(receipt.revision_before)).await?;
    same("the revision before", &repository.tree.manifest(), &before)?;
    terminal::found(&format!("revision {}", receipt.revision_before), "still as it was imported", None);
    Ok(())
}

fn same(what: &str, expected: &[ManifestEntry], found: &[ManifestEntry]) -> Result<()> {
    let missing = expected.iter().find(|entry| !found.contains(entry));
    let surplus = found.iter().find(|entry| !expected.contains(entry));
    match (missing, surplus) {
        (None, None) => Ok(()),
        (missing, surplus) => bail!(
            "{what} is not the same tree: expected and not found: {}; found and not expected: {}",
            named(missing),
            named(surplus)
        ),
    }
}

fn named(entry: Option<&ManifestEntry>) -> String {
    entry.map_or("nothing".to_owned(), |entry| {
        format!(
            "{} ({}, {} bytes, {})",
            entry.path.as_str(),
            entry.mode.as_str(),
            entry.size_bytes,
            entry.sha256
        )
    })
}
