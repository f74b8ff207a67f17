//! Every limit of the system, with its unit in the name and its reason beside it. Settings may lower them.

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

// Requests. The platform itself refuses bodies over 100 MB; these are lower so that one request can never fill
// the 128 MB that all requests of an isolate share.
pub const JSON_BODY_BYTES_MAX: u64 = MIB;
pub const PATCH_BODY_BYTES_MAX: u64 = 8 * MIB;
pub const PATCH_OPERATIONS_MAX: usize = 500;
/// The files that one batch touches are in memory together, before and after.
pub const PATCH_TOUCHED_BYTES_MAX: u64 = 16 * MIB;
/// Each hunk has a line in it; a row of D1 or of a Durable Object holds 2 MB.
pub const RECEIPT_BYTES_MAX: u64 = MIB + MIB / 2;
/// A content that edits were made against is kept in memory to place them; larger ones are done without.
pub const PATCH_BASE_BYTES_MAX: u64 = 512 * 1024;
/// What a check shows to people; a longer diff is left out.
pub const PATCH_DIFF_BYTES_MAX: usize = MIB as usize;
/// Places by which a proposed batch is compared with others; beyond them whole files are.
pub const PATCH_TOUCHES_MAX: usize = 500;
/// Conflicts that an answer lists.
pub const PATCH_CONFLICTS_MAX: u32 = 100;
/// Each pattern is compared with each path of a batch.
pub const DENIED_PATHS_MAX: usize = 100;
/// A manifest of 50,000 files is about 8 MiB.
pub const MANIFEST_BODY_BYTES_MAX: u64 = 24 * MIB;
/// A pack of several blobs in a partial import; small enough to be retried cheaply. A larger blob goes alone.
pub const BLOB_PACK_BYTES_MAX: u64 = 32 * MIB;
/// Hashes in one request for blobs; 2,000 × 67 bytes stays far below the JSON limit.
pub const BLOB_FETCH_HASHES_MAX: usize = 2_000;

// Text.
pub const NAME_CHARS_MAX: usize = 200;
pub const DESCRIPTION_BYTES_MAX: usize = 256 * 1024;
pub const SEARCH_TEXT_BYTES_MAX: usize = 200;
pub const PAGE_ITEMS_MAX: u32 = 100;
pub const PAGE_ITEMS_DEFAULT: u32 = 50;
/// Events are small and read in bulk, so their pages are longer than those of records.
pub const EVENT_PAGE_ITEMS_MAX: u32 = 1_000;
/// A page ends early where its events are large: it is in memory whole, twice.
pub const EVENT_PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

// Workspaces.
pub const PATH_BYTES_MAX: usize = 4_096;
pub const PATH_SEGMENT_BYTES_MAX: usize = 255;
pub const WORKSPACE_FILES_MAX: u64 = 200_000;
pub const WORKSPACE_BYTES_MAX: u64 = 4 * 1024 * MIB;
/// A tar of one file must fit into a body, which the platform refuses above 100 MB.
pub const FILE_BYTES_MAX: u64 = 95 * 1000 * 1000;
/// Blobs below this live in the Workspace's SQLite (a row holds at most 2 MB), others in R2.
pub const INLINE_BLOB_BYTES_MAX: u64 = MIB;
/// A symbolic link's target.
pub const LINK_TARGET_BYTES_MAX: u64 = 4_095;

// Executions.
pub const MEMORY_MB_DEFAULT: u32 = 2_048;
pub const MEMORY_MB_MIN: u32 = 16;
pub const MEMORY_MB_MAX: u32 = 1024 * 1024;
pub const CPU_CORES_DEFAULT: f64 = 2.0;
pub const CPU_CORES_MIN: f64 = 0.05;
pub const CPU_CORES_MAX: f64 = 256.0;
pub const WALL_SECONDS_DEFAULT: u32 = 3_600;
pub const WALL_SECONDS_MAX: u32 = 24 * 3_600;
pub const PROCESSES_DEFAULT: u32 = 1_024;
pub const PROCESSES_MAX: u32 = 32_768;
/// What a sandbox may write: its overlay, its home and its /tmp together.
pub const DISK_MB_DEFAULT: u32 = 2_048;
pub const DISK_MB_MAX: u32 = 1024 * 1024;
/// Of one process. Browsers and language servers take thousands; the kernel's own ceiling is 1,048,576.
pub const OPEN_FILES_DEFAULT: u32 = 16_384;
pub const OPEN_FILES_MIN: u32 = 64;
pub const OPEN_FILES_MAX: u32 = 1_048_576;
/// What an execution may print; the log's own limit.
pub const OUTPUT_MB_MAX: u32 = (LOG_BYTES_PER_EXECUTION_MAX / MIB) as u32;
/// Rows or columns of a pseudo-terminal.
pub const TERMINAL_SIDE_MAX: u16 = 1_000;
/// A registry's name, a repository, a tag and a digest.
pub const IMAGE_BYTES_MAX: usize = 500;
// What one execution may ask for, so that nobody asks for all of a shared machine. The settings name other ceilings.
pub const MEMORY_MB_CEILING: u32 = 16_384;
pub const CPU_CORES_CEILING: f64 = 8.0;
pub const WALL_SECONDS_CEILING: u32 = 24 * 3_600;
pub const PROCESSES_CEILING: u32 = 4_096;
pub const DISK_MB_CEILING: u32 = 20_480;
pub const COMMAND_ARGUMENTS_MAX: usize = 256;
/// One argument; Linux itself refuses more than 128 KiB.
pub const COMMAND_ARGUMENT_BYTES_MAX: usize = 128 * 1024;
pub const ENVIRONMENT_VARIABLES_MAX: usize = 200;
pub const ENVIRONMENT_VALUE_BYTES_MAX: usize = 32 * 1024;
pub const CONCURRENT_EXECUTIONS_PER_OWNER_DEFAULT: u32 = 5;
pub const PRIORITY_DEFAULT: u8 = 5;
pub const PRIORITY_MAX: u8 = 9;
/// An execution whose machine vanished runs again this often, then fails.
pub const LOST_RETRIES_MAX: u32 = 2;

