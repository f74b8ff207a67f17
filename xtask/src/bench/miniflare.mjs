// The built Worker in workerd, without wrangler's proxy in front: what the bench measures.
//
// One argument, a JSON object: `repository`, `build` (the Worker's folder), `state` (where wrangler put D1),
// `port`, `variables`, `counts` (count written rows, see rows.mjs), `inspector_port` (for a profiler, or null).
// Prints one line of JSON, the process id of workerd, when it is ready; ends when standard input closes.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const options = JSON.parse(process.argv[2]);
const require = createRequire(join(options.repository, "package.json"));
const { Miniflare, convertV4MiniflareOptions } = require("miniflare");

const wasm = { type: "CompiledWasm", path: "index_bg.wasm", contents: readFileSync(join(options.build, "index_bg.wasm")) };
const worker = { type: "ESModule", path: "index.js", contents: readFileSync(join(options.build, "index.js"), "utf8") };
const counting = { type: "ESModule", path: "rows.mjs", contents: readFileSync(join(import.meta.dirname, "rows.mjs"), "utf8") };
// The first module is the entry.
const modules = options.counts ? [counting, worker, wasm] : [worker, wasm];

const object = (className) => ({ className, useSQLite: true });
const v4 = {
  name: "patchbay",
  modules,
  compatibilityDate: options.compatibility_date,
  compatibilityFlags: options.compatibility_flags,
  bindings: options.variables,
  d1Databases: { DB: options.database_id },
  r2Buckets: { BLOBS: "patchbay-blobs", ARTIFACTS: "patchbay-artifacts" },
  durableObjects: {
    DISPATCHER: object("Dispatcher"),
    EXECUTION_HUB: object("ExecutionHub"),
    WORKSPACE: object("Workspace"),
  },
  // A socket of the Worker's own: miniflare's entry, which routes and rewrites, is not in the way.
  unsafeDirectSockets: [{ host: "127.0.0.1", port: options.port }],
  host: "127.0.0.1",
  port: 0,
  cf: false,
  resourcePersistencePath: join(options.state, "v3"),
  telemetry: { enabled: false },
  ...(options.inspector_port ? { inspectorPort: options.inspector_port } : {}),
};

const miniflare = new Miniflare(convertV4MiniflareOptions(v4));
await miniflare.ready;

const children = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((pid) => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[1]) === process.pid && stat.includes("(workerd)");
  } catch {
    return false; // It ended while we looked.
  }
});
process.stdout.write(`${JSON.stringify({ workerd_pid: Number(children[0] ?? 0) })}\n`);

const stop = async () => {
  await miniflare.dispose();
  process.exit(0);
};
process.on("SIGTERM", stop);
process.stdin.on("end", stop).resume();
