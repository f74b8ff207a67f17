//! Row 8: a tree of 50,000 files and 500 MB comes in, as one tar stream and in parts; then again with 1 % changed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use shared_contracts::ids::ProjectId;
use shared_contracts::projects::CreateProject;
use tokio::sync::mpsc;

use super::load;
use super::stage::Stage;
use super::table::{Row, ms};
use crate::client::tree::LocalTree;
use crate::terminal::bytes;

const MB: u64 = 1_000_000;
/// Of these the hundredth part is changed.
const FOLDERS: u32 = 500;
/// So many bytes of tar are on their way to the socket.
const TAR_PIECE_BYTES: usize = 256 * 1_024;
const TAR_PIECES: usize = 8;

/// How large a tree.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub files_per_folder: u32,
    pub small_bytes: usize,
    /// Files of 2 MiB, which R2 holds.
    pub large_files: u32,
}

impl Size {
    /// 50,000 files, 500 MB.
    pub const WHOLE: Self = Self { files_per_folder: 100, small_bytes: 8_000, large_files: 48 };
    pub const QUICK: Self = Self { files_per_folder: 4, small_bytes: 8_000, large_files: 2 };
}

pub async fn rows(stage: &Stage, size: Size) -> Result<Vec<Row>> {
    let root = stage.folder().join("tree");
    make_tree(&root, size)?;
    let tree = LocalTree::scan(&root)?;
    let what = format!("{} files, {} MB", tree.len(), tree.total_bytes() / MB);
    let mut rows = Vec::new();

    let project = new_project(stage).await?;
    load::forget_peak_memory(stage.worker_pid);
    let (meter, started) = (stage.meter(), Instant::now());
    let receipt = stage.client.import_workspace(project, tar_stream(root.clone())).await?;
    rows.push(
        Row::new(format!("8  import {what}, one tar"), ms(started.elapsed()))
            .beside(memory(stage))
            .note(format!("{} new; {}", bytes(receipt.new_blob_bytes), meter.load())),
    );

    let project = new_project(stage).await?;
    load::forget_peak_memory(stage.worker_pid);
    let (meter, started) = (stage.meter(), Instant::now());
    let parts = stage.client.import_in_parts(project, &tree).await?;
    let sent = parts.pack_bytes + parts.manifest_bytes;
    rows.push(
        Row::new(format!("8  import {what}, in parts"), ms(started.elapsed()))
            .beside(memory(stage))
            .note(format!("{} packs, {}; {}", parts.packs_sent, bytes(sent), meter.load())),
    );

    for number in 0..FOLDERS * size.files_per_folder / 100 {
        fs::write(
            file_path(&root, number % FOLDERS, number / FOLDERS),
            format!("changed {number}\n").repeat(500),
        )?;
    }
    let tree = LocalTree::scan(&root)?;
    let (meter, started) = (stage.meter(), Instant::now());
    let parts = stage.client.import_in_parts(project, &tree).await?;
    let sent = parts.pack_bytes + parts.manifest_bytes;
    let share = sent as f64 / tree.total_bytes() as f64 * 100.0;
    rows.push(
        Row::new("8  import again, 1 % changed", ms(started.elapsed()))
            .beside(format!("{share:.1} % of the bytes sent"))
            .note(format!(
                "{} files changed; manifest {}, packs {}; {}",
                parts.receipt.files_changed,
                bytes(parts.manifest_bytes),
                bytes(parts.pack_bytes),
                meter.load()
            )),
    );
    fs::remove_dir_all(&root).context("cannot remove the tree")?;
    Ok(rows)
}

fn memory(stage: &Stage) -> String {
    format!("workerd's peak RSS {}", bytes(load::peak_memory_bytes(stage.worker_pid)))
}

async fn new_project(stage: &Stage) -> Result<ProjectId> {
    let project = CreateProject { name: "import".into(), description: String::new() };
    Ok(stage.client.create_project(&project).await?.id)
}

fn file_path(root: &Path, folder: u32, file: u32) -> PathBuf {
    root.join(format!("folder-{folder:03}/file-{file:03}.rs"))
}

/// Content that no two files share and that does not compress.
fn make_tree(root: &Path, size: Size) -> Result<()> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut content = |length: usize| {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            // xorshift64 (Marsaglia 2003): only has to differ.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    };
    for folder in 0..FOLDERS {
        fs::create_dir_all(root.join(format!("folder-{folder:03}")))?;
        for file in 0..size.files_per_folder {
            fs::write(file_path(root, folder, file), content(size.small_bytes))?;
        }
    }
    for file in 0..size.large_files {
        fs::write(root.join(format!("large-{file:03}.bin")), content(2 * 1_024 * 1_024))?;
    }
    Ok(())
}

/// The tree as a tar that is made while it is sent.
fn tar_stream(root: PathBuf) -> reqwest::Body {
    let (sender, receiver) = mpsc::channel::<std::io::Result<Vec<u8>>>(TAR_PIECES);
    tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe { sender: sender.clone(), piece: Vec::new() };
        let mut tar = tar::Builder::new(&mut pipe);
        let written = tar.append_dir_all(".", &root).and_then(|()| tar.finish());
        drop(tar);
        if let Err(error) = written.and_then(|()| pipe.flush()) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    reqwest::Body::wrap_stream(futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

struct Pipe {
    sender: mpsc::Sender<std::io::Result<Vec<u8>>>,
    piece: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= TAR_PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.sender.blocking_send(Ok(piece)).map_err(|_| std::io::Error::other("the request has ended"))
    }
}
