//! What a probe is, and what came of it.

use std::io;

use crate::outside::Outside;

pub struct Probe {
    pub id: &'static str,
    /// What it would mean if it worked in a sandbox.
    pub means: &'static str,
    /// What a machine must have for it to work even outside: a path, `CONFIG_…` of the kernel, `CAP_…` of this process,
    /// `a default route`, `cgroup v1`.
    pub needs: &'static [&'static str],
    pub attempt: fn(&Outside) -> Verdict,
}

pub const fn probe(
    id: &'static str,
    means: &'static str,
    needs: &'static [&'static str],
    attempt: fn(&Outside) -> Verdict,
) -> Probe {
    Probe { id, means, needs, attempt }
}

#[derive(Debug)]
pub enum Verdict {
    /// It worked: a breach.
    Open(String),
    Closed(String),
}

impl Verdict {
    pub fn closed(why: impl Into<String>) -> Self {
        Self::Closed(why.into())
    }

    /// Open if this is so.
    pub fn open_if(open: bool, found: impl Into<String>) -> Self {
        if open { Self::Open(found.into()) } else { Self::Closed(found.into()) }
    }

    /// Open with the first of these that is open.
    pub fn any(attempts: impl IntoIterator<Item = Self>) -> Self {
        let mut closed = Vec::new();
        for attempt in attempts {
            match attempt {
                Self::Open(what) => return Self::Open(what),
                Self::Closed(why) => closed.push(why),
            }
        }
        closed.dedup();
        closed.truncate(4);
        Self::Closed(if closed.is_empty() { "nothing of the kind".into() } else { closed.join("; ") })
    }

    /// Also open if it failed only with one of these errors, which come after the kernel has agreed.
    pub fn past<T>(result: io::Result<T>, beyond: &[i32]) -> Self {
        match result {
            Ok(_) => Self::Open("it worked".into()),
            Err(error) if error.raw_os_error().is_some_and(|code| beyond.contains(&code)) => {
                Self::Open(format!("the kernel agreed, and only then: {error}"))
            }
            Err(error) => Self::Closed(error.to_string()),
        }
    }
}

impl<T> From<io::Result<T>> for Verdict {
    fn from(result: io::Result<T>) -> Self {
        Self::past(result, &[])
    }
}

impl Probe {
    /// As `--list` prints it.
    pub fn line(&self) -> String {
        let needs: Vec<_> = self.needs.iter().map(|need| quoted(need)).collect();
        let (id, means) = (quoted(self.id), quoted(self.means));
        format!(r#"{{"id":{id},"means":{means},"precondition":[{}]}}"#, needs.join(","))
    }

    pub fn result_line(&self, verdict: &str, why: &str) -> String {
        let line = self.line();
        let start = line.strip_suffix('}').unwrap_or(&line);
        format!(r#"{start},"verdict":{},"why":{}}}"#, quoted(verdict), quoted(why))
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
