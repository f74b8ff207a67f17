//! Files that the execution declared by globs, read out of the workspace as the payload left it, and streamed to the
//! plane with their hash.

use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use redaction::Redactor;
use rustix::fs::FileType;
use sha2::Digest;
use shared_contracts::artifacts::{ArtifactType, UploadArtifact};
use shared_contracts::events::{EventBody, EventSource, LogLevel, SecretPlace};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ArtifactId;
use shared_contracts::limits::{ARTIFACT_BYTES_MAX, ARTIFACTS_PER_EXECUTION_MAX};
use shared_contracts::paths::WorkspacePath;

use super::{ReportError, archive, blocking};
use crate::beneath;
use crate::execution::Execution;
use crate::sandbox::Collected;
use crate::secrets::Search;
use crate::{clock, secrets};

const FILES_LOOKED_AT_MAX: usize = 1_000_000;

/// A file that is about to be sent.
struct Readied {
    file: std::fs::File,
    size_bytes: u64,
    sha256: Sha256,
    /// Secrets that stand in it: name and offset.
    found: Vec<(String, u64)>,
}

/// Uploads what matches. Only a lost lease or a plane that refuses is an error; a file that cannot be kept is noted.
pub async fn upload(execution: &Execution, collected: &Arc<Collected>) -> Result<(), ReportError> {
    let globs = execution.leased.spec.artifacts.clone();
    if globs.is_empty() {
        return Ok(());
    }
    let spool = &execution.spool;
    let tree = Arc::clone(collected);
    let mut found = match blocking(move || find(&tree.merged, &globs)).await? {
        Ok(found) => found,
        Err(error) => {
            spool.note(LogLevel::Warn, format!("artifacts could not be looked for: {error}"));
            return Ok(());
        }
    };
    if execution.leased.spec.archive_artifacts {
        return upload_archive(execution, collected, found).await;
    }
    let many = found.len();
    if many > ARTIFACTS_PER_EXECUTION_MAX as usize {
        found.truncate(ARTIFACTS_PER_EXECUTION_MAX as usize);
        let text = format!(
            "{many} files match the artifact globs; the first {ARTIFACTS_PER_EXECUTION_MAX} are kept (`archive_artifacts` \
             keeps them all as one file)"
        );
        spool.note(LogLevel::Warn, text);
    }
    for path in found {
        upload_one(execution, collected, path).await?;
    }
    Ok(())
}

/// All of them as one artifact.
async fn upload_archive(
    execution: &Execution,
    collected: &Arc<Collected>,
    paths: Vec<WorkspacePath>,
) -> Result<(), ReportError> {
    let (spool, tree, directory) = (&execution.spool, Arc::clone(collected), execution.directory.clone());
    let redactor = spool.redactor().cloned();
    let packed = blocking(move || archive::pack(&tree.merged, &paths, &directory, redactor.as_ref())).await?;
    let packed = match packed {
        Ok(packed) => packed,
        Err(error) => {
            spool.note(LogLevel::Warn, format!("the artifacts' archive is not kept: {error}"));
            return Ok(());
        }
    };
    for why in packed.left_out {
        spool.note(LogLevel::Warn, format!("not in the artifacts' archive: {why}"));
    }
    for (path, name, offset) in packed.found {
        secrets::report(spool, SecretPlace::Artifact, path.as_str(), &[(name, offset)]);
    }
    let Ok(path) = WorkspacePath::parse(archive::NAME) else { return Ok(()) };
    send(execution, path, packed.file, packed.size_bytes, packed.sha256).await
}

async fn upload_one(
    execution: &Execution,
    collected: &Arc<Collected>,
    path: WorkspacePath,
) -> Result<(), ReportError> {
    // Its size and hash. Nothing writes to it any more.
    let (tree, name) = (Arc::clone(collected), path.clone());
    let redactor = execution.spool.redactor().cloned();
    let readied = blocking(move || read(&tree.merged, name.as_str(), redactor.as_ref())).await?;
    let Readied { file, size_bytes, sha256, found } = match readied {
        Ok(readied) => readied,
        Err(error) => {
            execution.spool.note(LogLevel::Warn, format!("the artifact `{path}` is not kept: {error}"));
            return Ok(());
        }
    };
    secrets::report(&execution.spool, SecretPlace::Artifact, path.as_str(), &found);
    send(execution, path, file, size_bytes, sha256).await
}

async fn send(
    execution: &Execution,
    path: WorkspacePath,
    file: std::fs::File,
    size_bytes: u64,
    sha256: Sha256,
) -> Result<(), ReportError> {
    // 1. Streamed from its beginning, at each try.
    let id = ArtifactId::new(clock::now_ms(), clock::random());
    let query =
        UploadArtifact { artifact_type: type_of(path.as_str()), path: path.clone(), size_bytes, sha256 };
    let url_path = format!("/api/sandbox/executions/{}/artifacts/{id}", execution.leased.lease.execution_id);
    let file = Arc::new(file);
    let sent = execution.agent.plane.request(&execution.held, move |client, url| {
        let request = client
            .put(format!("{url}{url_path}"))
            .query(&query)
            .header(reqwest::header::CONTENT_LENGTH, size_bytes)
            .header(reqwest::header::CONTENT_TYPE, "application/octet-stream");
        let file = Arc::clone(&file);
        Box::pin(async move {
            let mut file = file.try_clone()?;
            file.rewind()?;
            Ok(request.body(body(file)))
        })
    });
    match sent.await {
        Ok(_) => {}
        Err(crate::api::ApiError::LeaseGone) => return Err(ReportError::LeaseGone),
        Err(error) => {
            let text = format!("the artifact `{path}` could not be kept: {error}");
            execution.spool.note(LogLevel::Error, text);
            return Ok(());
        }
    }
    // 2. Known to watchers.
    let body = EventBody::Artifact { artifact_id: id, path: path.to_string(), size_bytes };
    execution.spool.event(EventSource::System, body);
    Ok(())
}

