//! Files go out: a manifest, a tar of a revision, a tar of blobs. Streamed: one file, or one piece of a large one,
//! in memory.

use std::rc::Rc;

use futures::stream::{self, BoxStream, LocalBoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use shared_contracts::hash::Sha256;
use shared_contracts::workspaces::{FileMode, ManifestEntry, Revision};
use worker::{Bucket, Headers, Response, ResponseBuilder};

use super::blobs::{self, Content};
use super::tree::Tree;
use crate::platform::failure::{Failure, Outcome};

/// Rows read at once.
const PAGE_FILES: u32 = 1_000;

type Pieces = LocalBoxStream<'static, worker::Result<Vec<u8>>>;

fn broken(failure: Failure) -> worker::Error {
    failure.log("workspace stream");
    worker::Error::RustError("the workspace cannot be read".into())
}

fn response(
    content_type: &str,
    pieces: impl Stream<Item = worker::Result<Vec<u8>>> + 'static,
) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set("content-type", content_type)?;
    Ok(ResponseBuilder::new().with_headers(headers).from_stream(pieces)?)
}

/// Pages of a revision's files, in order of path. Revisions do not change, so pages fit together.
fn pages(tree: Rc<Tree>, revision: u64) -> impl Stream<Item = worker::Result<Vec<ManifestEntry>>> {
    stream::try_unfold(String::new(), move |after| {
        let page = tree.files_after::<ManifestEntry>(revision, &after, PAGE_FILES).map_err(broken);
        async move {
            let page = page?;
            Ok(page.last().map(|last| last.path.to_string()).map(|last| (page, last)))
        }
    })
}

/// `get_manifest`.
pub fn manifest(tree: Rc<Tree>, revision: u64) -> Outcome<Response> {
    let lines = pages(tree, revision).map(|page| {
        let mut lines = Vec::new();
        for entry in page? {
            serde_json::to_writer(&mut lines, &entry)?;
            lines.push(b'\n');
        }
        Ok(lines)
    });
    response("application/x-ndjson", lines)
}

/// `export_workspace`.
pub fn export(tree: Rc<Tree>, bucket: Rc<Bucket>, revision: &Revision) -> Outcome<Response> {
    let modified_seconds = revision.created_at_ms / 1_000;
    let files = pages(Rc::clone(&tree), revision.revision)
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten();
    let pieces = files
        .and_then(move |entry| member(Rc::clone(&tree), Rc::clone(&bucket), entry, modified_seconds))
        .try_flatten();
    response("application/x-tar", pieces.chain(closing()))
}

/// `fetch_blobs`: in the order asked for; one that is not there ends the request before it begins.
pub fn fetch(tree: Rc<Tree>, bucket: Rc<Bucket>, wanted: Vec<Sha256>) -> Outcome<Response> {
    for sha256 in &wanted {
        if !blobs::exists(&tree.sql, *sha256)? {
            return Err(Failure::not_found("blob", sha256));
        }
    }
    let pieces = stream::iter(wanted.into_iter().map(Ok))
        .and_then(move |sha256| {
            let (tree, bucket) = (Rc::clone(&tree), Rc::clone(&bucket));
            async move { content_member(&tree, &bucket, &sha256.to_string(), sha256, 0o644, 0).await }
        })
        .try_flatten();
    response("application/x-tar", pieces.chain(closing()))
}

/// Two empty blocks end an archive.
fn closing() -> BoxStream<'static, worker::Result<Vec<u8>>> {
    stream::once(async { Ok(vec![0; 1_024]) }).boxed()
}

async fn member(
    tree: Rc<Tree>,
    bucket: Rc<Bucket>,
    entry: ManifestEntry,
    modified_seconds: u64,
) -> worker::Result<Pieces> {
    let path = entry.path.as_str();
    match entry.mode {
        FileMode::Symlink => {
            let target = blobs::read(&tree.sql, &bucket, entry.sha256).await.map_err(broken)?;
            let target = target.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            let mut header = header(0, 0o777, modified_seconds);
            header.set_entry_type(tar::EntryType::Symlink);
            let mut archive = tar::Builder::new(Vec::new());
            archive.append_link(&mut header, path, target)?;
            Ok(one(std::mem::take(archive.get_mut())))
        }
        FileMode::Executable => {
            content_member(&tree, &bucket, path, entry.sha256, 0o755, modified_seconds).await
        }
        FileMode::Regular => {
            content_member(&tree, &bucket, path, entry.sha256, 0o644, modified_seconds).await
        }
    }
}

fn one(bytes: Vec<u8>) -> Pieces {
    stream::once(async { Ok(bytes) }).boxed_local()
}

fn header(size: u64, mode: u32, modified_seconds: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(modified_seconds);
    header
}

async fn content_member(
    tree: &Tree,
    bucket: &Bucket,
    path: &str,
    sha256: Sha256,
    mode: u32,
    modified_seconds: u64,
) -> worker::Result<Pieces> {
    let mut archive = tar::Builder::new(Vec::new());
    match blobs::find(&tree.sql, sha256).map_err(broken)? {
        Some(Content::Inline(bytes)) => {
            archive.append_data(
                &mut header(bytes.len() as u64, mode, modified_seconds),
                path,
                bytes.as_slice(),
            )?;
            Ok(one(std::mem::take(archive.get_mut())))
        }
        Some(Content::Object { key, size_bytes }) => {
            // The builder pads what it was given, which is nothing: the header alone comes out.
            archive.append_data(&mut header(size_bytes, mode, modified_seconds), path, std::io::empty())?;
            let object = bucket.get(&key).execute().await?;
            let body = object.as_ref().and_then(worker::Object::body);
            let body =
                body.ok_or_else(|| worker::Error::RustError(format!("{key} is not in R2")))?.stream()?;
            let padding = usize::try_from((512 - size_bytes % 512) % 512).unwrap_or(0);
            let pieces = one(std::mem::take(archive.get_mut())).chain(body).chain(one(vec![0; padding]));
            Ok(pieces.boxed_local())
        }
        None => Err(broken(Failure::internal("a blob of a revision", sha256))),
    }
}

/// `read_file`, `get_blob`: large content passes through from R2.
pub async fn content(tree: &Tree, bucket: &Bucket, sha256: Sha256) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/octet-stream")?;
    headers.set("etag", &format!("\"{sha256}\""))?;
    // What a coding agent wrote must never run as a page of this origin.
    headers.set("x-content-type-options", "nosniff")?;
    let builder = ResponseBuilder::new().with_headers(headers);
    match blobs::find(&tree.sql, sha256)? {
        None => Err(Failure::not_found("blob", sha256)),
        Some(Content::Inline(bytes)) => Ok(builder.fixed(bytes)),
        Some(Content::Object { key, .. }) => {
            let object = bucket.get(&key).execute().await?;
            let body = object.as_ref().and_then(worker::Object::body);
            let body =
                body.ok_or_else(|| Failure::internal("a large blob", format!("{key} is not in R2")))?;
            Ok(builder.body(body.response_body()?))
        }
    }
}
