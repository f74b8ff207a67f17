-- What deleted projects and tasks leave outside of D1, until the reconciler has removed it. It refers to nothing: what
-- it names is gone from here.
CREATE TABLE deletions (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  -- Of a project its workspace and patch batches, of an execution its log and artifacts.
  kind TEXT NOT NULL CHECK (kind IN ('project', 'execution')),
  deleted_at_ms INTEGER NOT NULL,
  -- When it is looked at next.
  due_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX deletions_by_due ON deletions (due_at_ms);
