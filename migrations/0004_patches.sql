CREATE TABLE patch_batches (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  execution_id TEXT REFERENCES executions (id) ON DELETE SET NULL,
  title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
  state TEXT NOT NULL CHECK (state IN ('proposed', 'applied', 'rejected', 'conflicted')),
  base_revision INTEGER NOT NULL CHECK (base_revision >= 0),
  -- The operations themselves are in R2: a batch may be larger than a row.
  operation_count INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  revision_after INTEGER,
  reason TEXT,
  created_at_ms INTEGER NOT NULL,
  decided_at_ms INTEGER,
  CHECK (state <> 'applied' OR revision_after IS NOT NULL)
) STRICT;
CREATE INDEX patch_batches_by_project ON patch_batches (project_id, id);
CREATE INDEX patch_batches_by_execution ON patch_batches (execution_id) WHERE execution_id IS NOT NULL;

-- What happened to patch batches, once for each thing that happened.
CREATE TABLE patch_events (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  patch_batch_id TEXT NOT NULL REFERENCES patch_batches (id) ON DELETE CASCADE,
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  execution_id TEXT,
  kind TEXT NOT NULL CHECK (kind IN ('proposed', 'applied', 'refused', 'rejected')),
  detail TEXT NOT NULL CHECK (json_valid(detail)),
  duration_ms INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX patch_events_by_project ON patch_events (project_id, id);
CREATE INDEX patch_events_by_batch ON patch_events (patch_batch_id, id);
CREATE UNIQUE INDEX patch_events_applied_once ON patch_events (patch_batch_id) WHERE kind = 'applied';
