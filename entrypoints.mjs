// The Worker as the platform loads it: HTTP and crons by default, and named entrypoints for other Workers, each of
// which lists all that may be called on it. What a method does is in src/entry/rpc.rs.

import { WorkerEntrypoint } from "cloudflare:workers";
import Patchbay from "./build/index.js";

export * from "./build/index.js";
export { default } from "./build/index.js";

// What was answered: `{ answer }` or `{ problem }`.
const call = async (entrypoint, method, ...given) =>
  JSON.parse(await new Patchbay(entrypoint.ctx, entrypoint.env)[method](...given));

export class PatchOps extends WorkerEntrypoint {
  applyPatches({ token, idempotency_key, ...request }) {
    return call(this, "applyPatches", `${token}`, JSON.stringify(request), idempotency_key?.toString());
  }

  checkPatches({ token, ...request }) {
    return call(this, "checkPatches", `${token}`, JSON.stringify(request));
  }
}
