-- Who may call, what is configured, and which requests were already answered.

CREATE TABLE owners (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  name TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE access_tokens (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  owner_id TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  -- The token itself is stored nowhere.
  token_sha256 TEXT NOT NULL UNIQUE CHECK (length(token_sha256) = 64),
  scopes TEXT NOT NULL CHECK (json_valid(scopes)),
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER,
  last_used_at_ms INTEGER,
  revoked_at_ms INTEGER
) STRICT;
CREATE INDEX access_tokens_by_owner ON access_tokens (owner_id, id);

CREATE TABLE settings (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  category TEXT NOT NULL,
  description TEXT NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('string', 'integer', 'number')),
  is_secret INTEGER NOT NULL DEFAULT 0 CHECK (is_secret IN (0, 1)),
  is_user_editable INTEGER NOT NULL DEFAULT 1 CHECK (is_user_editable IN (0, 1))
) STRICT;
INSERT INTO settings (key, value, category, description, type) VALUES
  ('sandbox.default_provider', 'local', 'sandbox', 'Where executions run unless they say otherwise', 'string'),
  ('sandbox.default_image', 'ubuntu:22.04', 'sandbox', 'Image of a sandbox that needs one', 'string'),
  ('sandbox.max_concurrent', '5', 'sandbox', 'Executions of one owner that run at once; more wait', 'integer'),
  ('sandbox.default_memory_mb', '2048', 'sandbox', 'Memory of an execution', 'integer'),
  ('sandbox.default_cpu_cores', '2.0', 'sandbox', 'Processor cores of an execution', 'number'),
  ('sandbox.default_timeout_seconds', '3600', 'sandbox', 'Wall time of an execution', 'integer'),
  ('sandbox.log_retention_days', '30', 'sandbox', 'How long events are kept', 'integer'),
  ('sandbox.artifact_retention_days', '30', 'sandbox', 'How long artifacts are kept', 'integer'),
  ('sandbox.cleanup_interval_minutes', '5', 'sandbox', 'How often leftovers are looked for', 'integer');

CREATE TABLE idempotency_keys (
  owner_id TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  operation TEXT NOT NULL,
  request_sha256 TEXT NOT NULL,
  -- Ids that the request makes derive from this, so that a second try makes the same ones.
  seed TEXT NOT NULL,
  claimed_at_ms INTEGER NOT NULL,
  -- NULL until the request was answered.
  status INTEGER,
  response TEXT,
  PRIMARY KEY (owner_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (claimed_at_ms);
