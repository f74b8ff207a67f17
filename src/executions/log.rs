//! An execution's log in its hub's SQLite: chunks of events as they were appended, one row each.

use serde::Deserialize;
use shared_contracts::events::{Event, EventBody, EventPage, LogLevel, SearchQuery};
use shared_contracts::ids::PatchEventId;
use shared_contracts::limits::{
    EVENT_PAGE_BYTES_MAX, EVENT_PAGE_ITEMS_MAX, PAGE_ITEMS_DEFAULT, SEARCH_SCAN_BYTES_MAX,
};

use super::commands::Identity;
use super::store::End;
use crate::hub::Stored;
use crate::hub::tail::Line;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::{Sql, number};
use crate::sql_args;

const SCHEMA: &str = "
  CREATE TABLE IF NOT EXISTS hub (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    identity TEXT NOT NULL,
    generation INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    ended TEXT,
    recorded INTEGER NOT NULL
  );
  CREATE TABLE IF NOT EXISTS chunks (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    events TEXT NOT NULL
  );
  -- What the plane said between a writer's events. The writer's numbers do not count them.
  CREATE TABLE IF NOT EXISTS told (
    patch_event_id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS told_by_generation ON told (generation);";

/// What the hub knows besides the events.
#[derive(Debug, Clone)]
pub struct Standing {
    pub identity: Identity,
    pub generation: u32,
    /// Nothing under `generation` is believed any more.
    pub closed: bool,
    pub ended: Option<End>,
    /// The end is in D1.
    pub recorded: bool,
}

#[derive(Deserialize)]
struct StandingRow {
    identity: String,
    generation: u32,
    closed: u8,
    ended: Option<String>,
    recorded: u8,
}

#[derive(Deserialize)]
struct ChunkRow {
    last: u64,
    events: String,
}

#[derive(Deserialize)]
struct HeadRow {
    head: Option<u64>,
}

pub struct Log {
    sql: Sql,
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::internal("a stored log", error)
}

impl Log {
    pub fn open(sql: Sql) -> Outcome<Self> {
        sql.run(SCHEMA, Vec::new())?;
        Ok(Self { sql })
    }

    pub fn standing(&self) -> Outcome<Option<Standing>> {
        let row: Option<StandingRow> =
            self.sql.first("SELECT identity, generation, closed, ended, recorded FROM hub", Vec::new())?;
        row.map(|row| {
            Ok(Standing {
                identity: serde_json::from_str(&row.identity).map_err(unreadable)?,
                generation: row.generation,
                closed: row.closed != 0,
                ended: row.ended.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?,
                recorded: row.recorded != 0,
            })
        })
        .transpose()
    }

    pub fn keep(&self, standing: &Standing) -> Outcome<()> {
        let ended = standing.ended.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)?;
        let identity = serde_json::to_string(&standing.identity).map_err(unreadable)?;
        self.sql.run(
            "INSERT INTO hub (id, identity, generation, closed, ended, recorded) VALUES (1, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, closed = excluded.closed,
               ended = excluded.ended, recorded = excluded.recorded",
            sql_args![
                identity,
                number(standing.generation.into()),
                i32::from(standing.closed),
                ended,
                i32::from(standing.recorded)
            ],
        )
    }

    /// The newest sequence; 0 of an empty log.
    pub fn head(&self) -> Outcome<u64> {
        let row: Option<HeadRow> = self.sql.first("SELECT max(last) AS head FROM chunks", Vec::new())?;
        Ok(row.and_then(|row| row.head).unwrap_or(0))
    }

    /// Whether it is new.
    pub fn tell(&self, id: PatchEventId, generation: u32) -> Outcome<bool> {
        let args = sql_args![id.to_string(), number(generation.into())];
        let sql =
            "INSERT INTO told (patch_event_id, generation) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1";
        Ok(self.sql.changed(sql, args)? > 0)
    }

    /// How many events the plane said under a lease.
    pub fn told(&self, generation: u32) -> Outcome<u64> {
        let sql = "SELECT count(*) AS head FROM told WHERE generation = ?";
        let row: Option<HeadRow> = self.sql.first(sql, sql_args![number(generation.into())])?;
        Ok(row.and_then(|row| row.head).unwrap_or(0))
    }

    /// One row, whatever the number of events.
    pub fn append(&self, lines: &[Line]) -> Outcome<()> {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(()) };
        let mut events = String::with_capacity(lines.iter().map(|line| line.json.len() + 1).sum());
        for line in lines {
            events.push_str(&line.json);
            events.push('\n');
        }
        self.sql.run(
            "INSERT INTO chunks (first, last, events) VALUES (?, ?, ?)",
            sql_args![number(first.sequence), number(last.sequence), events],
        )
    }

    /// The chunk that holds the first event after this sequence.
    fn chunk_after(&self, after: u64) -> Outcome<Option<ChunkRow>> {
        let wanted = number(after + 1);
        self.sql.first(
            "SELECT last, events FROM chunks WHERE first <= ?1 AND last >= ?1 ORDER BY first DESC LIMIT 1",
            sql_args![wanted],
        )
    }

    /// Visits events after this sequence until told to stop.
    fn visit(&self, after: u64, mut visit: impl FnMut(Event, &str) -> bool) -> Outcome<()> {
        let mut cursor = after;
        while let Some(chunk) = self.chunk_after(cursor)? {
            for text in chunk.events.lines() {
                let event: Event = serde_json::from_str(text).map_err(unreadable)?;
                if event.sequence > after && !visit(event, text) {
                    return Ok(());
                }
            }
            cursor = chunk.last;
        }
        Ok(())
    }

    pub fn page(&self, after: u64, limit: Option<u32>, ended: bool) -> Outcome<EventPage> {
        let limit = limit.unwrap_or(PAGE_ITEMS_DEFAULT).min(EVENT_PAGE_ITEMS_MAX) as usize;
        let (mut items, mut bytes) = (Vec::new(), 0);
        self.visit(after, |event, text| {
            items.push(event);
            bytes += text.len();
            items.len() < limit && bytes < EVENT_PAGE_BYTES_MAX
        })?;
        let head = self.head()?;
        let next = items.last().map(|event| event.sequence).filter(|last| *last < head);
        Ok(EventPage { items, next, head, ended })
    }

    /// Looks at a bounded part of the log; `next` says from where to look on.
    pub fn search(&self, query: &SearchQuery, ended: bool) -> Outcome<EventPage> {
        let limit = query.limit.unwrap_or(PAGE_ITEMS_DEFAULT).min(EVENT_PAGE_ITEMS_MAX) as usize;
        let wanted = query.text.as_deref().map(str::to_lowercase);
        let level = query.level.unwrap_or(LogLevel::Debug);
        let (mut items, mut seen) = (Vec::new(), query.after.unwrap_or(0));
        let (mut scanned, mut found) = (0, 0);
        self.visit(seen, |event, text| {
            seen = event.sequence;
            scanned += text.len();
            if matches(&event, level, wanted.as_deref()) {
                items.push(event);
                found += text.len();
            }
            items.len() < limit && found < EVENT_PAGE_BYTES_MAX && scanned < SEARCH_SCAN_BYTES_MAX
        })?;
        let head = self.head()?;
        Ok(EventPage { items, next: Some(seen).filter(|seen| *seen < head), head, ended })
    }
}

fn matches(event: &Event, at_least: LogLevel, wanted: Option<&str>) -> bool {
    match &event.body {
        EventBody::Log { level, text, .. } => {
            *level >= at_least && wanted.is_none_or(|wanted| text.to_lowercase().contains(wanted))
        }
        _ => false,
    }
}

impl Stored for Log {
    fn lines_after(&self, after: u64, bytes_max: usize) -> Outcome<Vec<Line>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        self.visit(after, |event, text| {
            bytes += text.len() + 1;
            lines.push(Line {
                sequence: event.sequence,
                name: event.body.stream_name(),
                json: text.to_owned(),
            });
            bytes < bytes_max
        })?;
        Ok(lines)
    }
}
