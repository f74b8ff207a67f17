//! The secrets of one execution: how they come into its sandbox, and how they are kept out of everything it says.
//!
//! ```text
//!   lease ──▶ environment variable, or file in memory ──▶ coding agent
//!     └─────▶ redactor ──▶ output, events, errors: replaced      patches, artifacts: found, reported, not changed
//! ```

use std::collections::{BTreeMap, BTreeSet};

use redaction::Redactor;
use shared_contracts::dispatch::LeasedExecution;
use shared_contracts::events::{EventBody, EventSource, LogLevel, SecretPlace};
use shared_contracts::secrets::{LeasedSecret, SecretForm};

use crate::output::spool::Spool;
use crate::sandbox::{PlacedFile, SECRETS};

/// Where somebody put a whole dump into a file the log need not have every line of it.
const FOUND_MAX: usize = 20;

/// None where the execution has no secrets: nothing needs to be looked for then.
pub fn redactor(leased: &LeasedExecution) -> Result<Option<Redactor>, redaction::Refused> {
    if leased.secrets.is_empty() {
        return Ok(None);
    }
    Redactor::new(leased.secrets.iter().map(|secret| (&secret.name, &secret.value))).map(Some)
}

fn path_of(secret: &LeasedSecret) -> String {
    format!("{SECRETS}/{}", secret.name)
}

/// What the coding agent finds in its environment.
pub fn environment(secrets: &[LeasedSecret]) -> BTreeMap<String, String> {
    let variable = |secret: &LeasedSecret| match secret.form {
        SecretForm::Environment => (secret.name.clone(), secret.value.clone()),
        SecretForm::File => (format!("{}_FILE", secret.name), path_of(secret)),
    };
    secrets.iter().map(variable).collect()
}

/// Those that it gets as files.
pub fn files(secrets: &[LeasedSecret]) -> impl Iterator<Item = PlacedFile> {
    let as_files = secrets.iter().filter(|secret| secret.form == SecretForm::File);
    as_files.map(|secret| PlacedFile { path: path_of(secret).into(), text: secret.value.clone() })
}

/// Says where secrets stand in something that is delivered as it is. `found`: name and offset.
pub fn report(spool: &Spool, place: SecretPlace, path: &str, found: &[(String, u64)]) {
    for (name, offset_bytes) in found.iter().take(FOUND_MAX) {
        let (name, path, offset_bytes) = (name.clone(), path.to_owned(), *offset_bytes);
        spool.event(EventSource::System, EventBody::SecretFound { name, place, path, offset_bytes });
    }
    if found.len() > FOUND_MAX {
        let more = found.len() - FOUND_MAX;
        spool.note(LogLevel::Warn, format!("secrets stand at {more} more places of `{path}`"));
    }
}

const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Looks through a content as it is read. Without secrets it does nothing.
pub struct Search<'r> {
    redactor: Option<&'r Redactor>,
    window: Vec<u8>,
    /// Where the window begins.
    at: u64,
    found: BTreeSet<(u64, String)>,
}

impl<'r> Search<'r> {
    pub fn new(redactor: Option<&'r Redactor>) -> Self {
        Self { redactor, window: Vec::new(), at: 0, found: BTreeSet::new() }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if self.redactor.is_none() {
            return;
        }
        self.window.extend_from_slice(bytes);
        if self.window.len() >= WINDOW_BYTES {
            self.look();
            // Looked through again with what follows: a secret may lie across.
            let done = self.window.len() - redaction::HELD_BYTES_MAX;
            self.window.drain(..done);
            self.at += done as u64;
        }
    }

    fn look(&mut self) {
        let Some(redactor) = self.redactor else { return };
        self.found
            .extend(find(redactor, &self.window).into_iter().map(|(name, offset)| (self.at + offset, name)));
    }

    /// Name and offset of each.
    pub fn finish(mut self) -> Vec<(String, u64)> {
        self.look();
        self.found.into_iter().map(|(offset, name)| (name, offset)).collect()
    }
}

/// Looks through a whole content.
pub fn find(redactor: &Redactor, bytes: &[u8]) -> Vec<(String, u64)> {
    redactor.find(bytes).into_iter().map(|finding| (finding.name, finding.at.start as u64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_in_the_form_that_was_asked_for() {
        let secret =
            |name: &str, form| LeasedSecret { name: name.into(), form, value: "s3cr3t-value".into() };
        let secrets = [secret("TOKEN", SecretForm::Environment), secret("KEY", SecretForm::File)];
        let environment = environment(&secrets);
        assert_eq!(environment["TOKEN"], "s3cr3t-value");
        assert_eq!(environment["KEY_FILE"], "/run/secrets/KEY");
        assert!(!environment.contains_key("KEY"));
        let files: Vec<_> = files(&secrets).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].text, "s3cr3t-value");
        assert!(!format!("{secrets:?} {files:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_search_finds_what_lies_across_its_windows() {
        let redactor = Redactor::new([("TOKEN", "hunter2-hunter2")]).unwrap();
        for at in [0, WINDOW_BYTES - 7, WINDOW_BYTES, 2 * WINDOW_BYTES - redaction::HELD_BYTES_MAX - 3] {
            let mut text = vec![b'.'; 3 * WINDOW_BYTES];
            text[at..at + 15].copy_from_slice(b"hunter2-hunter2");
            let mut search = Search::new(Some(&redactor));
            text.chunks(100_003).for_each(|chunk| search.feed(chunk));
            assert_eq!(search.finish(), [("TOKEN".to_owned(), at as u64)]);
        }
    }

    /// The plane refuses what could not be redacted by the very rule of the redaction.
    #[test]
    fn the_contract_has_the_redactions_limits() {
        use garde::Validate;
        use shared_contracts::limits;
        use shared_contracts::secrets::SetSecret;
        assert_eq!(redaction::SYMBOLS_MIN, limits::SECRET_SYMBOLS_MIN);
        assert_eq!(redaction::VALUES_BYTES_MAX, limits::SECRETS_BYTES_PER_EXECUTION_MAX);
        for value in ["abc", "a\"b'c d$e:\\\n", "abcdef", "a:b:c:d:e:f", "%41%42", "12345\t"] {
            let told = SetSecret { value: value.into() }.validate().is_ok();
            assert_eq!(told, Redactor::new([("NAME", value)]).is_ok(), "{value:?}");
        }
    }
}
