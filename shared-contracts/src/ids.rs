//! Typed ids: a prefix that says what it is, then a lower-case ULID (<https://github.com/ulid/spec>), so that ids
//! sort by creation time and an id of one kind is refused where another is wanted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("`{found}` is not a {kind} id: it must start with `{prefix}_`")]
    Prefix { kind: &'static str, prefix: &'static str, found: String },
    #[error("`{found}` is not a {kind} id: after `{prefix}_` come 26 lower-case base32 characters")]
    Form { kind: &'static str, prefix: &'static str, found: String },
}

const RANDOM_BITS: u128 = (1 << 80) - 1;

fn parse(kind: &'static str, prefix: &'static str, text: &str) -> Result<Ulid, IdError> {
    // An id is short; what is not one is quoted only in part.
    let found = || text.chars().take(40).collect::<String>();
    let rest = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .ok_or_else(|| IdError::Prefix { kind, prefix, found: found() })?;
    let form = || IdError::Form { kind, prefix, found: found() };
    let ulid = Ulid::from_string(rest).map_err(|_| form())?;
    // Crockford's alphabet has aliases (`O` for `0`, upper case): one id has one spelling.
    if ulid.to_string().to_ascii_lowercase() == rest { Ok(ulid) } else { Err(form()) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// `at_ms`: milliseconds since the Unix epoch; `random`: 80 random bits (the rest is ignored).
            pub fn new(at_ms: u64, random: u128) -> Self {
                Self(Ulid::from_parts(at_ms, random & RANDOM_BITS))
            }

            /// When it was made, in milliseconds since the Unix epoch.
            pub fn at_ms(self) -> u64 {
                self.0.timestamp_ms()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}_{}", $prefix, self.0.to_string().to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse($kind, $prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9a-hjkmnp-tv-z]{26}$"),
                })
            }
        }
    )+};
}

ids! {
    /// A user or team that everything else belongs to.
    OwnerId "own" "owner";
    TokenId "tok" "access token";
    ProjectId "prj" "project";
    TaskId "tsk" "task";
    ExecutionId "exe" "execution";
    PatchBatchId "pat" "patch batch";
    PatchEventId "pev" "patch event";
    ArtifactId "art" "artifact";
    ContainerAgentId "cag" "container agent";
    ContainerCleanupId "ccl" "container cleanup";
    /// A partial import of a workspace: a manifest that waits for its blobs.
    ImportId "imp" "import";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips_and_sorts_by_time(at_ms in 0u64..(1 << 47), random: u128) {
            let id = ExecutionId::new(at_ms, random);
            prop_assert_eq!(id.to_string().parse::<ExecutionId>(), Ok(id));
            prop_assert_eq!(id.at_ms(), at_ms);
            prop_assert!(ExecutionId::new(at_ms + 1, 0).to_string() > id.to_string());
        }

        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = text.parse::<TaskId>();
        }
    }

    #[test]
    fn refuses_foreign_ids_and_other_spellings() {
        let task = TaskId::new(1, 2).to_string();
        assert!(matches!(task.parse::<ProjectId>(), Err(IdError::Prefix { .. })));
        assert!(matches!(task.to_uppercase().parse::<TaskId>(), Err(IdError::Prefix { .. })));
        assert!(matches!("tsk_0000000000000000000000000O".parse::<TaskId>(), Err(IdError::Form { .. })));
        assert!(matches!("tsk_".parse::<TaskId>(), Err(IdError::Form { .. })));
    }
}
