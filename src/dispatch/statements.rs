//! The SQL of the Dispatcher's own SQLite. A change names what it was decided on, an offer or a lease, in its
//! `WHERE`, and answers the rows that were still so.

/// `queued` holds the whole [`Queued`](super::commands::Queued) as JSON: it comes back whole when a lease is lost.
/// What the rule of who is next asks has columns of its own. An execution is in one row from its queueing to its end;
/// `generation` is set while it is leased.
pub const SCHEMA: &str = "
  -- An older version's. The reconciler queues again what D1 has.
  DROP TABLE IF EXISTS executions;
  CREATE TABLE IF NOT EXISTS entries (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_id TEXT NOT NULL UNIQUE,
    queued TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    sandbox_tier TEXT NOT NULL,
    memory_mb INTEGER NOT NULL,
    cpu_cores REAL NOT NULL,
    owner_concurrency INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'offered', 'leased')),
    container_agent_id TEXT,
    declined_by TEXT,
    generation INTEGER,
    stop_reason TEXT,
    -- When an offer or a lease runs out, or an end is tried again.
    expires_at_ms INTEGER
  );
  CREATE INDEX IF NOT EXISTS entries_waiting ON entries (owner_id, priority DESC, arrival)
    WHERE state = 'waiting' AND stop_reason IS NULL;
  CREATE INDEX IF NOT EXISTS entries_active ON entries (owner_id) WHERE state <> 'waiting';
  CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
  CREATE INDEX IF NOT EXISTS entries_by_agent ON entries (container_agent_id) WHERE container_agent_id IS NOT NULL;
  -- What the sandboxes of connected container agents are.
  CREATE TABLE IF NOT EXISTS machines (container_agent_id TEXT PRIMARY KEY, sandboxes TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS turns (owner_id TEXT PRIMARY KEY, turn INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS turns_by_turn ON turns (turn);";

macro_rules! entry {
    ($where:literal) => {
        concat!(
            "SELECT execution_id, queued, state, container_agent_id, generation, stop_reason FROM entries WHERE ",
            $where
        )
    };
}

pub const ENTRY: &str = entry!("execution_id = ?");
pub const HELD_BY: &str = entry!("container_agent_id = ?");
pub const HELD_COUNT: &str = "SELECT count(*) AS number FROM entries WHERE container_agent_id = ?";
pub const EXPIRED: &str = entry!("expires_at_ms <= ? ORDER BY expires_at_ms LIMIT 1");
pub const NEXT_EXPIRY: &str =
    "SELECT min(expires_at_ms) AS number FROM entries WHERE expires_at_ms IS NOT NULL";

/// The owners of what waits, each found by one step in the index however much it has queued.
pub const SHARES: &str = "
  WITH RECURSIVE owners (owner_id) AS (
    SELECT min(owner_id) FROM entries WHERE state = 'waiting' AND stop_reason IS NULL
    UNION ALL
    SELECT (SELECT min(entries.owner_id) FROM entries
        WHERE state = 'waiting' AND stop_reason IS NULL AND entries.owner_id > owners.owner_id)
      FROM owners WHERE owners.owner_id IS NOT NULL)
  SELECT owner_id,
    (SELECT count(*) FROM entries WHERE entries.owner_id = owners.owner_id AND state <> 'waiting') AS active,
    coalesce((SELECT turn FROM turns WHERE turns.owner_id = owners.owner_id), 0) AS last_turn
  FROM owners WHERE owner_id IS NOT NULL";

/// What one owner has waiting, in its order.
pub const WAITING: &str = "SELECT execution_id, owner_id, priority, sandbox_tier,
    queued ->> '$.sandbox_provider' AS sandbox_provider, queued ->> '$.image' AS image, memory_mb, cpu_cores,
    owner_concurrency, arrival, declined_by
  FROM entries WHERE state = 'waiting' AND stop_reason IS NULL AND owner_id = ?
  ORDER BY priority DESC, arrival LIMIT ?";

pub const KEEP_MACHINE: &str = "INSERT INTO machines (container_agent_id, sandboxes) VALUES (?, ?)
  ON CONFLICT (container_agent_id) DO UPDATE SET sandboxes = excluded.sandboxes";

pub const MACHINE: &str = "SELECT sandboxes FROM machines WHERE container_agent_id = ?";

pub const FORGET_MACHINE: &str = "DELETE FROM machines WHERE container_agent_id = ?";

/// What is on offer is next; before others go their owner's higher priorities, and older ones of the same.
pub const POSITION: &str = "SELECT CASE state WHEN 'offered' THEN 1 ELSE 1
    + (SELECT count(*) FROM entries AS other WHERE other.state = 'waiting' AND other.stop_reason IS NULL
        AND other.owner_id = mine.owner_id AND other.priority > mine.priority)
    + (SELECT count(*) FROM entries AS other WHERE other.state = 'waiting' AND other.stop_reason IS NULL
        AND other.owner_id = mine.owner_id AND other.priority = mine.priority AND other.arrival < mine.arrival)
    END AS number
  FROM entries AS mine WHERE execution_id = ? AND state <> 'leased'";

pub const ENQUEUE: &str = "INSERT INTO entries
  (execution_id, queued, owner_id, priority, sandbox_tier, memory_mb, cpu_cores, owner_concurrency, state)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT (execution_id) DO NOTHING";

// Offers.

pub const OFFER: &str = "UPDATE entries SET state = 'offered', container_agent_id = ?, expires_at_ms = ?
  WHERE execution_id = ? AND state = 'waiting' AND stop_reason IS NULL RETURNING 1";

pub const TAKE_TURN: &str = "INSERT INTO turns (owner_id, turn)
  SELECT owner_id, 1 + (SELECT coalesce(max(turn), 0) FROM turns) FROM entries WHERE execution_id = ?
  ON CONFLICT (owner_id) DO UPDATE SET turn = excluded.turn";

pub const WITHDRAW: &str = "UPDATE entries
  SET state = 'waiting', container_agent_id = NULL, declined_by = container_agent_id, expires_at_ms = NULL
  WHERE execution_id = ? AND state = 'offered' AND container_agent_id = ? RETURNING 1";

pub const LEASE: &str = "UPDATE entries SET state = 'leased', queued = ?, generation = ?, expires_at_ms = ?
  WHERE execution_id = ? AND state = 'offered' AND container_agent_id = ? RETURNING 1";

// Leases.

pub const EXTEND: &str = "UPDATE entries SET expires_at_ms = ?
  WHERE execution_id = ? AND generation = ? AND state = 'leased' RETURNING 1";

/// What was to be stopped meanwhile does not wait: it is due at once.
pub const REQUEUE: &str = "UPDATE entries SET state = 'waiting', queued = ?, container_agent_id = NULL,
    declined_by = NULL, generation = NULL, expires_at_ms = CASE WHEN stop_reason IS NULL THEN NULL ELSE 1 END
  WHERE execution_id = ? AND generation = ? AND state = 'leased' RETURNING 1";

pub const STOP_LEASED: &str = "UPDATE entries SET stop_reason = ?
  WHERE execution_id = ? AND generation = ? AND state = 'leased' RETURNING 1";

pub const FORGET: &str = "DELETE FROM entries
  WHERE execution_id = ? AND generation = ? AND state = 'leased' RETURNING 1";

/// The end of an older lease than the one that holds it is no end.
pub const FORGET_ENDED: &str = "DELETE FROM entries
  WHERE execution_id = ? AND (generation IS NULL OR generation <= ?) RETURNING 1";

// Stops of what is not leased. It is never offered again, so these need no more than the execution's id.

pub const STOP_UNLEASED: &str = "UPDATE entries
  SET state = 'waiting', container_agent_id = NULL, stop_reason = ?, expires_at_ms = ?
  WHERE execution_id = ? AND state <> 'leased' RETURNING 1";

pub const FORGET_STOPPED: &str = "DELETE FROM entries
  WHERE execution_id = ? AND state = 'waiting' AND stop_reason IS NOT NULL RETURNING 1";

#[cfg(test)]
pub const ALL: &[(&str, &str)] = &[
    ("ENTRY", ENTRY),
    ("HELD_BY", HELD_BY),
    ("HELD_COUNT", HELD_COUNT),
    ("EXPIRED", EXPIRED),
    ("NEXT_EXPIRY", NEXT_EXPIRY),
    ("SHARES", SHARES),
    ("WAITING", WAITING),
    ("KEEP_MACHINE", KEEP_MACHINE),
    ("MACHINE", MACHINE),
    ("FORGET_MACHINE", FORGET_MACHINE),
    ("POSITION", POSITION),
    ("ENQUEUE", ENQUEUE),
    ("OFFER", OFFER),
    ("TAKE_TURN", TAKE_TURN),
    ("WITHDRAW", WITHDRAW),
    ("LEASE", LEASE),
    ("EXTEND", EXTEND),
    ("REQUEUE", REQUEUE),
    ("STOP_LEASED", STOP_LEASED),
    ("FORGET", FORGET),
    ("FORGET_ENDED", FORGET_ENDED),
    ("STOP_UNLEASED", STOP_UNLEASED),
    ("FORGET_STOPPED", FORGET_STOPPED),
];
