//! An execution's events as a person reads them while they come.

use std::time::Duration;

use shared_contracts::events::{Event, EventBody, LogLevel, LogStream};
use shared_contracts::executions::Outcome;

use crate::terminal::{self, Tone, tone};

/// One line, or none for what only programs read.
pub fn show(event: &Event, elapsed: Duration) {
    if let Some(text) = text(event) {
        let clock = tone(Tone::Faint, &format!("{:>7.2} s {:>4} │", elapsed.as_secs_f64(), event.sequence));
        terminal::line(&format!("  {clock} {text}"));
    }
}

fn text(event: &Event) -> Option<String> {
    Some(match &event.body {
        EventBody::Log { level, stream, text, .. } => {
            // What a program prints is shown, not obeyed.
            let text: String = text.chars().filter(|c| !c.is_control() || *c == '\t').collect();
            match (stream, level) {
                (LogStream::System, _) => tone(Tone::Faint, &text),
                (_, LogLevel::Error | LogLevel::Fatal) => tone(Tone::Bad, &text),
                (_, LogLevel::Warn) => tone(Tone::Notice, &text),
                _ => text,
            }
        }
        EventBody::Status { state, message } => said(state.as_str(), message),
        EventBody::Lost { reason } => said("lost", reason),
        EventBody::ContainerStatus { status, message } => {
            let status = serde_json::to_value(status).ok()?;
            said(&format!("sandbox {}", status.as_str()?), message)
        }
        EventBody::ResourceUsage { .. } => return None,
        EventBody::Patch { operations, summary, .. } => {
            said("patch proposed", &format!("{operations} operations, {summary}"))
        }
        EventBody::PatchEvent(happening) => said("patch", &happening.summary),
        EventBody::Artifact { path, size_bytes, .. } => {
            said("artifact", &format!("{path}, {}", terminal::bytes(*size_bytes)))
        }
        EventBody::Egress(egress) => {
            let verdict = if egress.allowed { "network" } else { "network refused" };
            said(verdict, &format!("{}: {}", egress.host, egress.message))
        }
        EventBody::SecretFound { name, path, .. } => {
            said("secret found", &format!("{name} stands in {path}"))
        }
        EventBody::Ended { outcome, exit_code, exit_signal, reason, usage, .. } => {
            let color = if *outcome == Outcome::Succeeded { Tone::Good } else { Tone::Bad };
            let how = match (exit_code, exit_signal) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "no exit code".to_owned(),
            };
            let used = format!(
                "wall {}, CPU {}, memory {}",
                terminal::seconds(Duration::from_millis(usage.wall_ms)),
                terminal::seconds(Duration::from_millis(usage.cpu_ms)),
                terminal::bytes(usage.memory_peak_bytes)
            );
            format!("{} {how}; {used}; {reason}", tone(color, outcome.state().as_str()))
        }
    })
}

fn said(what: &str, message: &str) -> String {
    let what = tone(Tone::Place, what);
    if message.is_empty() { what } else { format!("{what} {}", tone(Tone::Faint, message)) }
}
