//! A patch as it was sent becomes operations, and these what the Workspace is asked for.

use patch_engine::Parsed;
use patch_engine::formats;
use shared_contracts::ids::{OwnerId, ProjectId};
use shared_contracts::limits::PATCH_OPERATIONS_MAX;
use shared_contracts::patches::Reading;
use shared_contracts::patches::{PatchBody, PatchFormat};

use crate::bindings::Bindings;
use crate::platform::failure::{Failure, Outcome};
use crate::projects;
use crate::workspaces::commands::Wanted;

pub struct Sent {
    /// Those that could not be read are refused where they stood.
    pub operations: Vec<Parsed>,
    pub reading: Reading,
}

pub fn sent(body: PatchBody, format: Option<PatchFormat>) -> Outcome<Sent> {
    let text = match body {
        PatchBody::Text(text) => text,
        PatchBody::Batch(batch) => {
            let operations = batch.operations.into_iter().map(Ok).collect();
            return Ok(Sent { operations, reading: Reading::default() });
        }
    };
    let sent = match formats::read(&text, format) {
        Ok(read) => {
            let reading = Reading { format: Some(read.format), notes: read.notes };
            Sent { operations: read.operations, reading }
        }
        Err(fault) => Sent {
            operations: vec![Err((String::new(), fault.into()))],
            reading: Reading { format, notes: Vec::new() },
        },
    };
    if sent.operations.len() > PATCH_OPERATIONS_MAX {
        return Err(Failure::too_large("A patch batch", PATCH_OPERATIONS_MAX as u64, "operations"));
    }
    Ok(sent)
}

/// With what the project denies. It must be this owner's; none where that is known already.
pub async fn wanted(
    bindings: &Bindings,
    owner_id: Option<OwnerId>,
    project_id: ProjectId,
    base_revision: u64,
    operations: Vec<Parsed>,
) -> Outcome<Wanted> {
    let denied_paths = projects::denied_paths(&bindings.db, owner_id, project_id).await?;
    Ok(Wanted { operations, base_revision, denied_paths })
}
