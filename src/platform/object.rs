//! Calls to Durable Objects: one command enum for each object, shared by both sides; a failure inside the object
//! comes out as the same problem.
//!
//! The command travels as the body. Where the body is the caller's own stream, or the call upgrades to a
//! WebSocket, it travels in a header instead.

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_contracts::problem::Problem;
use worker::web_sys::ReadableStream;
use worker::{Headers, Method, Request, RequestInit, Response, Stub};

use super::failure::{Failure, Outcome};

const URL: &str = "https://object/";
const COMMAND_HEADER: &str = "x-patchbay-command";

fn encoded(command: &impl Serialize) -> Outcome<String> {
    serde_json::to_string(command).map_err(|error| Failure::internal("writing a command", error))
}

async fn send(stub: &Stub, init: &RequestInit) -> Outcome<Response> {
    let request = Request::new_with_init(URL, init)?;
    stub.fetch_with_request(request).await.map_err(|error| {
        let text = error.to_string();
        if text.contains("overloaded") {
            let detail = "This object has too many requests; try again in a moment";
            return Failure::problem(shared_contracts::problem::ProblemKind::Overloaded, detail);
        }
        Failure::internal("calling an object", text)
    })
}

/// The object's answer as it is, for callers that only pass it on.
pub async fn response(stub: &Stub, command: &impl Serialize) -> Outcome<Response> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(encoded(command)?.into()));
    send(stub, &init).await
}

/// The object's answer, read.
pub async fn call<T: DeserializeOwned>(stub: &Stub, command: &impl Serialize) -> Outcome<T> {
    let mut response = response(stub, command).await?;
    let text = response.text().await?;
    if response.status_code() < 400 {
        return serde_json::from_str(&text)
            .map_err(|error| Failure::internal("reading an object's answer", error));
    }
    match serde_json::from_str::<Problem>(&text) {
        Ok(problem) => Err(problem.into()),
        Err(_) => Err(Failure::internal("an object's answer", text)),
    }
}

/// The command with a stream of the caller's as its body.
pub async fn with_stream(
    stub: &Stub,
    command: &impl Serialize,
    body: Option<ReadableStream>,
) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set(COMMAND_HEADER, &encoded(command)?)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_headers(headers).with_body(body.map(Into::into));
    send(stub, &init).await
}

/// The command as a WebSocket upgrade.
pub async fn upgrade(stub: &Stub, command: &impl Serialize) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set(COMMAND_HEADER, &encoded(command)?)?;
    headers.set("upgrade", "websocket")?;
    let mut init = RequestInit::new();
    init.with_method(Method::Get).with_headers(headers);
    send(stub, &init).await
}

/// On the object's side: which command this request is.
pub async fn command<T: DeserializeOwned>(request: &mut Request) -> Outcome<T> {
    let text = match request.headers().get(COMMAND_HEADER)? {
        Some(text) => text,
        None => request.text().await?,
    };
    serde_json::from_str(&text).map_err(|error| Failure::internal("reading a command", error))
}

/// On the object's side: an answer as JSON.
pub fn answer(value: &impl Serialize) -> Outcome<Response> {
    Ok(Response::from_json(value)?)
}

/// On the object's side: success, or the problem with its status.
pub fn respond(operation: &str, outcome: Outcome<Response>) -> worker::Result<Response> {
    outcome.or_else(|failure| {
        failure.log(operation);
        problem_response(&failure.into_problem())
    })
}

/// RFC 9457.
pub fn problem_response(problem: &Problem) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/problem+json")?;
    headers.set("cache-control", "no-store")?;
    match problem.status {
        401 => headers.set("www-authenticate", "Bearer")?,
        429 | 503 => headers.set("retry-after", "2")?,
        _ => {}
    }
    let body = serde_json::to_vec(problem)?;
    Ok(Response::builder().with_status(problem.status).with_headers(headers).fixed(body))
}
