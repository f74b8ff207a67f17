// The Worker with a counter behind its databases: the sum of what every statement itself says it wrote (SQLite's
// count, where each index is one more), as Cloudflare bills it. Only for the row that counts: the others run the
// Worker as it is. `GET /bench/rows` answers the sums so far.

import worker, * as built from "./index.js";

// All objects and the Worker share one isolate here, so one module sees all.
const objects = { rows: 0, kept: [], statements: {} };
const d1 = { rows: 0 };

/** A cursor counts while it is read, so it is asked at the end. */
function settled() {
  for (const [cursor, text] of objects.kept.splice(0)) {
    const rows = cursor.rowsWritten;
    objects.rows += rows;
    if (rows > 0) objects.statements[text] = (objects.statements[text] ?? 0) + rows;
  }
  return { objects: objects.rows, d1: d1.rows, statements: objects.statements };
}

/** `INSERT INTO chunks` */
const short = (statement) => statement.trim().split(/\s+/).slice(0, 3).join(" ");

function countObjects(state) {
  const prototype = Object.getPrototypeOf(state.storage.sql);
  if (Object.hasOwn(prototype, "uncounted")) return;
  prototype.uncounted = prototype.exec;
  prototype.exec = function exec(...args) {
    const cursor = this.uncounted(...args);
    objects.kept.push([cursor, short(args[0])]);
    return cursor;
  };
}

/** D1's answers carry their `meta`; that of `first` does not, so it is asked through `all`. */
function countD1(env) {
  const database = Object.getPrototypeOf(env.DB);
  if (Object.hasOwn(database, "uncounted")) return;
  const statement = Object.getPrototypeOf(env.DB.prepare("SELECT 1"));
  const take = (answer) => {
    d1.rows += answer.meta?.rows_written ?? 0;
    return answer;
  };
  database.uncounted = database.batch;
  database.batch = async function batch(statements) {
    return (await this.uncounted(statements)).map(take);
  };
  for (const method of ["run", "all"]) {
    const uncounted = statement[method];
    statement[method] = async function counted() {
      return take(await uncounted.call(this));
    };
  }
  statement.first = async function first(column) {
    const row = (await this.all()).results[0] ?? null;
    return column == null || row === null ? row : row[column];
  };
}

const counting = (Built) =>
  class extends Built {
    constructor(state, env) {
      countObjects(state);
      countD1(env);
      super(state, env);
    }
  };

export const Dispatcher = counting(built.Dispatcher);
export const ExecutionHub = counting(built.ExecutionHub);
export const Workspace = counting(built.Workspace);

export default class extends worker {
  async fetch(request) {
    if (new URL(request.url).pathname === "/bench/rows") return Response.json(settled());
    countD1(this.env);
    return await super.fetch(request);
  }
}