// Sandboxes.
pub const IMAGES_OFFERED_MAX: usize = 100;
/// Rows that `doctor` sends along with the hello, and the bytes of one sentence in them.
pub const FINDINGS_MAX: usize = 64;
pub const FINDING_BYTES_MAX: usize = 2_000;
/// A question to machines waits for them no longer; who has not answered by then is named in the answer.
pub const CONTAINER_ANSWER_SECONDS: u64 = 5;
/// Questions to machines that wait for their answers at once.
pub const CONTAINER_QUESTIONS_MAX: usize = 1_000;
/// What a machine says of a question that it refuses.
pub const CONTAINER_REFUSAL_BYTES_MAX: usize = 2_000;
/// Leftovers reported in one message.
pub const CLEANUPS_MAX: usize = 100;
/// Of one container agent; older ones are forgotten.
pub const CLEANUPS_KEPT_MAX: u32 = 500;
/// Container agents that are looked at to see what an owner may use.
pub const USABLE_MACHINES_MAX: u32 = 1_000;
/// Machines that the refusal of an execution names, and the bytes of what each says of itself: a person reads it.
pub const UNFIT_MACHINES_NAMED_MAX: usize = 5;
pub const UNFIT_REASON_BYTES_MAX: usize = 400;
/// A list of hosts that a person reads; one that is longer wants a wildcard.
pub const EGRESS_ENTRIES_MAX: usize = 256;
pub const EGRESS_ENTRY_BYTES_MAX: usize = 300;
pub const SECRETS_PER_PROJECT_MAX: usize = 100;
/// A variable of 128 KiB is the most that Linux hands to a program; what is larger is a file of the workspace.
pub const SECRET_VALUE_BYTES_MAX: usize = 32 * 1024;
/// Of all secrets that one execution gets: what bounds the memory of the automaton that looks for them.
pub const SECRETS_BYTES_PER_EXECUTION_MAX: usize = 64 * 1024;
/// See `secrets::SetSecret`; the redaction's own limit.
pub const SECRET_SYMBOLS_MIN: usize = 6;

// Artifacts.
pub const ARTIFACTS_PER_EXECUTION_MAX: u32 = 50;
pub const ARTIFACT_BYTES_MAX: u64 = 100 * 1000 * 1000;
pub const ARTIFACT_GLOBS_MAX: usize = 50;

// Events.
/// A longer output line is split into pieces of this size, each but the last marked `continues`.
pub const LOG_LINE_BYTES_MAX: usize = 64 * 1024;
/// Of events as they are stored: an empty line takes its share too. After it the log keeps one warning and counts.
pub const LOG_BYTES_PER_EXECUTION_MAX: u64 = 1024 * MIB;
/// One append message, and so one row of the hub: workerd accepts 1 MiB per WebSocket message, a row holds 2 MB.
pub const APPEND_BYTES_MAX: usize = 512 * 1024;
/// How long the container agent waits for more lines before it sends what it has.
pub const APPEND_COALESCE_MS: u64 = 25;
/// Bytes on the way to the hub without its acknowledgement; above it nothing more is sent.
pub const APPEND_WINDOW_BYTES: usize = 2 * 1024 * 1024;
/// Bytes in the disk spool without acknowledgement; above it the coding agent's output is no longer read, so
/// that its writes block: back-pressure that reaches the producer.
pub const SPOOL_WINDOW_BYTES: u64 = 8 * MIB;
/// What a watcher may be behind the head while it does not read, before it gets `sync` and is let go.
pub const WATCHER_LAG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes sent to a WebSocket watcher beyond what it acknowledged.
pub const WATCHER_WINDOW_BYTES: u64 = MIB;
pub const WATCHERS_PER_HUB_MAX: usize = 10_000;
pub const STREAM_HEARTBEAT_SECONDS: u64 = 15;
/// One search looks at this many bytes of log, then answers with where to go on.
pub const SEARCH_SCAN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An open connection's token is looked up again when it was last looked up longer ago than this: a revoked or expired
/// one is noticed soon, and a thousand connections do not ask D1 with every heartbeat.
pub const CONNECTION_TOKEN_CHECK_SECONDS: u64 = 60;

// Leases.
pub const LEASE_SECONDS: u64 = 30;
pub const HEARTBEAT_SECONDS: u64 = 10;
/// An offer that is neither accepted nor declined goes to the next container agent.
pub const OFFER_SECONDS: u64 = 5;
/// Lives a few heartbeats, so that a leaked one is soon worthless; renewed with the heartbeat.
pub const EXECUTION_TOKEN_SECONDS: u64 = 900;
pub const CONTAINER_AGENT_CAPACITY_MAX: u32 = 1_000;
/// Messages between a container agent and the Dispatcher.
pub const DISPATCH_MESSAGE_BYTES_MAX: usize = 512 * 1024;

// Records.
pub const IDEMPOTENCY_KEY_HOURS: u64 = 24;
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 200;
/// A claim without an answer after this long belongs to a request that died; the next try takes it over.
pub const IDEMPOTENCY_CLAIM_SECONDS: u64 = 60;
