//! Writes one execution's events over the append socket as the container agent does: messages of at most
//! `APPEND_BYTES_MAX`, a window of unacknowledged bytes, each event numbered and timed as it is made.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use shared_contracts::append::{AppendAnswer, AppendHead};
use shared_contracts::dispatch::{Lease, LeasedExecution};
use shared_contracts::events::{Event, EventBody, EventSource, LogLevel, LogStream, Usage};
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::limits::{APPEND_BYTES_MAX, APPEND_WINDOW_BYTES};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::stamps::Stamps;
use crate::client::{Client, Socket};
use crate::random::now_ms;

/// Room for the head in a message.
const HEAD_BYTES_MAX: usize = 256;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// As long as a line of a build's output tends to be.
const LINE: &str = "   Compiling some-crate v1.2.3 (/home/someone/project/crates/some-crate) in 0.42 s";

/// Events that go as one message.
struct Block {
    first: u64,
    count: u32,
    lines: String,
}

pub struct Writer {
    pub lease: Lease,
    sink: SplitSink<Socket, Message>,
    answers: watch::Receiver<Answer>,
    reader: JoinHandle<()>,
    stamps: Stamps,
    next: u64,
    waiting: VecDeque<Block>,
    on_the_way: VecDeque<(u64, usize)>,
    bytes_on_the_way: usize,
}

/// What the hub said last.
#[derive(Debug, Clone)]
enum Answer {
    Through(u64),
    Broken(String),
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Writer {
    pub async fn open(client: &Client, leased: &LeasedExecution, stamps: &Stamps) -> Result<Self> {
        let client = client.with_token(&leased.execution_token);
        let path = format!("/api/sandbox/executions/{}/logs/append", leased.lease.execution_id);
        let (sink, mut stream) = client.open_socket(&path).await?.split();
        let first = stream.next().await.context("the hub's socket closed")??;
        let AppendAnswer::Ready { next_sequence } = serde_json::from_str(first.to_text()?)? else {
            bail!("the hub does not let the lease write: {first}");
        };
        let (told, answers) = watch::channel(Answer::Through(next_sequence - 1));
        let reader = tokio::spawn(async move {
            while let Some(message) = stream.next().await {
                let answer = match message.as_ref().map(Message::to_text) {
                    Ok(Ok(text)) => match serde_json::from_str(text) {
                        Ok(AppendAnswer::Acknowledged { through }) => Answer::Through(through),
                        _ => Answer::Broken(format!("the hub answered {text}")),
                    },
                    other => Answer::Broken(format!("the hub's socket: {other:?}")),
                };
                if told.send(answer).is_err() {
                    return;
                }
            }
            let _ = told.send(Answer::Broken("the hub closed the socket".into()));
        });
        Ok(Self {
            lease: leased.lease,
            sink,
            answers,
            reader,
            stamps: stamps.clone(),
            next: next_sequence,
            waiting: VecDeque::new(),
            on_the_way: VecDeque::new(),
            bytes_on_the_way: 0,
        })
    }

    /// The sequence of the last event that was made.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Makes log lines; they wait until [`Self::flush`].
    pub fn make_lines(&mut self, count: u32) -> Result<()> {
        let made_at = Instant::now();
        for _ in 0..count {
            let body = EventBody::Log {
                level: LogLevel::Info,
                stream: LogStream::Stdout,
                text: LINE.to_owned(),
                continues: false,
            };
            self.make(body, made_at)?;
        }
        Ok(())
    }

    fn make(&mut self, body: EventBody, made_at: Instant) -> Result<()> {
        let (sequence, generation) = (self.next, self.lease.generation);
        let event = Event { sequence, generation, at_ms: now_ms(), source: EventSource::Agent, body };
        let line = serde_json::to_string(&event).context("cannot write an event")?;
        self.stamps.make(sequence, made_at);
        self.next += 1;
        match self.waiting.back_mut() {
            Some(block) if block.lines.len() + line.len() < APPEND_BYTES_MAX - HEAD_BYTES_MAX => {
                block.lines.push('\n');
                block.lines.push_str(&line);
                block.count += 1;
            }
            _ => self.waiting.push_back(Block { first: sequence, count: 1, lines: line }),
        }
        Ok(())
    }

    /// Sends what the window has room for, without waiting for room.
    pub async fn flush(&mut self) -> Result<()> {
        self.take_answer()?;
        while self.bytes_on_the_way < APPEND_WINDOW_BYTES {
            let Some(block) = self.waiting.pop_front() else { return Ok(()) };
            let head = AppendHead {
                generation: self.lease.generation,
                first_sequence: block.first,
                count: block.count,
            };
            let mut text = serde_json::to_string(&head).context("cannot write a head")?;
            text.push('\n');
            text.push_str(&block.lines);
            self.on_the_way.push_back((block.first + u64::from(block.count) - 1, text.len()));
            self.bytes_on_the_way += text.len();
            self.sink.send(Message::text(text)).await.context("the hub's socket closed")?;
        }
        Ok(())
    }

    fn take_answer(&mut self) -> Result<()> {
        let through = match &*self.answers.borrow_and_update() {
            Answer::Through(through) => *through,
            Answer::Broken(why) => bail!("{why}"),
        };
        while let Some((last, bytes)) = self.on_the_way.front().copied() {
            if last > through {
                break;
            }
            self.bytes_on_the_way -= bytes;
            self.on_the_way.pop_front();
        }
        Ok(())
    }

    /// Waits until something more is acknowledged.
    pub async fn answered(&mut self) -> Result<()> {
        let changed = tokio::time::timeout(ANSWER_WITHIN, self.answers.changed()).await;
        changed.context("the hub acknowledges nothing")?.context("the hub's socket closed")?;
        self.take_answer()
    }

    pub fn is_window_full(&self) -> bool {
        self.bytes_on_the_way >= APPEND_WINDOW_BYTES
    }

    /// Sends everything and waits until it is acknowledged.
    pub async fn drain(&mut self) -> Result<()> {
        loop {
            self.flush().await?;
            if self.waiting.is_empty() && self.on_the_way.is_empty() {
                return Ok(());
            }
            self.answered().await?;
        }
    }

    /// `running`, which D1 records.
    pub async fn run(&mut self) -> Result<()> {
        let body = EventBody::Status { state: ExecutionState::Running, message: "the bench writes".into() };
        self.make(body, Instant::now())?;
        self.drain().await
    }

    /// The terminal event.
    pub async fn end(&mut self) -> Result<()> {
        let body = EventBody::Ended {
            outcome: Outcome::Succeeded,
            exit_code: Some(0),
            exit_signal: None,
            reason: "The bench has seen enough".into(),
            usage: Usage::default(),
            patch_batch_id: None,
        };
        self.make(body, Instant::now())?;
        self.drain().await
    }
}
