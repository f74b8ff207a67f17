-- Where patches come from, what became of them, and which lines the waiting ones touch.

ALTER TABLE projects ADD COLUMN denied_paths TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(denied_paths));

ALTER TABLE patch_batches ADD COLUMN coding_agent TEXT;
ALTER TABLE patch_batches ADD COLUMN model TEXT;
ALTER TABLE patch_batches ADD COLUMN provider TEXT;
-- Of the text that it was sent as; NULL where operations were sent.
ALTER TABLE patch_batches ADD COLUMN format TEXT;
-- The batch that took it back, and the one that this one takes back.
ALTER TABLE patch_batches ADD COLUMN reverted_by TEXT;
ALTER TABLE patch_batches ADD COLUMN reverts TEXT;
-- An application has begun, and what became of it is not recorded yet: the reconciler asks the Workspace.
ALTER TABLE patch_batches ADD COLUMN applying_since_ms INTEGER;
CREATE INDEX patch_batches_applying ON patch_batches (applying_since_ms) WHERE applying_since_ms IS NOT NULL;

-- SQLite changes no CHECK in place.
CREATE TABLE patch_events_next (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  -- NULL of a text that could not be read.
  patch_batch_id TEXT REFERENCES patch_batches (id) ON DELETE CASCADE,
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  execution_id TEXT,
  kind TEXT NOT NULL CHECK (kind IN ('proposed', 'applied', 'refused', 'rejected', 'reverted')),
  detail TEXT NOT NULL CHECK (json_valid(detail)),
  duration_ms INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  coding_agent TEXT,
  model TEXT,
  provider TEXT,
  format TEXT,
  -- The least sure of the steps that placed its operations.
  step TEXT,
  -- Of its first operation that was refused; else `applied` or `already_applied`.
  outcome TEXT,
  -- Of the workspace: that it was refused by, or that came of it.
  revision INTEGER,
  -- What an execution's log has yet to be told; NULL once it was.
  untold TEXT CHECK (json_valid(untold))
) STRICT;
INSERT INTO patch_events_next
  (id, patch_batch_id, project_id, execution_id, kind, detail, duration_ms, created_at_ms)
  SELECT id, patch_batch_id, project_id, execution_id, kind, detail, duration_ms, created_at_ms FROM patch_events;
DROP TABLE patch_events;
ALTER TABLE patch_events_next RENAME TO patch_events;
CREATE INDEX patch_events_by_project ON patch_events (project_id, id);
CREATE INDEX patch_events_by_batch ON patch_events (patch_batch_id, id);
CREATE INDEX patch_events_untold ON patch_events (created_at_ms) WHERE untold IS NOT NULL;
-- Once each, and a refusal once for each revision: asked again, the same revision refuses it in the same way.
CREATE UNIQUE INDEX patch_events_once ON patch_events (patch_batch_id, kind) WHERE kind <> 'refused';
CREATE UNIQUE INDEX patch_events_refused_once ON patch_events (patch_batch_id, revision) WHERE kind = 'refused';

-- The head whose lines `patch_touches` has.
ALTER TABLE patch_batches ADD COLUMN touched_revision INTEGER;

-- Lines that a proposed batch changes.
CREATE TABLE patch_touches (
  patch_batch_id TEXT NOT NULL REFERENCES patch_batches (id) ON DELETE CASCADE,
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  path TEXT NOT NULL,
  first_line INTEGER NOT NULL,
  last_line INTEGER NOT NULL CHECK (last_line >= first_line),
  -- Positions in the batch.
  operations TEXT NOT NULL CHECK (json_valid(operations)),
  PRIMARY KEY (patch_batch_id, path, first_line)
) STRICT, WITHOUT ROWID;
CREATE INDEX patch_touches_by_path ON patch_touches (project_id, path);
