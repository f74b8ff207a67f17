//! The table: which machine, which commit, and each figure beside what it is compared with in the same run.

use std::process::Command;
use std::time::Duration;

use crate::layout;
use crate::process::text_of;
use crate::terminal::{self, Tone, tone};

/// One figure. `peer` is what it is compared with; `ratio` is how many times better the figure is, unless its bar is an
/// upper one: then it is how many times worse.
#[derive(Debug, Clone)]
pub struct Row {
    pub what: String,
    pub figure: String,
    pub peer: String,
    pub ratio: Option<f64>,
    pub bar: Option<Bar>,
    pub note: String,
}

/// What the ratio should reach, or stay below.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    pub fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        let (peer, note) = (String::new(), String::new());
        Self { what: what.into(), figure: figure.into(), peer, ratio: None, bar: None, note }
    }

    pub fn peer(mut self, peer: impl Into<String>, ratio: f64) -> Self {
        self.peer = peer.into();
        self.ratio = Some(ratio);
        self
    }

    pub fn bar(mut self, bar: Bar) -> Self {
        self.bar = Some(bar);
        self
    }

    /// What it is held against without a ratio.
    pub fn beside(mut self, peer: impl Into<String>) -> Self {
        self.peer = peer.into();
        self
    }

    pub fn note(mut self, note: impl std::fmt::Display) -> Self {
        self.note = note.to_string();
        self
    }

    fn ratio_text(&self) -> String {
        self.ratio.map(times).unwrap_or_default()
    }

    /// `5.0× reached`, `≤ 12× missed`
    fn bar_text(&self) -> String {
        let (Some(bar), Some(ratio)) = (self.bar, self.ratio) else { return String::new() };
        let (bar, is_reached) = match bar {
            Bar::AtLeast(bar) => (times(bar), ratio >= bar),
            Bar::AtMost(bar) => (format!("≤ {}", times(bar)), ratio <= bar),
        };
        format!("{bar} {}", if is_reached { "reached" } else { "missed" })
    }
}

/// `0.08×`, `1.02×`, `5.0×`, `12×`, `1,900×`
fn times(ratio: f64) -> String {
    match ratio {
        ..2.0 => format!("{ratio:.2}×"),
        ..10.0 => format!("{ratio:.1}×"),
        _ => format!("{}×", grouped(ratio)),
    }
}

/// `12,345`
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0.95 ms`, `12.3 ms`, `512 ms`, `1.5 s`
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..100.0 => format!("{ms:.1} ms"),
        ..10_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}

pub fn ratio(better: Duration, worse: Duration) -> f64 {
    worse.as_secs_f64() / better.as_secs_f64().max(1e-9)
}

/// Machine, date and commit: figures mean nothing without them.
pub fn heading() {
    let cpu = field("/proc/cpuinfo", "model name");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let date = text_of(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])).unwrap_or_default();
    let git =
        |arguments: &[&str]| text_of(Command::new("git").args(arguments).current_dir(layout::repository()));
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_default();
    let is_changed = git(&["status", "--porcelain"]).is_ok_and(|status| !status.trim().is_empty());
    let changed = if is_changed { " with uncommitted changes" } else { "" };
    terminal::heading("Bench");
    terminal::line(&format!("  machine  {cpu}, {cores} cores, Linux {}", kernel.trim()));
    terminal::line(&format!("  date     {}, load before {}", date.trim(), load.join(" ")));
    terminal::line(&format!("  commit   {}{changed}", commit.trim()));
}

fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("unknown CPU", |(_, value)| value.trim()).to_owned()
}

pub fn print(rows: &[Row]) {
    let width = |of: fn(&Row) -> String, heading: &str| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(heading.len())
    };
    let what = width(|row| row.what.clone(), "what");
    let figure = width(|row| row.figure.clone(), "figure");
    let peer = width(|row| row.peer.clone(), "beside it");
    let ratio = width(Row::ratio_text, "ratio");
    let bar = width(Row::bar_text, "bar");
    let head = format!(
        "  {:<what$}  {:<figure$}  {:<peer$}  {:>ratio$}  {:<bar$}  note",
        "what", "figure", "beside it", "ratio", "bar"
    );
    terminal::line(&format!("\n{}", tone(Tone::Strong, &head)));
    for row in rows {
        let (figure_text, note) = (format!("{:<figure$}", row.figure), tone(Tone::Faint, &row.note));
        terminal::line(&format!(
            "  {:<what$}  {}  {:<peer$}  {:>ratio$}  {:<bar$}  {note}",
            row.what,
            tone(Tone::Good, &figure_text),
            row.peer,
            row.ratio_text(),
            row.bar_text()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(450.4), "450");
        assert_eq!(ms(Duration::from_micros(953)), "0.95 ms");
        assert_eq!(ms(Duration::from_millis(512)), "512 ms");
        assert_eq!([0.084, 1.02, 5.0, 1_900.0].map(times), ["0.08×", "1.02×", "5.0×", "1,900×"]);
    }

    #[test]
    fn a_row_says_whether_its_bar_is_reached() {
        let row = |ratio, bar| Row::new("what", "figure").peer("peer", ratio).bar(bar).bar_text();
        assert_eq!(row(5.0, Bar::AtLeast(5.0)), "5.0× reached");
        assert_eq!(row(999.0, Bar::AtLeast(1_000.0)), "1,000× missed");
        assert_eq!(row(12.1, Bar::AtMost(12.0)), "≤ 12× missed");
        assert_eq!(Row::new("what", "figure").beside("not measured").bar(Bar::AtLeast(2.0)).bar_text(), "");
    }
}
