//! One folder for all state of one plane: D1, Durable Objects, R2, secrets, logs. Two processes never share it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Secrets;
use crate::layout;

/// For the Worker's state: nobody else's business.
const PRIVATE: u32 = 0o700;
/// A test may give the Worker another one, or none.
const SECRETS_KEY: &str = "SECRETS_KEY";
/// Sandboxes run as other users and have their overlays below the container agent's folder: they must get there.
const PASSABLE: u32 = 0o711;

#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    is_removed: bool,
    /// Held for as long as the folder is in use; beside the folder, so that it can be emptied under the lock.
    _lock: File,
}

impl StateFolder {
    pub fn open(name: &str, is_fresh: bool, is_removed: bool) -> Result<Self> {
        let parent = layout::state();
        make_folder(&parent, PASSABLE)?;
        let path = parent.join(name);
        let lock_path = parent.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).or_else(|_| {
            // Whoever left last has just taken the parent along.
            fs::create_dir_all(&parent)?;
            File::create(&lock_path)
        });
        let lock = lock.with_context(|| format!("cannot make {}", lock_path.display()))?;
        if lock.try_lock().is_err() {
            bail!("another process uses {}; stop it first, or choose another name", path.display());
        }
        if is_fresh && path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        make_folder(&path, PASSABLE)?;
        make_folder(&worker_folder(&path), PRIVATE)?;
        Ok(Self { path, is_removed, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn secrets_file(&self) -> PathBuf {
        self.path.join("secrets.json")
    }

    /// None in a folder that is new.
    pub fn read_secrets(&self) -> Result<Option<Secrets>> {
        let file = self.secrets_file();
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let secrets = serde_json::from_str(&text).with_context(|| {
            format!("{} is not what this version writes; delete {}", file.display(), self.path.display())
        })?;
        Ok(Some(secrets))
    }

    pub fn write_secrets(&self, secrets: &Secrets) -> Result<()> {
        let text = serde_json::to_string_pretty(secrets).context("cannot write the secrets as JSON")?;
        write_private(&self.secrets_file(), &text)
    }

    /// The Worker's variables, where wrangler reads them; not on its command line, which every user can see.
    pub fn write_vars(&self, secrets: &Secrets, more: &[(String, String)]) -> Result<()> {
        let mut text = format!("PATCHBAY_SIGNING_KEY={}\n", secrets.signing_key);
        if !more.iter().any(|(name, _)| name == SECRETS_KEY) {
            text.push_str(&format!("{SECRETS_KEY}={}\n", secrets.secrets_key));
        }
        for (name, value) in more {
            if value.contains(['\n', '"']) {
                bail!(
                    "the variable {name} holds a line feed or a quotation mark, which its file cannot carry"
                );
            }
            text.push_str(&format!("{name}=\"{value}\"\n"));
        }
        write_private(&vars_file(&self.path), &text)
    }
}

/// D1, Durable Objects, R2 and what else wrangler keeps.
pub fn worker_folder(folder: &Path) -> PathBuf {
    folder.join("worker")
}

pub fn vars_file(folder: &Path) -> PathBuf {
    folder.join("vars")
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        if self.is_removed {
            let _ = fs::remove_dir_all(&self.path);
            let _ = fs::remove_file(self.path.with_added_extension("lock"));
            // The parent too, unless others have theirs in it.
            self.path.parent().map(fs::remove_dir);
        }
    }
}

fn make_folder(folder: &Path, mode: u32) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.with_context(|| format!("cannot make {}", folder.display()))
}

/// Opens a log that goes on where it ended, readable by this user only.
pub fn append_private(file: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    opened.with_context(|| format!("cannot write {}", file.display()))
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    // A file that exists keeps its mode: a new one each time.
    let _ = fs::remove_file(file);
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot make {}", file.display()))?;
    opened.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}
