//! A workspace: a project's file tree as a chain of revisions, kept by one [`object::Workspace`] per project.
//!
//! ```text
//!   revision n ── import (tar, or manifest + missing blobs) ──▶ n + 1
//!   revision n ── patch batch, all of it or nothing ──────────▶ n + 1
//! ```
//! A file's row says from which revision to which it stood, so every revision is readable and a new one costs only
//! what it changes. Content is named by SHA-256: small blobs in the object's SQLite, large ones in R2. Imports that
//! nobody commits are forgotten after a day, and with them the blobs that nobody refers to (`collect`).
//!
//! Operations: `get_workspace`, `import_workspace`, `start_import`, `store_blobs`, `commit_import`, `list_tree`,
//! `read_file`, `get_manifest`, `export_workspace`, `get_blob`, `fetch_blobs`; `patches` asks for `Apply`, `Check`,
//! `Touches` and `Inverse`.

pub mod apply;
pub mod blobs;
pub mod collect;
pub mod commands;
pub mod commit;
pub mod export;
pub mod import;
pub mod import_in_parts;
pub mod object;
pub mod plan;
pub mod tar_reader;
pub mod touches;
pub mod tree;
pub mod unpack;
