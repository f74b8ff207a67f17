//! Contract types as JSON Schema, by the names that the list of routes uses.

use anyhow::{Context, Result, bail};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use shared_contracts::page::{Page, PageQuery};
use shared_contracts::{
    accounts, artifacts, container_agents, containers, events, executions, ids, patches, problem, projects,
    sandboxes, secrets, tasks, workspaces,
};

const PLACE: &str = "/components/schemas";

pub fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = PLACE.into()).into_generator()
}

/// Everything that was referred to.
pub fn definitions(generator: &mut SchemaGenerator) -> Map<String, Value> {
    generator.take_definitions(true)
}

/// One line for each name in the list of routes; `=> Page` are pages of a type.
macro_rules! types {
    ($generator:ident, $name:ident; $($known:literal $kind:ty,)+; pages $($page:literal $item:ty,)+) => {
        match $name {
            $($known => $generator.subschema_for::<$kind>(),)+
            $($page => page::<$item>($generator, $page),)+
            _ => bail!("openapi/schemas.rs knows no type `{}`; add its line there", $name),
        }
    };
}

/// A `$ref` to the type of this name.
pub fn reference(generator: &mut SchemaGenerator, name: &str) -> Result<Value> {
    let schema = types! { generator, name;
        "Artifact" artifacts::Artifact,
        "Container" containers::Container,
        "ContainerAgent" container_agents::ContainerAgent,
        "ContainerList" containers::ContainerList,
        "ContainerQuery" containers::ContainerQuery,
        "ContainerStats" containers::ContainerStats,
        "CreateAccessToken" accounts::CreateAccessToken,
        "CreatedAccessToken" accounts::CreatedAccessToken,
        "CreateExecution" executions::CreateExecution,
        "CreateProject" projects::CreateProject,
        "CreateTask" tasks::CreateTask,
        "Event" events::Event,
        "EventPage" events::EventPage,
        "EventQuery" events::EventQuery,
        "Execution" executions::Execution,
        "FetchBlobs" workspaces::FetchBlobs,
        "ImportReceipt" workspaces::ImportReceipt,
        "KeptReceipt" patches::KeptReceipt,
        "ManifestEntry" workspaces::ManifestEntry,
        "PageQuery" PageQuery,
        "Patch" patches::Patch,
        "PatchCheck" patches::PatchCheck,
        "PatchConflicts" Vec<patches::PatchConflict>,
        "PatchRequest" patches::PatchRequest,
        "PatchSummary" patches::PatchSummary,
        "Problem" problem::Problem,
        "Project" projects::Project,
        "ProposedPatch" patches::ProposedPatch,
        "ProposePatch" patches::ProposePatch,
        "RejectPatch" patches::RejectPatch,
        "Revision" workspaces::Revision,
        "RevisionQuery" workspaces::RevisionQuery,
        "SandboxKinds" sandboxes::SandboxKinds,
        "SearchQuery" events::SearchQuery,
        "Secret" secrets::Secret,
        "SetSecret" secrets::SetSecret,
        "StartedImport" workspaces::StartedImport,
        "StoredBlobs" workspaces::StoredBlobs,
        "Task" tasks::Task,
        "TreeQuery" workspaces::TreeQuery,
        "UpdateProject" projects::UpdateProject,
        "UpdateTask" tasks::UpdateTask,
        "UploadArtifact" artifacts::UploadArtifact,
        ; pages
        "AccessTokenPage" accounts::AccessToken,
        "ArtifactPage" artifacts::Artifact,
        "ContainerAgentPage" container_agents::ContainerAgent,
        "ContainerCleanupPage" containers::ContainerCleanup,
        "ExecutionPage" executions::Execution,
        "PatchSummaryPage" patches::PatchSummary,
        "ProjectPage" projects::Project,
        "SecretPage" secrets::Secret,
        "TaskPage" tasks::Task,
        "TreeItemPage" workspaces::TreeItem,
    };
    Ok(schema.to_value())
}

/// A page under the name that the routes give it.
fn page<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str) -> Schema {
    let schema = Page::<T>::json_schema(generator);
    generator.definitions_mut().insert(name.to_owned(), schema.to_value());
    schemars::json_schema!({ "$ref": format!("#{PLACE}/{name}") })
}

/// A query type's fields as parameters.
pub fn query_parameters(generator: &mut SchemaGenerator, name: &str) -> Result<Vec<Value>> {
    let before: Vec<String> = generator.definitions().keys().cloned().collect();
    reference(generator, name)?;
    let definitions = generator.definitions_mut();
    let schema =
        definitions.get(name).with_context(|| format!("`{name}` is not a type with a name"))?.clone();
    // It is spread over parameters, so it is no schema of its own.
    if !before.iter().any(|known| known == name) {
        definitions.remove(name);
    }
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let fields = schema.get("properties").and_then(Value::as_object);
    let fields = fields.with_context(|| format!("`{name}` has no fields to be a query"))?;
    let parameters = fields.iter().map(|(field, schema)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter = json!({
            "name": field,
            "in": "query",
            "required": required.iter().any(|name| name == field),
            "schema": schema,
        });
        if let Some(description) = description {
            super::set(&mut parameter, "description", description);
        }
        parameter
    });
    Ok(parameters.collect())
}

/// What stands in a path between braces.
pub fn path_parameter(name: &str) -> Value {
    let mut own = generator();
    let schema = match name {
        "artifact_id" => ids::ArtifactId::json_schema(&mut own),
        "container_id" => containers::ContainerId::json_schema(&mut own),
        "container_agent_id" => ids::ContainerAgentId::json_schema(&mut own),
        "execution_id" => ids::ExecutionId::json_schema(&mut own),
        "import_id" => ids::ImportId::json_schema(&mut own),
        "patch_batch_id" => ids::PatchBatchId::json_schema(&mut own),
        "project_id" => ids::ProjectId::json_schema(&mut own),
        "sha256" => shared_contracts::hash::Sha256::json_schema(&mut own),
        "task_id" => ids::TaskId::json_schema(&mut own),
        "token_id" => ids::TokenId::json_schema(&mut own),
        _ => schemars::json_schema!({ "type": "string" }),
    };
    schema.to_value()
}
