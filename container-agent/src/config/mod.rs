//! The agent's settings: a TOML file, then the environment, then flags; the later wins. How each is read: [`values`].

mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use shared_contracts::limits::{
    CONTAINER_AGENT_CAPACITY_MAX, CPU_CORES_MAX, CPU_CORES_MIN, MEMORY_MB_MAX, MEMORY_MB_MIN, NAME_CHARS_MAX,
};

use self::values::{
    address, default_state_dir, engine, host_name, images_of, read_file, read_token, registries_of,
    toolchain, within,
};
use crate::images::RegistrySettings;
use crate::machine;
use crate::sandbox::Toolchain;
use crate::sandbox::oci::EngineSetting;

const CAPACITY_DEFAULT: u32 = 2;
const CACHE_MB_DEFAULT: u64 = 10_240;
const IMAGE_STORE_MB_DEFAULT: u64 = 40_960;
const FILE_DEFAULT: &str = "/etc/patchbay/agent.toml";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LimitsMode {
    /// No execution without its memory and process limits.
    #[default]
    Enforce,
    /// Runs without any: only for machines without writable control groups, and only knowingly.
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceDisk {
    /// A memory file system of `disk_mb`.
    #[default]
    Memory,
    /// Below the state directory, without a limit of its own.
    Directory,
}

/// Flags shared by `run`, `doctor` and `try`; each may come from the environment.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Settings file (TOML); /etc/patchbay/agent.toml where it exists
    #[arg(long, env = "PATCHBAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The plane, such as https://patchbay.example.com
    #[arg(long, env = "PATCHBAY_URL")]
    pub url: Option<String>,
    /// File that holds the access token (or set PATCHBAY_TOKEN)
    #[arg(long, env = "PATCHBAY_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// This machine's name; the host name unless given
    #[arg(long, env = "PATCHBAY_NAME")]
    pub name: Option<String>,
    /// Executions at once
    #[arg(long, env = "PATCHBAY_CAPACITY")]
    pub capacity: Option<u32>,
    /// Memory that one execution may have; what asks for more goes elsewhere. All of the machine's unless given, and then
    /// at least what an execution asks for by default
    #[arg(long, env = "PATCHBAY_MEMORY_MB_MAX", value_name = "MB")]
    pub memory_mb_max: Option<u32>,
    /// Processor cores that one execution may have; what asks for more goes elsewhere. All of the machine's unless
    /// given, and then at least what an execution asks for by default
    #[arg(long, env = "PATCHBAY_CPU_CORES_MAX", value_name = "CORES")]
    pub cpu_cores_max: Option<f64>,
    /// Cache, spools and mount points; one agent a directory
    #[arg(long, env = "PATCHBAY_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Whether limits must be enforceable
    #[arg(long, env = "PATCHBAY_LIMITS", value_enum)]
    pub limits: Option<LimitsMode>,
    /// Where executions write
    #[arg(long, env = "PATCHBAY_WORKSPACE_DISK", value_enum)]
    pub workspace_disk: Option<WorkspaceDisk>,
    /// Size that the blob cache may have
    #[arg(long, env = "PATCHBAY_CACHE_MB")]
    pub cache_mb: Option<u64>,
    /// Directory that every sandbox may read, at the same path; repeat for more (`:ro` at the end is understood)
    #[arg(long = "toolchain", env = "PATCHBAY_TOOLCHAINS", value_name = "DIR", value_delimiter = ',')]
    pub toolchains: Vec<String>,
    /// Image that executions may name: `host`, `dir:/path`, `tar:/path`, a registry's by digest, `registry.example.com/*`,
    /// or `*` for any by digest; repeat for more, the first is the default. Only `host` unless given
    #[arg(long = "image", env = "PATCHBAY_IMAGES", value_name = "IMAGE", value_delimiter = ',')]
    pub images: Vec<String>,
    /// Size that unpacked images may have together
    #[arg(long, env = "PATCHBAY_IMAGE_STORE_MB")]
    pub image_store_mb: Option<u64>,
    /// Sandboxes kept ready, so that an execution starts sooner; each takes a few megabytes. None unless given
    #[arg(long, env = "PATCHBAY_WARM_SLOTS")]
    pub warm_slots: Option<u32>,
    /// Address (`10.0.0.7:443`) on this machine's own networks that projects may list for egress; repeat for more
    #[arg(
        long = "egress-vouched",
        env = "PATCHBAY_EGRESS_VOUCHED",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub egress_vouched: Vec<String>,
    /// Directories put before the image's PATH, joined by colons; not before a PATH that an execution sets itself
    #[arg(long, env = "PATCHBAY_PATH_PREFIX", value_name = "DIRS")]
    pub path_prefix: Option<String>,
    /// Socket of Docker or Podman, or `off`; looked for unless given
    #[arg(long, env = "PATCHBAY_ENGINE", value_name = "SOCKET")]
    pub engine: Option<String>,
    /// Image of the engine's for executions that name none
    #[arg(long, env = "PATCHBAY_ENGINE_IMAGE", value_name = "NAME")]
    pub engine_image: Option<String>,
}

