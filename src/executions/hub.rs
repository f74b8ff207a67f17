//! `ExecutionHub`: the event log of one execution, who may write it, and everyone who watches it.
//!
//! Single-threaded, and SQLite answers without an await, so an append is judged and stored with no lock. The
//! platform holds back every acknowledgement until what it acknowledges is on disk.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use shared_contracts::append::AppendAnswer;
use shared_contracts::events::{Event, EventBody, EventSource};
use shared_contracts::executions::ExecutionState;
use shared_contracts::ids::TokenId;
use shared_contracts::limits::WATCHERS_PER_HUB_MAX;
use shared_contracts::patches::PatchHappening;
use shared_contracts::problem::ProblemKind;
use worker::{
    DurableObject, Env, Request, Response, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
};

use super::append::{self, Position};
use super::commands::HubCommand;
use super::finish;
use super::log::{Log, Standing};
use super::store::{self, End};
use crate::accounts::access_tokens;
use crate::bindings::Bindings;
use crate::hub::audience::Audience;
use crate::hub::tail::{Frame, Line, Tail};
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::platform::sql::Sql;

pub(super) const WRITER_TAG: &str = "writer";
/// How soon what D1 refused is tried again.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct Opened {
    pub log: Rc<Log>,
    pub audience: Rc<Audience<Log>>,
    pub standing: RefCell<Option<Standing>>,
    /// Events of the plane's own under the present lease, between the writer's.
    pub told: Cell<u64>,
}

#[worker::durable_object]
pub struct ExecutionHub {
    pub(super) state: State,
    env: Env,
    opened: OnceCell<Opened>,
    /// Its execution was deleted: until this object goes too, nothing brings it back.
    pub(super) is_forgotten: Cell<bool>,
}

impl DurableObject for ExecutionHub {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, opened: OnceCell::new(), is_forgotten: Cell::new(false) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        object::respond("execution hub", self.handle(&mut request).await)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        // The next alarm is set before the try: a try that dies is not the last.
        if let Err(failure) = self.finish().await {
            failure.log("record_end");
        }
        Response::empty()
    }

    async fn websocket_message(
        &self,
        socket: WebSocket,
        message: WebSocketIncomingMessage,
    ) -> worker::Result<()> {
        let WebSocketIncomingMessage::String(text) = message else {
            return socket.close(Some(1003), Some("Only text messages are understood here"));
        };
        let tags = self.state.get_tags(&socket);
        let outcome = if tags.iter().any(|tag| tag == WRITER_TAG) {
            self.written(&socket, &text).await
        } else {
            self.acknowledged(&socket, &tags, &text)
        };
        if let Err(failure) = outcome {
            failure.log("hub message");
            socket.close(Some(1011), Some("The hub failed; reconnect"))?;
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        // A closed socket is never the end of an execution; answer the close and keep nothing.
        let _ = socket.close(Some(1000), Some(""));
        self.left(&socket);
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: worker::Error) -> worker::Result<()> {
        self.left(&socket);
        Ok(())
    }
}

