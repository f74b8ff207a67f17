//! `download_artifact`: whole, or one range (RFC 9110 §14).

use shared_contracts::artifacts::Artifact;
use shared_contracts::ids::{ArtifactId, OwnerId};
use shared_contracts::problem::ProblemKind;
use worker::{Headers, Range, Response};

use super::{get_artifact, key};
use crate::bindings::Bindings;
use crate::platform::failure::{Failure, Outcome};

pub async fn download_artifact(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: ArtifactId,
    range: Option<&str>,
) -> Outcome<Response> {
    let artifact = get_artifact(&bindings.db, owner_id, id).await?;
    let size = artifact.size_bytes;
    let part = match range.map_or(Ok(None), |range| part(range, size)) {
        Ok(part) => part,
        Err(Unsatisfiable) => {
            let detail = format!("The artifact has {size} bytes; ask for a range within them");
            return Err(Failure::problem(ProblemKind::RangeNotSatisfiable, detail));
        }
    };
    let headers = headers(&artifact)?;
    let bucket = bindings.artifacts()?;
    let mut get = bucket.get(key(artifact.execution_id, id));
    let mut status = 200;
    let mut length = size;
    if let Some(Part { first, last }) = part {
        length = last - first + 1;
        status = 206;
        headers.set("content-range", &format!("bytes {first}-{last}/{size}"))?;
        get = get.range(Range::OffsetWithLength { offset: first, length });
    }
    headers.set("content-length", &length.to_string())?;
    let builder = Response::builder().with_status(status).with_headers(headers);
    if length == 0 {
        return Ok(builder.fixed(Vec::new()));
    }
    let object = get.execute().await?;
    let body = object.as_ref().and_then(worker::Object::body);
    let body = body.ok_or_else(|| Failure::internal("an artifact", format!("{id} is not in R2")))?;
    Ok(builder.body(body.response_body()?))
}

fn headers(artifact: &Artifact) -> Outcome<Headers> {
    let headers = Headers::new();
    headers.set("content-type", &artifact.mime_type)?;
    headers.set("accept-ranges", "bytes")?;
    headers.set("etag", &format!("\"{}\"", artifact.sha256))?;
    // What a coding agent wrote must never run as a page of this origin.
    headers.set("content-security-policy", "sandbox; default-src 'none'")?;
    headers.set("x-content-type-options", "nosniff")?;
    let name = artifact.path.as_str().rsplit('/').next().unwrap_or("artifact");
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '_' }).collect();
    headers.set("content-disposition", &format!("attachment; filename=\"{plain}\""))?;
    Ok(headers)
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    first: u64,
    last: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Unsatisfiable;

/// None where the header is to be ignored: not bytes, several ranges, or not a range at all.
fn part(header: &str, size: u64) -> Result<Option<Part>, Unsatisfiable> {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let (first, last) = match (first.trim().parse::<u64>().ok(), last.trim().parse::<u64>().ok()) {
        (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Some(first), None) if last.trim().is_empty() => (first, size.saturating_sub(1)),
        (None, Some(suffix)) if first.trim().is_empty() => {
            if suffix == 0 {
                return Err(Unsatisfiable);
            }
            (size.saturating_sub(suffix), size.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if first >= size { Err(Unsatisfiable) } else { Ok(Some(Part { first, last })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_rfc_has_them() {
        let some = |first, last| Ok(Some(Part { first, last }));
        assert_eq!(part("bytes=0-4", 10), some(0, 4));
        assert_eq!(part("bytes=5-", 10), some(5, 9));
        assert_eq!(part("bytes=-3", 10), some(7, 9));
        assert_eq!(part("bytes=-30", 10), some(0, 9));
        assert_eq!(part("bytes=8-99", 10), some(8, 9));
        assert_eq!(part("bytes=10-", 10), Err(Unsatisfiable));
        assert_eq!(part("bytes=-0", 10), Err(Unsatisfiable));
        for ignored in ["bytes=4-2", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes=", ""] {
            assert_eq!(part(ignored, 10), Ok(None), "{ignored}");
        }
        assert_eq!(part("bytes=0-", 0), Err(Unsatisfiable));
    }
}
