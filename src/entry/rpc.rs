//! Every method that other Workers may call over a service binding: the operations of HTTP, without HTTP.
//!
//! `entrypoints.mjs` lists them under their entrypoint's name and passes JSON on. A service binding says nothing of who
//! calls, so the caller's token comes along as an argument, and so does what HTTP has in `Idempotency-Key`.

use serde::Serialize;
use serde_json::value::RawValue;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::limits::PATCH_BODY_BYTES_MAX;
use shared_contracts::patches::{PatchRequest, WantedPatch};
use shared_contracts::problem::Problem;
use shared_contracts::routes::{Access, ROUTES};
use wasm_bindgen::prelude::wasm_bindgen;
use worker::Env;

use super::call::read_json;
use super::caller::{self, Caller};
use super::idempotency::Keyed;
use super::operations::{reader, text, wanted};
use crate::bindings::Bindings;
use crate::patches::{apply_patches as apply, check_patches as check};
use crate::platform::failure::{Failure, Outcome};

#[wasm_bindgen]
extern "C" {
    /// The entrypoint that is called.
    pub type RpcEntrypoint;

    #[wasm_bindgen(method, getter)]
    fn env(this: &RpcEntrypoint) -> Env;
}

/// A problem is an answer: what is thrown over RPC loses all but its message.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum RpcAnswer<T> {
    Answer(T),
    Problem(Problem),
}

#[wasm_bindgen(
    this,
    js_name = applyPatches,
    js_sys = worker::js_sys,
    wasm_bindgen_futures = worker::wasm_bindgen_futures
)]
pub async fn apply_patches(
    this: RpcEntrypoint,
    token: String,
    request: String,
    key: Option<String>,
) -> String {
    let answer = async {
        let (bindings, caller) = admitted(&this, "apply_patches", &token).await?;
        let patch = read(&request)?;
        let owner_id = caller.owner_id()?;
        let (db, operation) = (&bindings.db, "apply_patches");
        let keyed = Keyed { db, owner_id, key, operation, request, status: 200 };
        let answered = keyed.once(async |seed| {
            let id = PatchBatchId::new(seed.at_ms, seed.bits());
            text(&apply::apply_patches(&bindings, owner_id, id, patch).await?)
        });
        RawValue::from_string(answered.await?.text)
            .map_err(|error| Failure::internal("an answer over RPC", error))
    };
    answered("apply_patches", answer.await)
}

#[wasm_bindgen(
    this,
    js_name = checkPatches,
    js_sys = worker::js_sys,
    wasm_bindgen_futures = worker::wasm_bindgen_futures
)]
pub async fn check_patches(this: RpcEntrypoint, token: String, request: String) -> String {
    let answer = async {
        let (bindings, caller) = admitted(&this, "check_patches", &token).await?;
        let (owner_id, within) = reader(&bindings, &caller).await?;
        let patch = read(&request)?;
        check::check_patches(&bindings, owner_id, within, patch).await
    };
    answered("check_patches", answer.await)
}

/// As large as a body over HTTP may be.
fn read(request: &str) -> Outcome<WantedPatch> {
    if request.len() as u64 > PATCH_BODY_BYTES_MAX {
        return Err(Failure::too_large("The request", PATCH_BODY_BYTES_MAX, "bytes"));
    }
    wanted(read_json::<PatchRequest>(request.as_bytes())?)
}

/// Whoever the token says, if they may do what the route of this operation lets them.
async fn admitted(this: &RpcEntrypoint, operation: &str, token: &str) -> Outcome<(Bindings, Caller)> {
    let bindings = Bindings::open(this.env())?;
    let caller = caller::identify(&bindings, Some(&format!("Bearer {token}"))).await?;
    let access = ROUTES.iter().find(|route| route.operation == operation).map(|route| route.access);
    let access: Access = access.ok_or_else(|| Failure::internal("an RPC method", "it has no route"))?;
    caller::admit(&caller, access)?;
    Ok((bindings, caller))
}

fn answered<T: Serialize>(operation: &str, outcome: Outcome<T>) -> String {
    let answer = match outcome {
        Ok(answer) => RpcAnswer::Answer(answer),
        Err(failure) => {
            failure.log(operation);
            RpcAnswer::Problem(failure.into_problem())
        }
    };
    // What the contracts hold is always JSON; of anything else there would be nothing to say.
    serde_json::to_string(&answer).unwrap_or_default()
}
