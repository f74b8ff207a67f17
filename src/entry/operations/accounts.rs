//! Access tokens.

use shared_contracts::accounts::CreateAccessToken;
use shared_contracts::page::PageQuery;
use worker::Response;

use super::owned::{account, owner};
use crate::accounts::access_tokens;
use crate::dispatch::commands::DispatchCommand;
use crate::entry::call::{Call, json, json_text, nothing};
use crate::platform::failure::Outcome;
use crate::platform::object;

pub async fn list_access_tokens(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, access_tokens::list_access_tokens(&call.bindings.db, owner(&call)?, &page).await?)
}

pub async fn create_access_token(call: Call) -> Outcome<Response> {
    // Not idempotent by key: a stored answer would hold the token.
    let input: CreateAccessToken = call.json().await?;
    json(201, &access_tokens::create_access_token(&call.bindings.db, account(&call)?, input).await?)
}

pub async fn revoke_access_token(call: Call) -> Outcome<Response> {
    let id = call.parameter("token_id")?;
    access_tokens::revoke_access_token(&call.bindings.db, owner(&call)?, id).await?;
    // The record is what counts. If this does not arrive, its connections are closed a little later.
    let (dispatcher, command) = (call.bindings.dispatcher()?, DispatchCommand::TokenRevoked { token_id: id });
    if let Err(failure) = object::call::<()>(&dispatcher, &command).await {
        failure.log("token's revocation");
    }
    nothing()
}
