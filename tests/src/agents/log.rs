//! An execution's whole log.

use shared_contracts::events::{Event, EventBody, LogStream, Usage};
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::ids::PatchBatchId;

#[derive(Debug, Clone, PartialEq)]
pub struct Log(pub Vec<Event>);

/// The terminal event.
#[derive(Debug)]
pub struct End<'a> {
    pub outcome: Outcome,
    pub exit_code: Option<i32>,
    pub exit_signal: Option<i32>,
    pub reason: &'a str,
    pub usage: &'a Usage,
    pub patch_batch_id: Option<PatchBatchId>,
}

impl Log {
    /// Every sequence from 1 once and in order; one terminal event, at the end; generations only rise.
    #[track_caller]
    pub fn whole(events: Vec<Event>) -> Self {
        for (event, wanted) in events.iter().zip(1..) {
            assert_eq!(event.sequence, wanted, "a gap or a repetition: {event:?}");
        }
        let ends = events.iter().filter(|event| matches!(event.body, EventBody::Ended { .. })).count();
        assert_eq!(ends, 1, "an execution ends once");
        assert!(events.last().is_some_and(|last| matches!(last.body, EventBody::Ended { .. })));
        assert!(events.is_sorted_by_key(|event| event.generation), "an older lease wrote after a newer one");
        Self(events)
    }

    pub fn end(&self) -> End<'_> {
        match self.0.last().map(|last| &last.body) {
            Some(EventBody::Ended { outcome, exit_code, exit_signal, reason, usage, patch_batch_id }) => {
                End {
                    outcome: *outcome,
                    exit_code: *exit_code,
                    exit_signal: *exit_signal,
                    reason,
                    usage,
                    patch_batch_id: *patch_batch_id,
                }
            }
            other => panic!("a whole log ends with its end, not with {other:?}"),
        }
    }

    /// Lines of the payload's own; pieces of a long line are joined.
    pub fn lines(&self, wanted: LogStream) -> Vec<String> {
        self.lines_where(wanted, |_| true)
    }

    /// Lines of standard output under one lease.
    pub fn printed_under(&self, generation: u32) -> Vec<String> {
        self.lines_where(LogStream::Stdout, |event| event.generation == generation)
    }

    fn lines_where(&self, wanted: LogStream, keep: impl Fn(&Event) -> bool) -> Vec<String> {
        let (mut lines, mut open) = (Vec::<String>::new(), false);
        for event in self.0.iter().filter(|event| keep(event)) {
            let EventBody::Log { stream, text, continues, .. } = &event.body else { continue };
            if *stream != wanted {
                continue;
            }
            match lines.last_mut().filter(|_| open) {
                Some(line) => line.push_str(text),
                None => lines.push(text.clone()),
            }
            open = *continues;
        }
        lines
    }

    /// `status` events: under which generation it came into which state.
    pub fn states(&self) -> Vec<(u32, ExecutionState)> {
        let state = |event: &Event| match event.body {
            EventBody::Status { state, .. } => Some((event.generation, state)),
            _ => None,
        };
        self.0.iter().filter_map(state).collect()
    }

    /// Standard output is `line 1` to `line COUNT`, each once and in order.
    #[track_caller]
    pub fn assert_numbered(lines: &[String], count: usize) {
        for (line, number) in lines.iter().zip(1..) {
            assert_eq!(*line, format!("line {number}"));
        }
        assert_eq!(lines.len(), count, "lines are missing at the end, or there are too many");
    }
}
