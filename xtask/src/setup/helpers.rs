//! Programs from crates.io, each in a folder named by its version, outside `target/`: installing takes minutes.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::toolchain::outside_cargo;
use crate::layout;
use crate::process::{run, text_of};
use crate::terminal;

#[derive(Debug, Clone)]
pub struct Helper {
    pub package: &'static str,
    pub program: &'static str,
    pub version: Cow<'static, str>,
}

pub const WORKER_BUILD: Helper =
    Helper { package: "worker-build", program: "worker-build", version: Cow::Borrowed("0.8.7") };
pub const CARGO_DENY: Helper =
    Helper { package: "cargo-deny", program: "cargo-deny", version: Cow::Borrowed("0.20.2") };

/// wasm-bindgen's program must be of exactly its library's version.
pub fn wasm_bindgen() -> Result<Helper> {
    let file = layout::repository().join("Cargo.lock");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version = locked_version(&text, "wasm-bindgen").with_context(|| {
        format!("{} has no wasm-bindgen; is the Worker in the workspace?", file.display())
    })?;
    Ok(Helper {
        package: "wasm-bindgen-cli",
        program: "wasm-bindgen",
        version: Cow::Owned(version.to_owned()),
    })
}

fn locked_version<'text>(lock_file: &'text str, package: &str) -> Option<&'text str> {
    let wanted = format!("name = \"{package}\"");
    let mut lines = lock_file.lines();
    lines.find(|line| *line == wanted)?;
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

impl Helper {
    pub fn path(&self) -> Result<PathBuf> {
        Ok(layout::helper_folder(self.package, &self.version)?.join("bin").join(self.program))
    }

    fn is_there(&self) -> Result<bool> {
        let version = text_of(Command::new(self.path()?).arg("--version")).unwrap_or_default();
        Ok(version.split_whitespace().any(|word| word == self.version))
    }

    pub(super) fn ensure(&self) -> Result<()> {
        if self.is_there()? {
            terminal::found(self.package, &self.version, None);
            return Ok(());
        }
        let started = Instant::now();
        let doing = format!("installing {} {} (minutes, once)", self.package, self.version);
        if let Err(error) = run(&doing, &mut self.install(true)?) {
            // A registry that lags behind lacks a version which the program's lock file names.
            if !format!("{error:#}").contains("failed to select a version") {
                return Err(error);
            }
            terminal::notice(&format!(
                "{}'s lock file names a version that this registry lacks; installing with what it has",
                self.package
            ));
            run(&doing, &mut self.install(false)?)?;
        }
        terminal::found(self.package, &format!("{} installed", self.version), Some(started.elapsed()));
        Ok(())
    }

    fn install(&self, is_locked: bool) -> Result<Command> {
        let root = layout::helper_folder(self.package, &self.version)?;
        let mut cargo = Command::new("cargo");
        outside_cargo(&mut cargo);
        cargo.arg("install").arg("--root").arg(&root).arg(self.package);
        cargo.args(["--version", &format!("={}", self.version)]);
        if is_locked {
            cargo.arg("--locked");
        }
        // cargo's own temporary folder, which it removes.
        cargo.env_remove("CARGO_TARGET_DIR");
        Ok(cargo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_says_the_version() {
        let text = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(text, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(text, "absent"), None);
    }
}
