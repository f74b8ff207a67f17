//! `patchbay-agent mcp`: the same as tools that a coding agent's own client lists and calls, over standard input and
//! output. Each call is a run of `patchbay-agent apply`, which may be killed at any instant and must have one thread.

use std::process::{ExitCode, Output, Stdio};
use std::sync::Arc;

use clap::ValueEnum;
use patchctl::patch::Format;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

const APPLY: &str = "apply_patch";
const CHECK: &str = "check_patch";
const APPLY_DESCRIPTION: &str = "\
Changes files of the workspace: the whole patch or nothing of it. The patch is a unified diff, search/replace blocks, \
an `*** Begin Patch` envelope, whole files in fenced blocks, or operations as JSON; paths are relative to the \
workspace. An edit need not name right line numbers: its lines must stand in one place. What is in place already \
counts as success. If anything does not fit, nothing is changed, and each operation is answered with what was found \
(`nearest`, `candidates`) and what to send instead (`hint`); mend those and send the whole patch again.";
const CHECK_DESCRIPTION: &str = "Says what apply_patch would answer; changes nothing.";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    patch: String,
    format: Option<String>,
}

struct Tools;

pub async fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let server = Tools.serve(rmcp::transport::stdio()).await?;
    server.waiting().await?;
    Ok(ExitCode::SUCCESS)
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let tools = ServerCapabilities::builder().enable_tools().build();
        let mut config = ServerConfig::new(tools);
        config.server_info = Implementation::new("patchbay", env!("CARGO_PKG_VERSION"));
        config
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name, description, only_reads| {
            let hints = ToolAnnotations::from_raw(None, Some(only_reads), None, Some(true), Some(false));
            Tool::new(name, description, schema()).with_annotations(hints)
        };
        let tools = vec![tool(APPLY, APPLY_DESCRIPTION, false), tool(CHECK, CHECK_DESCRIPTION, true)];
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let is_check = match &*request.name {
            APPLY => false,
            CHECK => true,
            name => return Err(ErrorData::invalid_params(format!("there is no tool `{name}`"), None)),
        };
        let input = Value::Object(request.arguments.unwrap_or_default());
        let input: Input = serde_json::from_value(input)
            .map_err(|error| ErrorData::invalid_params(error.to_string(), None))?;
        if let Some(format) = &input.format {
            Format::from_str(format, false).map_err(|error| ErrorData::invalid_params(error, None))?;
        }
        let output = apply(&input, is_check)
            .await
            .map_err(|error| ErrorData::internal_error(format!("cannot run `apply`: {error}"), None))?;
        Ok(answer(&output).into())
    }
}

fn formats() -> Vec<String> {
    let named = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    named.map(|value| value.get_name().to_owned()).collect()
}

fn schema() -> Arc<JsonObject> {
    let schema = json!({
        "type": "object",
        "properties": {
            "patch": {"type": "string", "description": "The patch, as it is; text around it is no harm."},
            "format": {
                "type": "string",
                "enum": formats(),
                "description": "What the patch is written in; told from the text unless given."
            }
        },
        "required": ["patch"],
        "additionalProperties": false
    });
    Arc::new(rmcp::model::object(schema))
}

async fn apply(input: &Input, is_check: bool) -> std::io::Result<Output> {
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.args(["apply", "--json"]).args(is_check.then_some("--check"));
    command.args(input.format.as_deref().map(|format| format!("--format={format}")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why.
        let _ = stdin.write_all(input.patch.as_bytes()).await;
    }
    child.wait_with_output().await
}

fn answer(output: &Output) -> CallToolResult {
    match serde_json::from_slice::<Value>(&output.stdout) {
        Ok(receipt) if output.status.success() => CallToolResult::structured(receipt),
        Ok(problem) => CallToolResult::structured_error(problem),
        // The worker was killed, and its guardian finished what it had begun.
        Err(_) if output.status.success() => {
            CallToolResult::success(vec![ContentBlock::text(String::from_utf8_lossy(&output.stdout))])
        }
        Err(_) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let text = format!("`apply` ended without an answer ({}): {said}", output.status);
            CallToolResult::error(vec![ContentBlock::text(text)])
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn answered(code: i32, stdout: &str, stderr: &str) -> (Option<bool>, String) {
        let status = ExitStatus::from_raw(code << 8);
        let answer = answer(&Output { status, stdout: stdout.into(), stderr: stderr.into() });
        (answer.is_error, serde_json::to_string(&answer.content).unwrap())
    }

    #[test]
    fn a_killed_worker_is_told_as_what_became_of_it() {
        let (is_error, said) = answered(0, "finished: its whole patch is in place\n", "");
        assert!(is_error == Some(false) && said.contains("whole patch is in place"), "{said}");
        let (is_error, said) = answered(3, "", "the process that changes the files was killed\n");
        assert!(is_error == Some(true) && said.contains("was killed"), "{said}");
    }
}
