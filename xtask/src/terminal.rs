//! What people see: numbered steps, findings, timings. Colour only where it helps and is wanted.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

impl std::str::FromStr for ColorChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(format!("`{other}` is none of `auto`, `always`, `never`")),
        }
    }
}

static COLOR: AtomicU8 = AtomicU8::new(0);

pub fn choose_color(choice: ColorChoice) {
    let value = match choice {
        ColorChoice::Auto => 0,
        ColorChoice::Always => 1,
        ColorChoice::Never => 2,
    };
    COLOR.store(value, Ordering::Relaxed);
}

pub fn is_colored() -> bool {
    match COLOR.load(Ordering::Relaxed) {
        1 => true,
        2 => false,
        _ => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Whether a line may be overwritten to show progress.
pub fn is_live() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("CI").is_none()
}

#[derive(Debug, Clone, Copy)]
pub enum Tone {
    Strong,
    Faint,
    Good,
    Bad,
    Notice,
    Place,
}

/// The text in a tone, or plain where colour is off.
pub fn tone(tone: Tone, text: &str) -> String {
    if !is_colored() {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Strong => "1",
        Tone::Faint => "2",
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Notice => "33",
        Tone::Place => "36",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Writes a line to standard output; a closed pipe is not an error of the work itself.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// `  ✓ what  detail  1.2 s`
pub fn found(what: &str, detail: &str, took: Option<Duration>) {
    let took = took.map_or(String::new(), |took| tone(Tone::Faint, &format!("  {}", seconds(took))));
    line(&format!("  {} {what:<22} {}{took}", tone(Tone::Good, "✓"), tone(Tone::Faint, detail)));
}

/// Something that a person should know and that stops nothing.
pub fn notice(text: &str) {
    line(&format!("  {} {text}", tone(Tone::Notice, "!")));
}

/// A numbered heading.
pub fn step(number: u32, text: &str) {
    line(&format!("\n{} {}", tone(Tone::Place, &format!("{number:>2}.")), tone(Tone::Strong, text)));
}

pub fn heading(text: &str) {
    line(&format!("\n{}", tone(Tone::Strong, text)));
}

/// An error with its causes, on standard error.
pub fn failure(error: &anyhow::Error) {
    let mut text = format!("{} {error}", tone(Tone::Bad, "error:"));
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  because: {cause}"));
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `340 ms`, `12.3 s`, `2 min 05 s`
pub fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// `512 B`, `3.4 KiB`, `12.0 MiB`, `5.5 GiB`
pub fn bytes(count: u64) -> String {
    const KIB: f64 = 1024.0;
    let count_f64 = count as f64;
    if count_f64 < KIB {
        format!("{count} B")
    } else if count_f64 < KIB * KIB {
        format!("{:.1} KiB", count_f64 / KIB)
    } else if count_f64 < KIB * KIB * KIB {
        format!("{:.1} MiB", count_f64 / KIB / KIB)
    } else {
        format!("{:.1} GiB", count_f64 / KIB / KIB / KIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!(seconds(Duration::from_millis(340)), "340 ms");
        assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3_482), "3.4 KiB");
        assert_eq!(bytes(6 << 30), "6.0 GiB");
    }
}
