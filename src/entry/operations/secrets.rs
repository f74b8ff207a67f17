//! Secrets of a project.

use shared_contracts::page::PageQuery;
use shared_contracts::secrets::SetSecret;
use worker::Response;

use super::owned::owner;
use crate::entry::call::{Call, json, json_text, nothing};
use crate::platform::failure::{Failure, Outcome};
use crate::secrets;

pub async fn list_secrets(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let project_id = call.parameter("project_id")?;
    json_text(200, secrets::list_secrets(&call.bindings.db, owner(&call)?, project_id, &page).await?)
}

pub async fn set_secret(call: Call) -> Outcome<Response> {
    let (project_id, name) = (call.parameter("project_id")?, call.parameter::<String>("name")?);
    let input: SetSecret = call.json().await.map_err(without_value)?;
    json(200, &secrets::set_secret(&call.bindings, owner(&call)?, project_id, &name, input).await?)
}

pub async fn delete_secret(call: Call) -> Outcome<Response> {
    let (project_id, name) = (call.parameter("project_id")?, call.parameter::<String>("name")?);
    secrets::delete_secret(&call.bindings.db, owner(&call)?, project_id, &name).await?;
    nothing()
}

/// What reads JSON quotes what it did not want to read; here that may be the secret.
fn without_value(mut failure: Failure) -> Failure {
    if let Failure::Problem(problem) = &mut failure {
        for fault in &mut problem.faults {
            let is_unknown = fault.message.starts_with("unknown ");
            if is_unknown || fault.message.starts_with("invalid ") {
                fault.message = "is not what it must be: `{\"value\": \"…\"}`, a text".into();
            }
            // It would be named, and may be the secret as well.
            if is_unknown {
                fault.field = "body".into();
            }
        }
    }
    failure
}
