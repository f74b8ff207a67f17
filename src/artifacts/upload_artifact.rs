//! `upload_artifact`: the container agent streams a file; R2 hashes it and refuses another hash than the one said.

use shared_contracts::artifacts::{Artifact, UploadArtifact};
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::ArtifactId;
use shared_contracts::problem::ProblemKind;
use worker::HttpMetadata;
use worker::web_sys::ReadableStream;

use super::{key, store};
use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};

/// 1. Sent before: the same record.
/// 2. The content goes to R2, under a key that nothing refers to yet.
/// 3. The record stands, if the lease still does and there are not too many; otherwise the content goes
///    again.
pub async fn upload_artifact(
    bindings: &Bindings,
    lease: Lease,
    id: ArtifactId,
    input: UploadArtifact,
    body: Option<ReadableStream>,
) -> Outcome<Artifact> {
    let execution_id = lease.execution_id;
    if let Some(artifact) = store::of_execution(&bindings.db, execution_id, id).await? {
        return Ok(artifact);
    }
    let mime_type = mime_type(input.path.as_str()).to_owned();
    let key = key(execution_id, id);
    let bucket = bindings.artifacts()?;
    let metadata = HttpMetadata { content_type: Some(mime_type.clone()), ..HttpMetadata::default() };
    let data = match body {
        Some(stream) if input.size_bytes > 0 => worker::Data::from(stream),
        _ => worker::Data::Bytes(Vec::new()),
    };
    let stored = bucket
        .put(key.as_str(), data)
        .http_metadata(metadata)
        .sha256(input.sha256.as_bytes().to_vec())
        .execute()
        .await
        .map_err(refused_content)?;
    let artifact = Artifact {
        id,
        execution_id,
        artifact_type: input.artifact_type,
        path: input.path,
        size_bytes: input.size_bytes,
        mime_type,
        sha256: input.sha256,
        created_at_ms: now_ms(),
    };
    let size = stored.map_or(0, |object| object.size());
    let complaint = if size != artifact.size_bytes {
        Some(Failure::invalid(
            "size_bytes",
            format!("{} bytes were announced, {size} came", artifact.size_bytes),
        ))
    } else if store::insert(&bindings.db, &artifact, lease).await? {
        None
    } else if let Some(artifact) = store::of_execution(&bindings.db, execution_id, id).await? {
        // Another try of the same upload was faster: what it stored is this content, and stays.
        return Ok(artifact);
    } else {
        let detail = "The lease is gone, the execution has ended, or it has all the artifacts it may have";
        Some(Failure::problem(ProblemKind::Conflict, detail))
    };
    match complaint {
        None => Ok(artifact),
        Some(failure) => {
            bucket.delete(key).await?;
            Err(failure)
        }
    }
}

/// What a browser may be told about what coding agents commonly leave behind. A library's full table would be a
/// tenth of the Worker.
fn mime_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "txt" | "log" | "diff" | "patch" | "toml" | "rs" | "py" | "go" | "sh" | "lcov" => {
            "text/plain; charset=utf-8"
        }
        "md" => "text/markdown; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "tar" => "application/x-tar",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}

fn refused_content(error: worker::Error) -> Failure {
    let text = error.to_string();
    if text.contains("checksum") || text.contains("SHA-256") || text.contains("10037") {
        return Failure::invalid("sha256", "The content hashes to something else");
    }
    Failure::internal("storing an artifact", text)
}