impl ExecutionHub {
    /// The log, and what was known before the object slept.
    fn opened(&self) -> Outcome<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let log = Rc::new(Log::open(Sql(self.state.storage().sql()))?);
        let standing = log.standing()?;
        let ended = standing.as_ref().is_some_and(|standing| standing.ended.is_some());
        let audience = Audience::awake(&self.state, &log, Tail::at(log.head()?, ended))?;
        let told = log.told(standing.as_ref().map_or(0, |standing| standing.generation))?;
        let opened = Opened { log, audience, standing: RefCell::new(standing), told: Cell::new(told) };
        Ok(self.opened.get_or_init(|| opened))
    }

    async fn handle(&self, request: &mut Request) -> Outcome<Response> {
        let opened = self.opened()?;
        let command = object::command(request).await?;
        if self.is_forgotten.get() && !matches!(command, HubCommand::Forget) {
            return Err(Failure::problem(ProblemKind::NotFound, "This execution was deleted"));
        }
        match command {
            HubCommand::Open { identity } => {
                self.begin(opened, identity)?;
                object::answer(&())
            }
            HubCommand::OpenGeneration { identity, generation, machine } => {
                object::answer(&self.open_generation(opened, identity, generation, &machine)?)
            }
            HubCommand::CloseGeneration { lease, reason } => {
                object::answer(&self.close_generation(opened, lease.generation, &reason)?)
            }
            HubCommand::End { identity, generation, outcome, reason } => {
                self.end(opened, identity, generation, outcome, reason)?;
                self.finish().await?;
                object::answer(&())
            }
            HubCommand::Forget => {
                // The Dispatcher hears of an end that it may have missed.
                self.finish().await?;
                self.forget().await?;
                object::answer(&())
            }
            HubCommand::Record => {
                // Whoever asks has looked: D1 does not have it, whatever was believed here.
                let ended = opened.standing.borrow().clone().filter(|standing| standing.ended.is_some());
                if let Some(standing) = ended {
                    self.keep(opened, Standing { recorded: false, ..standing })?;
                }
                self.finish().await?;
                object::answer(&opened.audience.ended())
            }
            HubCommand::Tell { happening } => {
                self.tell(opened, happening)?;
                object::answer(&())
            }
            HubCommand::Events { after, limit } => {
                object::answer(&opened.log.page(after, Some(limit), opened.audience.ended())?)
            }
            HubCommand::Search { query } => {
                object::answer(&opened.log.search(&query, opened.audience.ended())?)
            }
            HubCommand::Stream { after, token_id } => {
                self.require_room(opened)?;
                opened.audience.stream(after, token_id)
            }
            HubCommand::Watch { after, token_id } => self.watch(opened, after, token_id),
            HubCommand::Append { generation } => self.writer(opened, generation),
        }
    }

    /// An event of the plane's own. Under a lease that may write, only by [`Self::tell`]: the writer's numbers do not
    /// count it.
    pub(super) fn say(&self, opened: &Opened, body: EventBody) -> Outcome<()> {
        let sequence = opened.audience.head() + 1;
        let generation = standing(opened)?.generation;
        let event = Event { sequence, generation, at_ms: now_ms(), source: EventSource::System, body };
        let json =
            serde_json::to_string(&event).map_err(|error| Failure::internal("writing an event", error))?;
        self.store(opened, &[(event, json.into())])
    }

    /// Once for each id, in one step. A log that has ended, or never began, takes nothing.
    fn tell(&self, opened: &Opened, happening: PatchHappening) -> Outcome<()> {
        let standing = opened.standing.borrow().clone().filter(|standing| standing.ended.is_none());
        let Some(standing) = standing else { return Ok(()) };
        if !opened.log.tell(happening.patch_event_id, standing.generation)? {
            return Ok(());
        }
        opened.told.set(opened.told.get() + 1);
        self.say(opened, EventBody::PatchEvent(happening))
    }

    /// Stores and fans out. The terminal event is stored together with its meaning: the log is closed.
    fn store(&self, opened: &Opened, events: &[(Event, Cow<'_, str>)]) -> Outcome<()> {
        let lines = events
            .iter()
            .map(|(event, json)| Line {
                sequence: event.sequence,
                name: event.body.stream_name(),
                json: json.clone().into_owned(),
            })
            .collect::<Vec<_>>();
        opened.log.append(&lines)?;
        let end = events.iter().find_map(|(event, _)| end_of(event));
        let ended = end.is_some();
        if let Some(end) = end {
            let mut standing = standing(opened)?;
            standing.closed = true;
            standing.ended = Some(end);
            self.keep(opened, standing)?;
        }
        let Some(frame) = Frame::new(lines) else { return Ok(()) };
        opened.audience.publish(&frame, ended);
        Ok(())
    }

    pub(super) fn keep(&self, opened: &Opened, standing: Standing) -> Outcome<()> {
        opened.log.keep(&standing)?;
        *opened.standing.borrow_mut() = Some(standing);
        Ok(())
    }

    /// 1. The message is judged.
    /// 2. New events are stored and sent on.
    /// 3. They are acknowledged.
    /// 4. What they mean for the record is written, the end with an alarm behind it.
    async fn written(&self, socket: &WebSocket, message: &str) -> Outcome<()> {
        let opened = self.opened()?;
        let position = position(opened)?;
        let authorised: u32 = socket.deserialize_attachment()?.unwrap_or(0);
        let accepted = match append::judge(message, authorised, position) {
            Ok(accepted) => accepted,
            Err(answer) => return Ok(socket.send(&answer)?),
        };
        self.store(opened, &accepted.events)?;
        let through = as_written(opened);
        socket.send(&AppendAnswer::Acknowledged { through })?;
        for (event, _) in &accepted.events {
            match &event.body {
                EventBody::Status { state: ExecutionState::Running, .. } => self.running(opened, event).await,
                EventBody::Ended { .. } => {
                    // Stored and acknowledged it is; the record follows by the alarm if it cannot now.
                    if let Err(failure) = self.finish().await {
                        failure.log("record_end");
                    }
                }
                _ => {}
            }
        }
        self.dismiss_revoked(opened).await;
        Ok(())
    }

    /// Nobody goes on watching for long with a token that was revoked or has expired.
    async fn dismiss_revoked(&self, opened: &Opened) {
        for token_id in opened.audience.tokens_to_check(now_ms()) {
            let stands =
                async { access_tokens::stands(&Bindings::open(self.env.clone())?.db, token_id).await };
            match stands.await {
                Ok(true) => {}
                Ok(false) => opened.audience.dismiss(token_id),
                // Asked again when it is time again.
                Err(failure) => failure.log("watch_events"),
            }
        }
    }

    /// The end corrects what is missed here.
    async fn running(&self, opened: &Opened, event: &Event) {
        let update = async {
            let execution_id = standing(opened)?.identity.execution_id;
            let lease = shared_contracts::dispatch::Lease { execution_id, generation: event.generation };
            store::running(&Bindings::open(self.env.clone())?.db, lease, event.at_ms).await
        };
        if let Err(failure) = update.await {
            failure.log("running");
        }
    }

    /// Brings the end into D1, if there is one that is not there yet, with an alarm behind it until it is.
    async fn finish(&self) -> Outcome<()> {
        let opened = self.opened()?;
        let pending = opened.standing.borrow().clone().filter(|standing| !standing.recorded);
        let Some((standing, end)) = pending.and_then(|s| s.ended.clone().map(|end| (s, end))) else {
            return Ok(());
        };
        self.state.storage().set_alarm(RETRY).await?;
        finish::record_end(&Bindings::open(self.env.clone())?, &standing.identity, &end).await?;
        self.keep(opened, Standing { recorded: true, ..standing })?;
        Ok(self.state.storage().delete_alarm().await?)
    }

    fn require_room(&self, opened: &Opened) -> Outcome<()> {
        if opened.audience.len() < WATCHERS_PER_HUB_MAX {
            return Ok(());
        }
        let detail = format!("This execution has {WATCHERS_PER_HUB_MAX} watchers already; try again later");
        Err(Failure::problem(ProblemKind::Overloaded, detail))
    }

    fn watch(&self, opened: &Opened, after: u64, token_id: Option<TokenId>) -> Outcome<Response> {
        self.require_room(opened)?;
        let pair = WebSocketPair::new()?;
        let pong = worker::worker_sys::WebSocketRequestResponsePair::new("ping", "pong")
            .map_err(|_| Failure::internal("a WebSocket", "no automatic answer"))?;
        self.state.set_websocket_auto_response(&pong);
        opened.audience.watch(&self.state, pair.server, after, token_id)?;
        Ok(Response::from_websocket(pair.client)?)
    }

    fn acknowledged(&self, socket: &WebSocket, tags: &[String], message: &str) -> Outcome<()> {
        let opened = self.opened()?;
        if !opened.audience.acknowledge(tags, message) {
            socket.close(Some(1008), Some("Only acknowledgements are understood here"))?;
        }
        Ok(())
    }

    fn left(&self, socket: &WebSocket) {
        if let Some(opened) = self.opened.get() {
            opened.audience.leave(&self.state.get_tags(socket));
        }
    }

    /// The writer learns where to go on, or that it may not.
    fn writer(&self, opened: &Opened, generation: u32) -> Outcome<Response> {
        let pair = WebSocketPair::new()?;
        self.state.accept_websocket_with_tags(&pair.server, &[WRITER_TAG]);
        pair.server.serialize_attachment(generation)?;
        let position = position(opened)?;
        let answer = if generation == position.generation && !position.closed {
            AppendAnswer::Ready { next_sequence: position.head + 1 }
        } else {
            let reason = "The lease is gone, or the execution has ended".to_owned();
            AppendAnswer::Fenced { generation: position.generation, reason }
        };
        pair.server.send(&answer)?;
        Ok(Response::from_websocket(pair.client)?)
    }
}

pub(super) fn standing(opened: &Opened) -> Outcome<Standing> {
    let standing = opened.standing.borrow().clone();
    standing.ok_or_else(|| Failure::problem(ProblemKind::NotFound, "This execution has no log yet"))
}

fn position(opened: &Opened) -> Outcome<Position> {
    let standing = standing(opened)?;
    Ok(Position {
        head: as_written(opened),
        told: opened.told.get(),
        generation: standing.generation,
        closed: standing.closed,
    })
}

/// The newest sequence as the present lease's writer counts.
pub(super) fn as_written(opened: &Opened) -> u64 {
    opened.audience.head().saturating_sub(opened.told.get())
}

fn end_of(event: &Event) -> Option<End> {
    match &event.body {
        EventBody::Ended { outcome, exit_code, exit_signal, reason, usage, patch_batch_id } => Some(End {
            generation: event.generation,
            outcome: *outcome,
            exit_code: *exit_code,
            exit_signal: *exit_signal,
            reason: reason.clone(),
            usage: usage.clone(),
            patch_batch_id: *patch_batch_id,
            event_count: event.sequence,
            at_ms: event.at_ms,
        }),
        _ => None,
    }
}
