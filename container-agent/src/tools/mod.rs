//! What a coding agent may call inside its sandbox. It is this very program, bound in read-only, so that it needs no
//! network and no installation:
//!
//! ```text
//!   patchbay-agent apply    a patch onto the live workspace: all of it or nothing, and what to send instead
//!   apply_patch             the same, by the name that models know
//!   patchbay-agent mcp      the same, as the tools of a Model Context Protocol server
//! ```

pub mod apply;
pub mod mcp;
pub mod settle;

/// Where they are, seen from inside.
pub const FOLDER: &str = "/run/patchbay";
/// Among the directories of the sandbox's `PATH`.
pub const PROGRAMS: &str = "/run/patchbay/bin";
pub const PROGRAM: &str = "patchbay-agent";
pub const APPLY_PATCH: &str = "apply_patch";
/// For coding agents that take a file with servers to start, such as `claude --mcp-config`. Not every one hands its own
/// environment on to them.
pub const MCP_CONFIG: (&str, &str) = (
    "mcp.json",
    r#"{"mcpServers": {"patchbay": {"command": "/run/patchbay/bin/patchbay-agent", "args": ["mcp"], "env": {
  "PATCHBAY_WORKSPACE": "${PATCHBAY_WORKSPACE:-.}", "PATCHBAY_DENIED_PATHS": "${PATCHBAY_DENIED_PATHS:-}"}}}}
"#,
);

/// The workspace that the paths of a patch are below.
pub const WORKSPACE_VARIABLE: &str = "PATCHBAY_WORKSPACE";
/// One pattern a line.
pub const DENIED_VARIABLE: &str = "PATCHBAY_DENIED_PATHS";
