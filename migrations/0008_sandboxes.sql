-- What sandboxes machines have, what a project allows and gives those of its executions, what machines found left over.

-- SQLite changes no CHECK in place, and dropping one of these tables would take along what refers to it: the column is
-- made anew.
ALTER TABLE container_agents ADD COLUMN tier_before TEXT;
UPDATE container_agents SET tier_before = sandbox_tier;
ALTER TABLE container_agents DROP COLUMN sandbox_tier;
ALTER TABLE container_agents ADD COLUMN sandbox_tier TEXT NOT NULL DEFAULT 'none'
  CHECK (sandbox_tier IN ('none', 'engine', 'limited', 'strong'));
UPDATE container_agents SET sandbox_tier = tier_before;
ALTER TABLE container_agents DROP COLUMN tier_before;

ALTER TABLE executions ADD COLUMN tier_before TEXT;
UPDATE executions SET tier_before = sandbox_tier;
ALTER TABLE executions DROP COLUMN sandbox_tier;
ALTER TABLE executions ADD COLUMN sandbox_tier TEXT NOT NULL DEFAULT 'strong'
  CHECK (sandbox_tier IN ('none', 'engine', 'limited', 'strong'));
UPDATE executions SET sandbox_tier = tier_before;
ALTER TABLE executions DROP COLUMN tier_before;

-- Each kind with what was found; a machine says it with every hello.
ALTER TABLE container_agents ADD COLUMN sandboxes TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(sandboxes));
-- What every owner's executions may run on.
CREATE INDEX container_agents_shared ON container_agents (shared) WHERE state = 'connected';
-- For the reconciler, which asks the Dispatcher whether they are.
CREATE INDEX container_agents_by_connection ON container_agents (connected_at_ms) WHERE state <> 'disconnected';

ALTER TABLE projects ADD COLUMN egress TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(egress));
ALTER TABLE projects ADD COLUMN sandbox_tier_min TEXT NOT NULL DEFAULT 'none'
  CHECK (sandbox_tier_min IN ('none', 'engine', 'limited', 'strong'));

-- A value stands here only encrypted: AES-256-GCM under a key of the Worker's, bound to project and name.
CREATE TABLE project_secrets (
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  -- Says which key, without being one.
  key_id TEXT NOT NULL,
  -- Base64: the nonce, the ciphertext, the tag.
  sealed TEXT NOT NULL,
  -- Of the value, so that what an execution gets can be counted unopened.
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  PRIMARY KEY (project_id, name)
) STRICT, WITHOUT ROWID;
-- For the reconciler, which seals anew what an old key sealed.
CREATE INDEX project_secrets_by_key ON project_secrets (key_id);

CREATE TABLE container_cleanups (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  container_agent_id TEXT NOT NULL REFERENCES container_agents (id) ON DELETE CASCADE,
  -- An execution and a generation; the execution may be gone.
  container_id TEXT NOT NULL,
  provider TEXT NOT NULL CHECK (provider IN ('namespaces', 'oci')),
  reason TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX container_cleanups_by_agent ON container_cleanups (container_agent_id, id);
