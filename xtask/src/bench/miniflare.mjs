// The built Worker in workerd, without wrangler's proxy in front: what the bench measures.
//
// Arguments: the repository, the state folder (where wrangler put D1), the file of variables, the port, then one
// JSON object: `build` (the Worker's folder), `counts` (count written rows, see rows.mjs), `applier_port` (where
// applier.mjs serves, or null), `inspector_port` (for a profiler, or null).

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [repository, state, variablesFile, port, given] = process.argv.slice(2);
const options = JSON.parse(given);
const require = createRequire(join(repository, "package.json"));
const { Miniflare, convertV4MiniflareOptions } = require("miniflare");
const { unstable_readConfig } = require("wrangler");

const config = unstable_readConfig({ config: join(repository, "wrangler.toml") }, { hideWarnings: true });
const variables = Object.fromEntries(
  readFileSync(variablesFile, "utf8").split("\n").filter(Boolean).map((line) => {
    const [name, value] = [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)];
    return [name, value.replace(/^"(.*)"$/, "$1")];
  }),
);
const sqlite = new Set(config.migrations.flatMap((migration) => migration.new_sqlite_classes ?? []));

const module = (name) => ({ type: "ESModule", path: name, contents: readFileSync(join(import.meta.dirname, name), "utf8") });
const wasm = { type: "CompiledWasm", path: "index_bg.wasm", contents: readFileSync(join(options.build, "index_bg.wasm")) };
const worker = { type: "ESModule", path: "index.js", contents: readFileSync(join(options.build, "index.js"), "utf8") };
// The first module is the entry.
const modules = options.counts ? [module("rows.mjs"), worker, wasm] : [worker, wasm];

// A socket of the Worker's own: miniflare's entry, which routes and rewrites, is not in the way.
const listening = (port) => [{ host: "127.0.0.1", port: Number(port) }];

const patchbay = {
  name: config.name,
  modules,
  compatibilityDate: config.compatibility_date,
  compatibilityFlags: config.compatibility_flags,
  bindings: variables,
  d1Databases: Object.fromEntries(config.d1_databases.map((database) => [database.binding, database.database_id])),
  r2Buckets: Object.fromEntries(config.r2_buckets.map((bucket) => [bucket.binding, bucket.bucket_name])),
  durableObjects: Object.fromEntries(
    config.durable_objects.bindings.map(({ name, class_name: className }) => [
      name,
      { className, useSQLite: sqlite.has(className) },
    ]),
  ),
  unsafeDirectSockets: listening(port),
};

const applier = {
  name: "applier",
  modules: [module("applier.mjs")],
  compatibilityDate: config.compatibility_date,
  unsafeDirectSockets: listening(options.applier_port),
};

const v4 = {
  workers: options.applier_port ? [patchbay, applier] : [patchbay],
  host: "127.0.0.1",
  port: 0,
  cf: false,
  resourcePersistencePath: join(state, "v3"),
  telemetry: { enabled: false },
  ...(options.inspector_port ? { inspectorPort: options.inspector_port } : {}),
};

const miniflare = new Miniflare(convertV4MiniflareOptions(v4));
await miniflare.ready;

const stop = async () => {
  await miniflare.dispose();
  process.exit(0);
};
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