fn body(file: std::fs::File) -> reqwest::Body {
    let file = tokio::fs::File::from_std(file);
    let chunks = futures_util::stream::try_unfold(file, |mut file| async move {
        use tokio::io::AsyncReadExt;
        let mut bytes = vec![0; 128 * 1024];
        let count = file.read(&mut bytes).await?;
        bytes.truncate(count);
        Ok::<_, io::Error>((count > 0).then_some((bytes, file)))
    });
    reqwest::Body::wrap_stream(chunks)
}

/// Files that match, in order of path.
fn find(root: &OwnedFd, globs: &[String]) -> Result<Vec<WorkspacePath>, String> {
    let set = compile(globs)?;
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut directories = vec![(PathBuf::new(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        for entry in beneath::list(root, &directory).map_err(|error| error.to_string())? {
            looked_at += 1;
            let path = directory.join(&entry.name);
            match entry.kind {
                FileType::Directory if depth < beneath::DEPTH_MAX => directories.push((path, depth + 1)),
                FileType::RegularFile if set.is_match(&path) => {
                    found.extend(path.to_str().and_then(|text| WorkspacePath::parse(text).ok()));
                }
                _ => {}
            }
        }
        if looked_at > FILES_LOOKED_AT_MAX {
            return Err(format!("the workspace has more than {FILES_LOOKED_AT_MAX} files"));
        }
    }
    found.sort();
    Ok(found)
}

fn compile(globs: &[String]) -> Result<GlobSet, String> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        let glob = glob.trim_start_matches("./").trim_start_matches('/');
        // A directory means what is below it.
        let glob = if glob.ends_with('/') { format!("{glob}**") } else { glob.to_owned() };
        builder
            .add(GlobBuilder::new(&glob).literal_separator(true).build().map_err(|error| error.to_string())?);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Also looks for secrets on the way, of which it gives name and offset.
fn read(root: &OwnedFd, path: &str, redactor: Option<&Redactor>) -> io::Result<Readied> {
    let (mut file, stat) = beneath::open_file(root, Path::new(path))?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > ARTIFACT_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has {size} bytes, and an artifact at most {ARTIFACT_BYTES_MAX}"
        )));
    }
    let mut hasher = sha2::Sha256::new();
    let mut search = Search::new(redactor);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        search.feed(bytes);
    }
    let sha256 = Sha256::from_bytes(hasher.finalize().into());
    Ok(Readied { file, size_bytes: size, sha256, found: search.finish() })
}

/// What a file is, by the names that test tools give.
fn type_of(path: &str) -> ArtifactType {
    let path = path.to_ascii_lowercase();
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let name = path.rsplit('/').next().unwrap_or_default();
    match extension {
        "png" | "jpg" | "jpeg" | "webp" | "gif" => ArtifactType::Screenshot,
        "lcov" => ArtifactType::Coverage,
        _ if path.contains("coverage") || name.starts_with("cobertura") || name == "lcov.info" => {
            ArtifactType::Coverage
        }
        _ if path.contains("junit") || path.contains("test-report") || path.contains("test-results") => {
            ArtifactType::TestReport
        }
        "log" | "out" => ArtifactType::Output,
        _ => ArtifactType::File,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_stop_at_directories_unless_they_say_otherwise() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.log", "sub/b.log", "target/report/x/y.xml", "target/other"] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link.log")).unwrap();
        let root: OwnedFd = std::fs::File::open(directory.path()).unwrap().into();
        let found = |globs: &[&str]| {
            let globs: Vec<_> = globs.iter().map(|glob| (*glob).to_owned()).collect();
            find(&root, &globs).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(&["*.log"]), ["a.log"]);
        assert_eq!(found(&["**/*.log"]), ["a.log", "sub/b.log"]);
        assert_eq!(found(&["target/report/**"]), ["target/report/x/y.xml"]);
        assert_eq!(found(&["target/report/"]), ["target/report/x/y.xml"]);
        assert!(find(&root, &["[".to_owned()]).is_err());
    }

    #[test]
    fn types_follow_names() {
        assert_eq!(type_of("shots/A.PNG"), ArtifactType::Screenshot);
        assert_eq!(type_of("target/junit.xml"), ArtifactType::TestReport);
        assert_eq!(type_of("coverage/index.html"), ArtifactType::Coverage);
        assert_eq!(type_of("run.log"), ArtifactType::Output);
        assert_eq!(type_of("dist/app.tar"), ArtifactType::File);
    }
}
