//! Secrets of a project: written, never read back; given to executions that name them.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::limits::{SECRET_SYMBOLS_MIN, SECRET_VALUE_BYTES_MAX};

/// Bytes that do not count when text is searched for a secret, because quoting and wrapping put them anywhere.
const UNCOUNTED: &[u8] = b" \t\r\n\x0b\x0c'\"$:\\";

/// A shorter one would stand in clean text by chance, and every log would be full of holes.
fn long_enough(value: &str, _: &()) -> garde::Result {
    let symbols = value.bytes().filter(|byte| !UNCOUNTED.contains(byte)).count();
    if symbols < SECRET_SYMBOLS_MIN {
        return Err(garde::Error::new(format!(
            "has {symbols} bytes without quotes, colons, `$`, backslashes and white space; with fewer than \
             {SECRET_SYMBOLS_MIN} it would stand in clean text by chance and cannot be kept out of logs"
        )));
    }
    Ok(())
}

/// A name is that of an environment variable.
pub fn secret_name(name: &str, _: &()) -> garde::Result {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    if begins && name.len() <= 64 && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    Err(garde::Error::new(format!(
        "`{}` is not a secret's name: at most 64 letters, digits and `_`, not starting with a digit",
        name.escape_debug()
    )))
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SetSecret {
    #[garde(length(bytes, max = SECRET_VALUE_BYTES_MAX), custom(crate::text::no_nul), custom(long_enough))]
    pub value: String,
}

/// A value is in no log, not even by accident.
impl std::fmt::Debug for SetSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetSecret")
    }
}

/// What can be known of one afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Secret {
    pub name: String,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
}

/// How an execution gets a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SecretForm {
    /// A variable of its name.
    #[default]
    Environment,
    /// A file `/run/secrets/<name>` in memory; the variable `<name>_FILE` says where.
    File,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecretUse {
    #[garde(custom(secret_name))]
    pub name: String,
    #[serde(default, rename = "as")]
    #[garde(skip)]
    pub form: SecretForm,
}

/// A secret on its way to the machine that runs the execution.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedSecret {
    pub name: String,
    pub form: SecretForm,
    pub value: String,
}

impl std::fmt::Debug for LeasedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeasedSecret")
            .field("name", &self.name)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}
