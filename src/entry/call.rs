//! One call: its route's parameters, query and body, read into validated types. What breaks a rule never reaches
//! an operation; the answer names every field.

use std::collections::HashMap;
use std::rc::Rc;
use std::str::FromStr;

use futures::StreamExt;
use garde::Validate;
use serde::de::DeserializeOwned;
use shared_contracts::limits::JSON_BODY_BYTES_MAX;
use shared_contracts::problem::{Fault, ProblemKind};
use shared_contracts::routes::Route;
use worker::web_sys::ReadableStream;
use worker::{ByteStream, Headers, Request, Response};

use super::caller::Caller;
use crate::bindings::Bindings;
use crate::platform::body::drain;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::json_path::path_at;

const JSON_TYPES: [&str; 3] = ["application/json", "application/x-www-form-urlencoded", "text/plain"];

pub struct Call {
    pub route: &'static Route,
    pub bindings: Bindings,
    pub caller: Caller,
    pub parameters: HashMap<String, String>,
    pub query: String,
    pub request: Rc<Request>,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).ok().flatten()
    }

    /// A parameter of the path. An id that is none is nobody's, so it is absent rather than malformed.
    pub fn parameter<T: FromStr>(&self, name: &str) -> Outcome<T> {
        let text = self.parameters.get(name).map(String::as_str).unwrap_or_default();
        text.parse().map_err(|_| Failure::not_found(name.trim_end_matches("_id"), text))
    }

    pub fn query<T: DeserializeOwned + Validate<Context = ()>>(&self) -> Outcome<T> {
        let query = serde_urlencoded::from_str(&self.query)
            .map_err(|error| Failure::invalid("query", error.to_string()))?;
        validated(query)
    }

    /// The body as a stream, unread.
    pub fn stream(&self) -> Option<ReadableStream> {
        self.request.inner().body()
    }

    pub async fn json<T: DeserializeOwned + Validate<Context = ()>>(&self) -> Outcome<T> {
        self.json_of(JSON_BODY_BYTES_MAX).await.map(|(value, _)| value)
    }

    /// The value, and the bytes it came as.
    pub async fn json_of<T: DeserializeOwned + Validate<Context = ()>>(
        &self,
        most: u64,
    ) -> Outcome<(T, Vec<u8>)> {
        // `curl -d` says it sends a form; what it sends is read as what it is. Other types are a mistake.
        if let Some(kind) = self.header("content-type").map(|kind| kind.to_ascii_lowercase())
            && !JSON_TYPES.iter().any(|json| kind.starts_with(json))
        {
            let detail = format!("The body is `{kind}`; send it as application/json");
            return Err(Failure::problem(ProblemKind::UnsupportedMediaType, detail));
        }
        let bytes = self.bytes(most).await?;
        Ok((read_json(&bytes)?, bytes))
    }

    /// The whole body.
    async fn bytes(&self, most: u64) -> Outcome<Vec<u8>> {
        let announced = self.header("content-length").and_then(|length| length.parse::<u64>().ok());
        let mut is_too_large = announced.is_some_and(|length| length > most);
        let mut bytes = Vec::new();
        let Some(stream) = self.stream() else { return Ok(bytes) };
        let mut pieces = ByteStream::from(stream);
        while !is_too_large && let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
            is_too_large = bytes.len() as u64 > most;
        }
        if is_too_large {
            drop(bytes);
            drain(&mut pieces).await;
            return Err(Failure::too_large("The body", most, "bytes"));
        }
        Ok(bytes)
    }
}

/// A body's value; its faults are named by their fields.
pub fn read_json<T: DeserializeOwned + Validate<Context = ()>>(bytes: &[u8]) -> Outcome<T> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Failure::malformed(format!("The body is not UTF-8: {error}")))?;
    let value = serde_json::from_str(text).map_err(|error| {
        if !error.is_data() {
            return Failure::malformed(format!("The body is not JSON: {error}"));
        }
        let path = path_at(bytes, error.line(), error.column());
        Failure::invalid(if path == "." { "body" } else { &path }, error.to_string())
    })?;
    validated(value)
}

fn validated<T: Validate<Context = ()>>(value: T) -> Outcome<T> {
    let Err(report) = value.validate() else { return Ok(value) };
    let faults =
        report.iter().map(|(path, error)| Fault { field: path.to_string(), message: error.to_string() });
    Err(Failure::faults("Some fields break a rule; mend them and send again", faults.collect()))
}

/// JSON that is text already.
pub fn json_text(status: u16, text: String) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    headers.set("cache-control", "no-store")?;
    headers.set("x-content-type-options", "nosniff")?;
    Ok(Response::builder().with_status(status).with_headers(headers).fixed(text.into_bytes()))
}

pub fn json(status: u16, value: &impl serde::Serialize) -> Outcome<Response> {
    let text = serde_json::to_string(value).map_err(|error| Failure::internal("writing an answer", error))?;
    json_text(status, text)
}

pub fn nothing() -> Outcome<Response> {
    Ok(Response::builder().with_status(204).empty())
}
