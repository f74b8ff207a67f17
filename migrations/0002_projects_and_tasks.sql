CREATE TABLE projects (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  owner_id TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  description TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX projects_by_owner ON projects (owner_id, id);

CREATE TABLE tasks (
  id TEXT PRIMARY KEY CHECK (length(id) >= 8),
  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
  description TEXT NOT NULL,
  priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
  state TEXT NOT NULL CHECK (state IN ('todo', 'in_progress', 'ai_review', 'human_review', 'done')),
  error TEXT,
  -- Set exactly while an execution has the task; this is what keeps it to one.
  active_execution_id TEXT,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  CHECK ((active_execution_id IS NOT NULL) = (state = 'in_progress'))
) STRICT;
CREATE INDEX tasks_by_project ON tasks (project_id, id);
