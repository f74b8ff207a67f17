//! openapi.json, made from the list of routes and the contract types; nobody writes it by hand.

mod schemas;

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, bail};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};
use shared_contracts::accounts::Scope;
use shared_contracts::routes::{Access, Body, ROUTES, Route};

use crate::layout;
use crate::terminal;

const NDJSON: &str = "application/x-ndjson";
const PROBLEM: &str = "#/components/responses/Problem";

/// Writes the file, or only says whether it is fresh.
pub fn run(is_check: bool) -> Result<()> {
    let file = layout::repository().join("openapi.json");
    let wanted = document()?;
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found == wanted {
        terminal::found("openapi.json", &format!("fresh, {} routes", ROUTES.len()), None);
        return Ok(());
    }
    if is_check {
        bail!("{} is stale; run `cargo xtask openapi` and commit it", file.display());
    }
    fs::write(&file, wanted).with_context(|| format!("cannot write {}", file.display()))?;
    terminal::found("openapi.json", &format!("written, {} routes", ROUTES.len()), None);
    Ok(())
}

/// The document as text.
pub fn document() -> Result<String> {
    let mut generator = schemas::generator();
    let mut paths: Map<String, Value> = Map::new();
    let mut operations = HashSet::new();
    for route in ROUTES {
        // A catch-all parameter is one parameter to OpenAPI.
        let path = route.path.replace("{*", "{");
        let operation = operation(route, &mut operations, &mut generator)?;
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(route.method.to_lowercase(), operation);
        }
    }
    let problem = schemas::reference(&mut generator, "Problem")?;
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Patchbay",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "An edit plane for coding agents: projects, tasks, executions in sandboxes, live events, patch batches.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas::definitions(&mut generator),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token (`pby_…`), or the token of one execution where an operation says so.",
                },
            },
            "responses": {
                "Problem": {
                    "description": "RFC 9457 problem details; `kind` is stable, the status follows from it",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        },
    });
    let mut text = serde_json::to_string_pretty(&document).context("cannot write openapi.json as JSON")?;
    text.push('\n');
    Ok(text)
}

fn operation(
    route: &Route,
    operations: &mut HashSet<String>,
    generator: &mut SchemaGenerator,
) -> Result<Value> {
    let mut success = json!({ "description": route.summary });
    if let Some(content) = content(route.response, generator)? {
        set(&mut success, "content", content);
    }
    let mut operation = json!({
        "operationId": operation_id(route, operations),
        "summary": route.summary,
        "tags": [tag(route.path)],
        "responses": { route.status.to_string(): success, "default": { "$ref": PROBLEM } },
    });
    let mut parameters = path_parameters(route.path);
    if let Some(query) = route.query {
        parameters.extend(schemas::query_parameters(generator, query)?);
    }
    if takes_idempotency_key(route) {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "Made by the caller: the same key and request give the same answer for 24 hours",
            "schema": { "type": "string", "maxLength": shared_contracts::limits::IDEMPOTENCY_KEY_CHARS_MAX },
        }));
    }
    if !parameters.is_empty() {
        set(&mut operation, "parameters", Value::Array(parameters));
    }
    if let Some(content) = content(route.request, generator)? {
        set(&mut operation, "requestBody", json!({ "required": true, "content": content }));
    }
    if let Some(who) = who(route.access)? {
        set(&mut operation, "description", Value::String(format!("Wants {who}.")));
        set(&mut operation, "security", json!([{ "token": [] }]));
    }
    Ok(operation)
}

/// Adds a field to an object.
fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// The operation's name; where two paths lead to one operation, the nested one says so.
fn operation_id(route: &Route, taken: &mut HashSet<String>) -> String {
    let mut id = route.operation.to_owned();
    let is_shared = ROUTES.iter().filter(|other| other.operation == route.operation).count() > 1;
    if is_shared && route.path.contains("/tasks/{task_id}/") {
        id.push_str("_of_task");
    }
    while !taken.insert(id.clone()) {
        id.push('_');
    }
    id
}

fn takes_idempotency_key(route: &Route) -> bool {
    let is_callers = matches!(route.access, Access::Token(Scope::Write | Scope::Tokens));
    is_callers && route.method == "POST" && (route.status == 201 || route.operation == "apply_patches")
}

fn tag(path: &str) -> &str {
    let parts = [
        "access-tokens",
        "container-agents",
        "containers",
        "sandboxes",
        "artifacts",
        "patches",
        "executions",
        "workspace",
        "secrets",
        "tasks",
    ];
    parts
        .into_iter()
        .find(|part| path.contains(&format!("/{part}")))
        .unwrap_or(if path.starts_with("/api/") { "projects" } else { "health" })
}

fn who(access: Access) -> Result<Option<String>> {
    Ok(Some(match access {
        Access::Public => return Ok(None),
        Access::Token(scope) => {
            let scope = serde_json::to_value(scope).context("a scope has no name")?;
            format!("an access token with scope {scope}")
        }
        Access::Execution => "the token of exactly this execution, under its present generation".to_owned(),
        Access::ReadOrExecution => {
            "an access token with scope \"read\", or the token of an execution of this project".to_owned()
        }
    }))
}

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({ "name": name, "in": "path", "required": true, "schema": schemas::path_parameter(name) })
        })
        .collect()
}

fn content(body: Body, generator: &mut SchemaGenerator) -> Result<Option<Value>> {
    let (media_type, schema) = match body {
        Body::None | Body::WebSocket => return Ok(None),
        Body::Json(name) => ("application/json", schemas::reference(generator, name)?),
        Body::JsonLines(name) => (NDJSON, schemas::reference(generator, name)?),
        Body::EventStream(name) => ("text/event-stream", schemas::reference(generator, name)?),
        Body::Bytes(media_type) => (media_type, json!({ "type": "string", "format": "binary" })),
    };
    Ok(Some(json!({ media_type: { "schema": schema } })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_and_every_reference_is_there() {
        let document: Value = serde_json::from_str(&document().unwrap()).unwrap();
        let operations: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|methods| methods.as_object().unwrap().len())
            .sum();
        assert_eq!(operations, ROUTES.len());
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn operation_ids_are_names() {
        let document: Value = serde_json::from_str(&document().unwrap()).unwrap();
        let text = document["paths"].to_string();
        assert!(!text.contains("_\",\"parameters"), "an operation id had to be made up");
        assert!(text.contains("\"get_execution_of_task\"") && text.contains("\"get_execution\""));
    }

    fn collect_references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.push(reference.clone());
                }
                object.values().for_each(|value| collect_references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| collect_references(value, found)),
            _ => {}
        }
    }
}
