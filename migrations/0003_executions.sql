CREATE TABLE container_agents (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  owner_id TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  state TEXT NOT NULL CHECK (state IN ('connected', 'draining', 'disconnected')),
  version TEXT NOT NULL,
  capacity INTEGER NOT NULL CHECK (capacity > 0),
  sandbox_tier TEXT NOT NULL CHECK (sandbox_tier IN ('none', 'limited', 'strong')),
  shared INTEGER NOT NULL CHECK (shared IN (0, 1)),
  connected_at_ms INTEGER NOT NULL,
  disconnected_at_ms INTEGER,
  UNIQUE (owner_id, name)
) STRICT;
CREATE INDEX container_agents_by_owner ON container_agents (owner_id, id);

CREATE TABLE executions (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  owner_id TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
  state TEXT NOT NULL CHECK
    (state IN ('queued', 'leased', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out', 'lost')),
  -- Raised by every lease; what carries an older one is not believed.
  generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0),
  priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
  spec TEXT NOT NULL CHECK (json_valid(spec)),
  sandbox_tier TEXT NOT NULL CHECK (sandbox_tier IN ('none', 'limited', 'strong')),
  container_agent_id TEXT REFERENCES container_agents (id) ON DELETE SET NULL,
  stop_requested INTEGER NOT NULL DEFAULT 0 CHECK (stop_requested IN (0, 1)),
  exit_code INTEGER,
  exit_signal INTEGER,
  reason TEXT,
  patch_batch_id TEXT,
  retry_of TEXT REFERENCES executions (id) ON DELETE SET NULL,
  lost_count INTEGER NOT NULL DEFAULT 0,
  memory_peak_bytes INTEGER,
  cpu_ms INTEGER,
  event_count INTEGER,
  created_at_ms INTEGER NOT NULL,
  -- When the state last changed; the reconciler looks at what has not moved for a while.
  changed_at_ms INTEGER NOT NULL,
  started_at_ms INTEGER,
  ended_at_ms INTEGER,
  CHECK ((ended_at_ms IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled', 'timed_out')))
) STRICT;
CREATE INDEX executions_by_task ON executions (task_id, id);
CREATE INDEX executions_by_project ON executions (project_id);
CREATE INDEX executions_by_owner ON executions (owner_id);
CREATE INDEX executions_by_retry ON executions (retry_of) WHERE retry_of IS NOT NULL;
-- Only what can still change: stays small however long the history grows.
CREATE INDEX executions_active ON executions (changed_at_ms)
  WHERE state IN ('queued', 'leased', 'running', 'lost');
CREATE INDEX executions_active_by_agent ON executions (container_agent_id)
  WHERE state IN ('leased', 'running');
CREATE INDEX executions_by_agent ON executions (container_agent_id);

CREATE TABLE execution_artifacts (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  execution_id TEXT NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
  artifact_type TEXT NOT NULL CHECK
    (artifact_type IN ('file', 'screenshot', 'test_report', 'coverage', 'output')),
  path TEXT NOT NULL,
  size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
  mime_type TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX execution_artifacts_by_execution ON execution_artifacts (execution_id, id);
