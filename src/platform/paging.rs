//! Pages of records, newest first: the ids sort by time, so the cursor is the last id of the page before.
//!
//! The statements answer one JSON text `{"items": […], "next": …}`, passed through unread: building it in SQL is
//! as fast as hand-written TypeScript, reading a hundred rows here is not.

use shared_contracts::page::PageQuery;

use super::d1::{Arg, Db};
use super::failure::{Failure, Outcome};

/// Sorts after every id.
const FROM_THE_NEWEST: &str = "~";

/// Wraps a select of `id` and `record` (JSON text), ordered and limited to one more than the page, parameters
/// `?1` the parent, `?2` the cursor, `?3` the page's length.
#[macro_export]
macro_rules! page_of {
    ($record:expr, $from:literal) => {
        concat!(
            "WITH page AS MATERIALIZED (SELECT id, ",
            $record,
            " AS record FROM ",
            $from,
            " AND id < ?2 ORDER BY id DESC LIMIT ?3 + 1) ",
            // `json()` again: that a text is JSON is forgotten on its way out of a subquery.
            "SELECT json_object('items', json((SELECT json_group_array(json(record)) FROM ",
            "(SELECT record FROM page ORDER BY id DESC LIMIT ?3))), ",
            "'next', (SELECT CASE WHEN (SELECT count(*) FROM page) > ?3 THEN ",
            "(SELECT id FROM page ORDER BY id DESC LIMIT 1 OFFSET ?3 - 1) END)) AS record"
        )
    };
}

pub async fn page(db: &Db, sql: &str, parent: impl Into<Arg>, query: &PageQuery) -> Outcome<String> {
    let after = query.after.as_deref().unwrap_or(FROM_THE_NEWEST);
    let args = [parent.into(), after.into(), query.limit_or_default().into()];
    db.record(sql, &args).await?.ok_or_else(|| Failure::internal("reading a page", "no row"))
}
