-- What one execution may ask for, and what a machine gives one.

INSERT INTO settings (key, value, category, description, type) VALUES
  ('sandbox.memory_mb_max', '16384', 'sandbox', 'The most memory that an execution may ask for', 'integer'),
  ('sandbox.cpu_cores_max', '8.0', 'sandbox', 'The most processor cores that an execution may ask for', 'number'),
  ('sandbox.disk_mb_max', '20480', 'sandbox', 'The most that an execution may ask to write', 'integer'),
  ('sandbox.wall_seconds_max', '86400', 'sandbox', 'The longest that an execution may ask to run', 'integer'),
  ('sandbox.processes_max', '4096', 'sandbox', 'The most processes that an execution may ask for', 'integer');

-- A machine says it with every hello; 0 of one that was not heard of since.
ALTER TABLE container_agents ADD COLUMN memory_mb_max INTEGER NOT NULL DEFAULT 0 CHECK (memory_mb_max >= 0);
ALTER TABLE container_agents ADD COLUMN cpu_cores_max REAL NOT NULL DEFAULT 0 CHECK (cpu_cores_max >= 0);

-- No execution is `lost`: it waits again in the same update.
DROP INDEX executions_active;
CREATE INDEX executions_active ON executions (changed_at_ms) WHERE state IN ('queued', 'leased', 'running');
