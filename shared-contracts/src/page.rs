//! Lists go page by page, newest first unless the route says otherwise.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};

/// One page of a list. `next` is the `after` of the following page; none means this was the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PageQuery {
    /// The `next` of the page before.
    #[garde(inner(length(bytes, max = 5_000)))]
    pub after: Option<String>,
    /// At most 100; 50 unless given.
    #[garde(inner(range(min = 1, max = PAGE_ITEMS_MAX)))]
    pub limit: Option<u32>,
}

impl PageQuery {
    pub fn limit_or_default(&self) -> u32 {
        self.limit.unwrap_or(PAGE_ITEMS_DEFAULT)
    }
}
