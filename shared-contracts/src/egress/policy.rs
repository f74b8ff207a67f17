//! Which hosts and ports a project may reach: a list of `host:port`, and nothing besides.
//!
//! ```text
//! example.com:443          this host
//! *.example.com:443        every host below it, not itself
//! 192.0.2.7:8080           this address, and no name for it
//! [2001:db8::7]:8080
//! ```

use std::fmt;

use super::host::{Host, HostFault, Target};
use crate::limits::{EGRESS_ENTRIES_MAX, EGRESS_ENTRY_BYTES_MAX};

/// Empty by default: nothing may be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Exactly(Target),
    Below { name: String, port: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error(
        "the egress list has {entries} entries and may have {EGRESS_ENTRIES_MAX}; join some with a wildcard such as *.example.com:443"
    )]
    TooMany { entries: usize },
    /// `number` counts from 1.
    #[error("entry {number} of the egress list, `{entry}`: {fault}")]
    Entry { number: usize, entry: String, fault: EntryFault },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    #[error(transparent)]
    Host(#[from] HostFault),
    #[error("`*` stands only before the first dot, such as *.example.com:443")]
    Star,
    #[error(
        "it covers a whole top-level domain; name at least two parts after `*.`, such as *.example.com:443"
    )]
    TooWide,
    #[error("there is nothing below an address; write the addresses one by one")]
    BelowAddress,
}

impl Policy {
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, PolicyError> {
        let entries: Vec<_> = entries.into_iter().collect();
        if entries.len() > EGRESS_ENTRIES_MAX {
            return Err(PolicyError::TooMany { entries: entries.len() });
        }
        let numbered = (1..).zip(entries).map(|(number, entry)| {
            Rule::parse(entry).map_err(|fault| PolicyError::Entry { number, entry: shown(entry), fault })
        });
        Ok(Self { rules: numbered.collect::<Result<_, _>>()? })
    }

    /// As [`Policy::parse`] reads them.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        self.rules.iter().map(Rule::to_string)
    }

    pub fn lists(&self, target: &Target) -> bool {
        self.rules.iter().any(|rule| rule.covers(target))
    }
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, EntryFault> {
        let Some(below) = entry.strip_prefix("*.") else {
            if entry.contains('*') {
                return Err(EntryFault::Star);
            }
            return Ok(Self::Exactly(Target::parse(entry, None)?));
        };
        if below.contains('*') {
            return Err(EntryFault::Star);
        }
        match Target::parse(below, None)? {
            Target { host: Host::Address(_), .. } => Err(EntryFault::BelowAddress),
            Target { host: Host::Name(name), .. } if !name.contains('.') => Err(EntryFault::TooWide),
            Target { host: Host::Name(name), port } => Ok(Self::Below { name, port }),
        }
    }

    fn covers(&self, target: &Target) -> bool {
        match (self, &target.host) {
            (Self::Exactly(listed), _) => listed == target,
            (Self::Below { name: above, port }, Host::Name(name)) => {
                *port == target.port && name.strip_suffix(above).is_some_and(|label| label.ends_with('.'))
            }
            (Self::Below { .. }, Host::Address(_)) => false,
        }
    }
}

/// What was written, as printable ASCII of bounded length.
fn shown(entry: &str) -> String {
    let mut shown: String =
        entry.chars().take(EGRESS_ENTRY_BYTES_MAX).flat_map(char::escape_default).collect();
    if shown.len() > EGRESS_ENTRY_BYTES_MAX {
        shown.truncate(EGRESS_ENTRY_BYTES_MAX);
        shown.push_str("...");
    }
    shown
}

/// The rule of one entry, for a field that holds a list of them.
pub fn egress_entry(entry: &str, _: &()) -> garde::Result {
    Rule::parse(entry).map(drop).map_err(garde::Error::new)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(target) => target.fmt(f),
            Self::Below { name, port } => write!(f, "*.{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lists(entry: &str, target: &str) -> bool {
        Policy::parse([entry]).unwrap().lists(&Target::parse(target, None).unwrap())
    }

    #[test]
    fn only_what_is_listed_is_covered() {
        assert!(lists("Example.com:443", "eXample.com:443"));
        assert!(!lists("example.com:443", "example.com:80"));
        assert!(!lists("example.com:443", "www.example.com:443"));
        assert!(lists("*.example.com:443", "a.example.com:443"));
        assert!(lists("*.example.com:443", "a.b.example.com:443"));
        assert!(!lists("*.example.com:443", "example.com:443"));
        assert!(!lists("*.example.com:443", "evilexample.com:443"));
        assert!(!lists("*.example.com:443", "example.com.evil.test:443"));
        assert!(!lists("*.example.com:443", "a.example.com:80"));
        assert!(lists("192.0.2.1:80", "192.0.2.1:80"));
        assert!(lists("[2001:db8::1]:80", "[2001:DB8:0:0::1]:80"));
        assert!(!lists("192.0.2.1:80", "[::ffff:192.0.2.1]:80"));
        assert!(!Policy::default().lists(&Target::parse("example.com:443", None).unwrap()));
    }

    #[test]
    fn a_fault_says_where_it_is_and_what_to_do() {
        let error = Policy::parse(["example.com:443", "example.org"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "entry 2 of the egress list, `example.org`: the port is missing; add it, such as example.com:443"
        );
        for (entry, fault) in [
            ("*:443", EntryFault::Star),
            ("a.*.com:443", EntryFault::Star),
            ("*.*.com:443", EntryFault::Star),
            ("a*.example.com:443", EntryFault::Star),
            ("*.com:443", EntryFault::TooWide),
            ("*.192.0.2.1:443", EntryFault::BelowAddress),
            ("*.[::1]:443", EntryFault::BelowAddress),
            ("*.:443", EntryFault::Host(HostFault::NoHost)),
            ("example.com:*", EntryFault::Star),
            (" example.com:443", EntryFault::Host(HostFault::Character)),
        ] {
            let error = Policy::parse([entry]).unwrap_err();
            assert_eq!(error, PolicyError::Entry { number: 1, entry: entry.into(), fault });
        }
        let many = vec!["example.com:443"; EGRESS_ENTRIES_MAX + 1];
        assert_eq!(Policy::parse(many), Err(PolicyError::TooMany { entries: EGRESS_ENTRIES_MAX + 1 }));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*", host in "[*.a-zA-Z0-9:\\[\\]%@-]{0,40}") {
            let _ = Policy::parse([text.as_str(), host.as_str()]);
        }

        #[test]
        fn what_was_read_is_written_as_it_is_read(
            entries in prop::collection::vec(
                (prop_oneof!["", "\\*\\."], "([a-zA-Z0-9]{1,8}\\.){0,4}[a-zA-Z]{2,8}|[0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9a-f:]{2,12}\\]", 0_u32..70_000),
                0..8,
            )
        ) {
            let entries: Vec<_> = entries.into_iter().map(|(star, host, port)| format!("{star}{host}:{port}")).collect();
            if let Ok(policy) = Policy::parse(entries.iter().map(String::as_str)) {
                let written: Vec<_> = policy.entries().collect();
                prop_assert_eq!(written.len(), entries.len());
                prop_assert_eq!(Policy::parse(written.iter().map(String::as_str)), Ok(policy));
            }
        }
    }
}