/// The settings file. Every key is optional; an unknown one is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SettingsFile {
    url: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    name: Option<String>,
    capacity: Option<u32>,
    memory_mb_max: Option<u32>,
    cpu_cores_max: Option<f64>,
    state_dir: Option<PathBuf>,
    limits: Option<LimitsMode>,
    workspace_disk: Option<WorkspaceDisk>,
    cache_mb: Option<u64>,
    toolchains: Vec<String>,
    path_prefix: Option<String>,
    images: Vec<String>,
    image_store_mb: Option<u64>,
    /// By the registry's host, as images name it.
    registries: BTreeMap<String, RegistryFile>,
    /// Sandboxes kept ready.
    warm_slots: Option<u32>,
    /// Addresses on this machine's own networks that a project may list for egress, such as a registry of the company's.
    egress_vouched: Vec<String>,
    engine: Option<String>,
    engine_image: Option<String>,
    /// Variables of every sandbox; an execution's own win.
    environment: BTreeMap<String, String>,
}

/// How one registry is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RegistryFile {
    user: Option<String>,
    password_file: Option<PathBuf>,
    /// Over plain HTTP.
    insecure: bool,
}

/// What every command needs.
#[derive(Debug, Clone)]
pub struct Settings {
    pub state_dir: PathBuf,
    pub limits: LimitsMode,
    pub workspace_disk: WorkspaceDisk,
    pub cache_mb: u64,
    pub toolchains: Vec<Toolchain>,
    pub path_prefix: Option<String>,
    /// Which images executions may name, as `OfferedSandbox::images` has them.
    pub images: Vec<String>,
    pub image_store_mb: u64,
    pub registries: RegistrySettings,
    /// How many sandboxes wait.
    pub warm_slots: u32,
    /// Addresses that the proxy dials although they are private.
    pub egress_vouched: Vec<SocketAddr>,
    pub engine: EngineSetting,
    pub engine_image: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub name: String,
    pub capacity: u32,
    /// What one execution may have here.
    pub memory_mb_max: u32,
    pub cpu_cores_max: f64,
    url: Option<String>,
    token: Option<String>,
}

/// What `run` needs besides.
#[derive(Debug, Clone)]
pub struct Plane {
    /// `http` or `https`, without a slash at the end.
    pub url: String,
    pub token: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {what} {path}: {source}")]
    Read { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the settings file {path} is not valid: {detail}")]
    File { path: PathBuf, detail: String },
    #[error("{name} is missing; set it with {how}")]
    Missing { name: &'static str, how: &'static str },
    #[error("{name} is `{value}`, but {rule}")]
    Invalid { name: &'static str, value: String, rule: String },
}

impl Settings {
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read_file(path)?,
            None if Path::new(FILE_DEFAULT).exists() => read_file(Path::new(FILE_DEFAULT))?,
            None => SettingsFile::default(),
        };
        Self::merge(flags, file, std::env::var("PATCHBAY_TOKEN").ok())
    }

