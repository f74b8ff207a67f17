//! What was applied to which tree, outside the tree: one folder for each root below
//! `$XDG_STATE_HOME/patchctl` (`~/.local/state/patchctl`).
//!
//! A receipt is written as `pending` before the files move and gets its name once they have. A run that is killed in
//! between leaves it pending; then the files themselves say whether it happened, and the next command believes them.
//!
//! A receipt is kept as one line of JSON, then the old and the new contents as they are. What takes the change back is
//! made of those when it is asked for: hardly any change is ever taken back, and every apply would wait for it.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use patch_engine::FileChange;
use serde::{Deserialize, Serialize};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::patches::{FileReceipt, TreeReceipt};
use shared_contracts::workspaces::FileMode;

/// Older ones are removed: nobody undoes the hundred-and-first apply before the last.
const RECEIPTS_MAX: usize = 100;
/// Of larger changes only what differs is kept, which takes longer to find than contents take to write.
const CONTENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Receipts must not fill a disk. The newest is kept whatever it takes.
const RECEIPTS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Looking for older ones is dear beside a small apply; a few too many do no harm.
const APPLIES_BETWEEN_LOOKS: u64 = 16;
const PENDING: &str = "pending";

pub struct State {
    folder: PathBuf,
    handle: File,
}

/// The first line of a kept receipt.
#[derive(Serialize, Deserialize)]
struct Kept {
    receipt: TreeReceipt,
    /// Of each of the receipt's files before and after; the contents follow in this order.
    contents: Vec<[Option<Content>; 2]>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    mode: FileMode,
    size_bytes: usize,
}

impl State {
    /// The folder of the tree at `root`. Under the tree's lock.
    pub fn open(root: &Path) -> io::Result<Self> {
        let hash = Sha256::of(root.as_os_str().as_encoded_bytes()).to_string();
        let name = hash.get(..16).unwrap_or(&hash);
        let folder = home()?.join("patchctl").join(name);
        let handle = match File::open(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
                File::open(&folder)?
            }
            handle => handle?,
        };
        let state = Self { folder, handle };
        state.settle_pending(root)?;
        Ok(state)
    }

    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    pub fn prepare(&self, receipt: TreeReceipt, changes: &[FileChange]) -> io::Result<()> {
        let mut kept = Kept { receipt, contents: Vec::new() };
        let files = || changes.iter().flat_map(|change| [&change.before, &change.after]).flatten();
        let is_small = files().map(|file| file.bytes.len()).sum::<usize>() <= CONTENT_BYTES_MAX;
        if is_small {
            let content =
                |file: &patch_engine::File| Content { mode: file.mode, size_bytes: file.bytes.len() };
            let sides =
                |change: &FileChange| [&change.before, &change.after].map(|file| file.as_ref().map(content));
            kept.contents = changes.iter().map(sides).collect();
        } else {
            kept.receipt.inverse = Some(patch_engine::inverse(changes));
        }
        let mut pending = BufWriter::new(File::create(self.folder.join(PENDING))?);
        serde_json::to_writer(&mut pending, &kept)?;
        pending.write_all(b"\n")?;
        if is_small {
            files().try_for_each(|file| pending.write_all(&file.bytes))?;
        }
        pending.flush()
    }

    pub fn keep(&self, id: PatchBatchId, applied_at_ms: u64) -> io::Result<()> {
        std::fs::rename(self.folder.join(PENDING), self.file(id))?;
        if !applied_at_ms.is_multiple_of(APPLIES_BETWEEN_LOOKS) {
            return Ok(());
        }
        let mut bytes = 0;
        for (newer, id) in self.ids()?.into_iter().rev().enumerate() {
            let file = self.file(id);
            bytes += std::fs::metadata(&file)?.len();
            if newer >= RECEIPTS_MAX || (newer > 0 && bytes > RECEIPTS_BYTES_MAX) {
                std::fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    pub fn forget_pending(&self) {
        let _ = std::fs::remove_file(self.folder.join(PENDING));
    }

    /// With what takes the change back.
    pub fn receipt(&self, id: PatchBatchId) -> io::Result<TreeReceipt> {
        let (mut receipt, changes) = read_kept(&self.file(id))?;
        receipt.inverse.get_or_insert_with(|| patch_engine::inverse(&changes));
        Ok(receipt)
    }

    /// The newest that was neither taken back nor is itself a taking back.
    pub fn last(&self) -> io::Result<Option<TreeReceipt>> {
        let mut reverted = BTreeSet::new();
        for id in self.ids()?.into_iter().rev() {
            match read_kept(&self.file(id))?.0.reverts {
                Some(id) => drop(reverted.insert(id)),
                None if reverted.contains(&id) => {}
                None => return self.receipt(id).map(Some),
            }
        }
        Ok(None)
    }

    fn file(&self, id: PatchBatchId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Oldest first: ids sort by time.
    fn ids(&self) -> io::Result<BTreeSet<PatchBatchId>> {
        let mut ids = BTreeSet::new();
        for entry in std::fs::read_dir(&self.folder)? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<PatchBatchId>().ok()));
        }
        Ok(ids)
    }

    fn settle_pending(&self, root: &Path) -> io::Result<()> {
        let receipt = match read_kept(&self.folder.join(PENDING)) {
            Ok((receipt, _)) => receipt,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Killed while it was written, so before anything moved.
            Err(_) => {
                self.forget_pending();
                return Ok(());
            }
        };
        // The tree is all old or all new by now: one file that differs decides.
        let happened =
            receipt.files.iter().all(|file| hash(&root.join(file.path.as_str())) == file.sha256_after);
        match receipt.id.filter(|_| happened) {
            Some(id) => self.keep(id, receipt.applied_at_ms)?,
            None => self.forget_pending(),
        }
        Ok(())
    }
}

fn read_kept(path: &Path) -> io::Result<(TreeReceipt, Vec<FileChange>)> {
    let bytes = std::fs::read(path)?;
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let Kept { receipt, contents } = serde_json::from_slice(lines.next().unwrap_or_default())?;
    let mut rest = lines.next().ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut file = |content: Option<Content>| -> io::Result<Option<patch_engine::File>> {
        let Some(Content { mode, size_bytes }) = content else { return Ok(None) };
        let (bytes, after) = rest.split_at_checked(size_bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        rest = after;
        Ok(Some(patch_engine::File { bytes: bytes.to_vec(), mode }))
    };
    let mut changes = Vec::with_capacity(contents.len());
    for (FileReceipt { path, .. }, [before, after]) in receipt.files.iter().zip(contents) {
        changes.push(FileChange { path: path.clone(), before: file(before)?, after: file(after)? });
    }
    Ok((receipt, changes))
}

/// A receipt that `apply --receipt` wrote.
pub fn read(path: &Path) -> io::Result<TreeReceipt> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn hash(path: &Path) -> Option<Sha256> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    if metadata.is_symlink() {
        return Some(Sha256::of(std::fs::read_link(path).ok()?.as_os_str().as_encoded_bytes()));
    }
    metadata.is_file().then(|| std::fs::read(path).ok()).flatten().map(|bytes| Sha256::of(&bytes))
}

fn home() -> io::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state"))).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "neither XDG_STATE_HOME nor HOME names a folder for receipts")
    })
}
