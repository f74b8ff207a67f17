//! One setting at a time: what its text means, or what is wrong with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{ConfigError, RegistryFile, SettingsFile};
use crate::images::{Credentials, ImageReference, RegistrySettings};
use crate::offer::HOST;
use crate::sandbox::Toolchain;
use crate::sandbox::oci::EngineSetting;
use crate::tools;

pub(super) fn engine(text: Option<&str>) -> Result<EngineSetting, ConfigError> {
    match text {
        None => Ok(EngineSetting::Search),
        Some("off") => Ok(EngineSetting::Off),
        Some(text) => {
            let path = Path::new(text.strip_prefix("unix://").unwrap_or(text));
            let rule = "it must be the path of a unix socket, such as /run/docker.sock, or `off`";
            match path.is_absolute() {
                true => Ok(EngineSetting::Socket(path.to_owned())),
                false => Err(ConfigError::Invalid { name: "engine", value: text.into(), rule: rule.into() }),
            }
        }
    }
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    name: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), ConfigError> {
    if value >= least && value <= most {
        return Ok(());
    }
    let rule = format!("it must be from {least} to {most}");
    Err(ConfigError::Invalid { name, value: value.to_string(), rule })
}

pub(super) fn read_file(path: &Path) -> Result<SettingsFile, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        what: "the settings file",
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::File { path: path.to_owned(), detail: error.to_string() })
}

pub(super) fn read_token(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|source| ConfigError::Read {
        what: "the token file",
        path: path.to_owned(),
        source,
    })
}

/// At least the machine's own programs. A name that only an engine knows is left to it.
pub(super) fn images_of(images: Vec<String>) -> Result<Vec<String>, ConfigError> {
    for image in images.iter().filter(|image| image.starts_with("dir:") || image.starts_with("tar:")) {
        if let Err(error) = image.parse::<ImageReference>() {
            return Err(ConfigError::Invalid {
                name: "image",
                value: image.clone(),
                rule: error.to_string(),
            });
        }
    }
    Ok(if images.is_empty() { vec![HOST.to_owned()] } else { images })
}

pub(super) fn registries_of(files: BTreeMap<String, RegistryFile>) -> Result<RegistrySettings, ConfigError> {
    let mut settings = RegistrySettings::default();
    for (host, RegistryFile { user, password_file, insecure }) in files {
        match (user, password_file) {
            (Some(user), Some(path)) => {
                let password = read_token(&path)?;
                settings.credentials.insert(host.clone(), Credentials { user, password });
            }
            (None, None) => {}
            _ => {
                let rule = "it needs both `user` and `password_file`, or neither".into();
                return Err(ConfigError::Invalid { name: "registries", value: host, rule });
            }
        }
        if insecure {
            settings.insecure.insert(host);
        }
    }
    Ok(settings)
}

pub(super) fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Invalid {
        name: "egress_vouched",
        value: text.into(),
        rule: "it must be an address and a port, such as 10.0.0.7:443 or [fd00::7]:443".into(),
    })
}

pub(super) fn toolchain(text: &str) -> Result<Toolchain, ConfigError> {
    let path = PathBuf::from(text.strip_suffix(":ro").unwrap_or(text));
    let invalid =
        |rule: &str| ConfigError::Invalid { name: "toolchain", value: text.into(), rule: rule.into() };
    if !path.is_absolute() || path.components().any(|part| matches!(part, std::path::Component::ParentDir)) {
        return Err(invalid("it must be an absolute path without `..`"));
    }
    // These would show the machine's secrets and sockets, or cover what the sandbox builds itself.
    const REFUSED: [&str; 11] = [
        "/",
        "/proc",
        "/sys",
        "/dev",
        "/run",
        "/tmp",
        "/var",
        "/etc",
        "/workspace",
        "/var/run",
        tools::FOLDER,
    ];
    if REFUSED.iter().any(|refused| path == Path::new(refused)) {
        return Err(invalid("this directory is never shown to a sandbox; name one below it"));
    }
    if !path.exists() {
        return Err(invalid("nothing is there"));
    }
    Ok(Toolchain { path })
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(super) fn default_state_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/var/lib/patchbay-agent".into();
    }
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .unwrap_or_else(|| "/var/tmp".into())
        .join("patchbay-agent")
}
