//! R2's objects under one prefix.

use worker::{Bucket, Object};

use super::failure::Outcome;

/// What R2 lists and deletes in one call.
const PAGE_OBJECTS: u32 = 1_000;

/// Deletes a page of them. Answers whether none is left.
pub async fn clear(bucket: &Bucket, prefix: String) -> Outcome<bool> {
    let page = bucket.list().prefix(prefix).limit(PAGE_OBJECTS).execute().await?;
    let keys: Vec<String> = page.objects().iter().map(Object::key).collect();
    if !keys.is_empty() {
        bucket.delete_multiple(keys).await?;
    }
    Ok(!page.truncated())
}