    fn merge(flags: &Flags, file: SettingsFile, token_variable: Option<String>) -> Result<Self, ConfigError> {
        let token = match (&flags.token_file, token_variable, file.token, &file.token_file) {
            (Some(path), ..) => Some(read_token(path)?),
            (None, Some(token), ..) | (None, None, Some(token), _) => Some(token),
            (None, None, None, Some(path)) => Some(read_token(path)?),
            (None, None, None, None) => None,
        };
        let capacity = flags.capacity.or(file.capacity).unwrap_or(CAPACITY_DEFAULT);
        within("capacity", capacity, 1, CONTAINER_AGENT_CAPACITY_MAX)?;
        let memory_mb_max = flags.memory_mb_max.or(file.memory_mb_max).unwrap_or_else(machine::memory_mb);
        within("memory_mb_max", memory_mb_max, MEMORY_MB_MIN, MEMORY_MB_MAX)?;
        let cpu_cores_max = flags.cpu_cores_max.or(file.cpu_cores_max).unwrap_or_else(machine::cpu_cores);
        within("cpu_cores_max", cpu_cores_max, CPU_CORES_MIN, CPU_CORES_MAX)?;
        let name = flags.name.clone().or(file.name).unwrap_or_else(host_name);
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            let rule = format!("it must be one line of 1 to {NAME_CHARS_MAX} characters");
            return Err(ConfigError::Invalid { name: "name", value: name.escape_debug().to_string(), rule });
        }
        let toolchains = if flags.toolchains.is_empty() { &file.toolchains } else { &flags.toolchains };
        let warm_slots = flags.warm_slots.or(file.warm_slots).unwrap_or(0);
        within("warm_slots", warm_slots, 0, CONTAINER_AGENT_CAPACITY_MAX)?;
        let vouched =
            if flags.egress_vouched.is_empty() { &file.egress_vouched } else { &flags.egress_vouched };
        Ok(Self {
            state_dir: flags.state_dir.clone().or(file.state_dir).unwrap_or_else(default_state_dir),
            limits: flags.limits.or(file.limits).unwrap_or_default(),
            workspace_disk: flags.workspace_disk.or(file.workspace_disk).unwrap_or_default(),
            cache_mb: flags.cache_mb.or(file.cache_mb).unwrap_or(CACHE_MB_DEFAULT),
            toolchains: toolchains.iter().map(|text| toolchain(text)).collect::<Result<_, _>>()?,
            path_prefix: flags.path_prefix.clone().or(file.path_prefix).filter(|prefix| !prefix.is_empty()),
            images: images_of(if flags.images.is_empty() { file.images } else { flags.images.clone() })?,
            image_store_mb: flags.image_store_mb.or(file.image_store_mb).unwrap_or(IMAGE_STORE_MB_DEFAULT),
            registries: registries_of(file.registries)?,
            warm_slots,
            egress_vouched: vouched.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
            engine: engine(flags.engine.as_deref().or(file.engine.as_deref()))?,
            engine_image: flags.engine_image.clone().or(file.engine_image),
            environment: file.environment,
            name,
            capacity,
            memory_mb_max,
            cpu_cores_max,
            url: flags.url.clone().or(file.url),
            token,
        })
    }

    pub fn plane(&self) -> Result<Plane, ConfigError> {
        let url = self.url.clone().ok_or(ConfigError::Missing {
            name: "the plane's URL",
            how: "--url, PATCHBAY_URL or `url` in the settings file",
        })?;
        let url = url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&url);
        if !parsed.is_ok_and(|parsed| matches!(parsed.scheme(), "http" | "https") && parsed.has_host()) {
            let rule = "it must be like https://patchbay.example.com".into();
            return Err(ConfigError::Invalid { name: "the plane's URL", value: url, rule });
        }
        let token = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        let token = token.map(str::to_owned).ok_or(ConfigError::Missing {
            name: "the access token",
            how: "PATCHBAY_TOKEN, --token-file, or `token_file` in the settings file",
        })?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::Invalid {
                name: "the access token",
                value: "(hidden)".into(),
                rule: "it must be one word of printable ASCII; copy it again".into(),
            });
        }
        Ok(Plane { url, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file: SettingsFile =
            toml::from_str("url = 'http://a'\ncapacity = 3\nname = 'file'\ntoken = 't1'").unwrap();
        let flags = Flags { name: Some("flag".into()), ..Flags::default() };
        let settings = Settings::merge(&flags, file, Some("t2".into())).unwrap();
        assert_eq!((settings.name.as_str(), settings.capacity), ("flag", 3));
        let plane = settings.plane().unwrap();
        assert_eq!((plane.url.as_str(), plane.token.as_str()), ("http://a", "t2"));
    }

    #[test]
    fn an_execution_may_have_the_whole_machine_unless_the_settings_say_less() {
        let whole = Settings::merge(&Flags::default(), SettingsFile::default(), None).unwrap();
        assert_eq!((whole.memory_mb_max, whole.cpu_cores_max), (machine::memory_mb(), machine::cpu_cores()));
        let file: SettingsFile = toml::from_str("memory_mb_max = 512\ncpu_cores_max = 0.5").unwrap();
        let flags = Flags { memory_mb_max: Some(1_024), ..Flags::default() };
        let part = Settings::merge(&flags, file, None).unwrap();
        assert_eq!((part.memory_mb_max, part.cpu_cores_max), (1_024, 0.5));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let error = toml::from_str::<SettingsFile>("capcity = 3").unwrap_err().to_string();
        assert!(error.contains("capcity"), "{error}");
        let flags = Flags { capacity: Some(0), ..Flags::default() };
        let error = Settings::merge(&flags, SettingsFile::default(), None).unwrap_err().to_string();
        assert!(error.contains("capacity is `0`"), "{error}");
        for cores in [0.0, 1_000.0, f64::NAN] {
            let flags = Flags { cpu_cores_max: Some(cores), ..Flags::default() };
            let error = Settings::merge(&flags, SettingsFile::default(), None).unwrap_err().to_string();
            assert!(error.contains("cpu_cores_max is"), "{error}");
        }
        let flags = Flags { url: Some("ftp://x".into()), ..Flags::default() };
        let error = Settings::merge(&flags, SettingsFile::default(), None).unwrap().plane().unwrap_err();
        assert!(error.to_string().contains("ftp://x"), "{error}");
        let flags = Flags { engine: Some("tcp://10.0.0.7:2375".into()), ..Flags::default() };
        let error = Settings::merge(&flags, SettingsFile::default(), None).unwrap_err().to_string();
        assert!(error.contains("engine is `tcp://10.0.0.7:2375`"), "{error}");
        let flags = Flags { toolchains: vec!["/run".into()], ..Flags::default() };
        assert!(Settings::merge(&flags, SettingsFile::default(), None).is_err());
    }
}
