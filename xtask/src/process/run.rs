//! Running a command to its end while showing that something happens.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Group;
use crate::terminal::{self, Tone};

/// A sign of life where lines cannot be overwritten.
const LINE_EVERY: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(5);
/// Lines kept to be shown when a command fails: the first ones often say why, the last ones what.
const HEAD_LINES: usize = 10;
const TAIL_LINES: usize = 30;

/// What a command left.
#[derive(Debug)]
pub struct Output {
    pub is_success: bool,
    /// How it ended, in words.
    pub status: String,
    /// The first and last lines of its standard output and error, in the order they came.
    pub excerpt: String,
    pub took: Duration,
}

/// Runs it quietly, ticking; fails with what it said when it fails. `doing` reads "installing x".
pub fn run(doing: &str, command: &mut Command) -> Result<Duration> {
    let output = capture(doing, command, None)?;
    if !output.is_success {
        bail!("{doing} failed ({}); it said:\n{}", output.status, output.excerpt);
    }
    Ok(output.took)
}

/// Runs it quietly, ticking, and leaves it to the caller what its failure means.
pub fn capture_quietly(doing: &str, command: &mut Command) -> Result<Output> {
    capture(doing, command, None)
}

/// Runs it with its output shown line by line as it comes; each line is also handed to `each`.
pub fn run_loudly(doing: &str, command: &mut Command, each: &mut dyn FnMut(&str)) -> Result<Output> {
    capture(doing, command, Some(each))
}

/// What a short command prints on standard output.
pub fn text_of(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

type Lines = Arc<Mutex<VecDeque<String>>>;

fn capture(doing: &str, command: &mut Command, mut each: Option<&mut dyn FnMut(&str)>) -> Result<Output> {
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::spawn(command)?;
    let fresh: Lines = Lines::default();
    let mut readers = vec![
        reader(group.child_mut().stdout.take(), &fresh),
        reader(group.child_mut().stderr.take(), &fresh),
    ];
    let (mut head, mut tail, mut dropped) = (Vec::new(), VecDeque::new(), 0);
    let mut progress = Progress::new(doing, each.is_some());
    let status = loop {
        let ended = group.try_wait()?;
        if ended.is_some() {
            readers.drain(..).flatten().for_each(|reader| drop(reader.join()));
        }
        let lines = std::mem::take(&mut *fresh.lock().unwrap_or_else(PoisonError::into_inner));
        for line in lines {
            if let Some(each) = each.as_deref_mut() {
                each(&line);
                terminal::line(&line);
            }
            if head.len() < HEAD_LINES {
                head.push(line);
                continue;
            }
            tail.push_back(line);
            if tail.len() > TAIL_LINES {
                tail.pop_front();
                dropped += 1;
            }
        }
        if let Some(status) = ended {
            break status;
        }
        progress.tick(started.elapsed(), tail.back().or(head.last()).map_or("", String::as_str));
        std::thread::sleep(POLL);
    };
    progress.clear();
    if dropped > 0 {
        head.push(format!("… {dropped} lines …"));
    }
    Ok(Output {
        is_success: status.success(),
        status: status.to_string(),
        excerpt: head.into_iter().chain(tail).collect::<Vec<_>>().join("\n"),
        took: started.elapsed(),
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>, lines: &Lines) -> Option<JoinHandle<()>> {
    let lines = Arc::clone(lines);
    let mut pipe = BufReader::new(pipe?);
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push_back(line);
            bytes.clear();
        }
    }))
}

/// `… installing x  12 s`, in place on a terminal, else a line now and then.
struct Progress<'a> {
    doing: &'a str,
    /// The command's own lines are progress enough.
    is_loud: bool,
    is_drawn: bool,
    shown_at: Duration,
}

impl<'a> Progress<'a> {
    fn new(doing: &'a str, is_loud: bool) -> Self {
        Self { doing, is_loud, is_drawn: false, shown_at: Duration::ZERO }
    }

    fn tick(&mut self, elapsed: Duration, last: &str) {
        if self.is_loud {
            return;
        }
        if terminal::is_live() && elapsed >= self.shown_at + TICK {
            self.shown_at = elapsed;
            self.is_drawn = true;
            let last: String = last.trim().chars().filter(|c| !c.is_control()).take(60).collect();
            let text = format!("  … {}  {} s", self.doing, elapsed.as_secs());
            print!("\r\x1b[2K{text}  {}", terminal::tone(Tone::Faint, &last));
            let _ = std::io::stdout().flush();
        } else if !terminal::is_live() && elapsed >= self.shown_at + LINE_EVERY {
            self.shown_at = elapsed;
            terminal::line(&format!("  … still {}, {} s", self.doing, elapsed.as_secs()));
        }
    }

    fn clear(&mut self) {
        if self.is_drawn {
            print!("\r\x1b[2K");
            let _ = std::io::stdout().flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_what_was_said() {
        let error = run("testing", Command::new("/bin/sh").args(["-c", "echo one; echo two >&2; exit 3"]));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("one") && text.contains("two") && text.contains("exit status: 3"), "{text}");
    }
}
