//! A registry's documents: index, manifest, configuration. Each is what its digest says; what they say is untrusted.

use serde::Deserialize;
use shared_contracts::hash::Sha256;

use super::error::Fault;

pub const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
pub const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGURATIONS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// How a layer is compressed is told by its first bytes; here only that it is one.
const LAYERS: [&str; 8] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];
/// An overlay of more is refused by the common engines, too.
const LAYERS_MAX: usize = 128;

/// A blob's name, with what else it is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub digest: Sha256,
    pub size_bytes: u64,
}

#[derive(Debug)]
pub enum Document {
    /// The manifest of this machine's platform.
    Index(Blob),
    Manifest {
        config: Blob,
        layers: Vec<Blob>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
}

impl Platform {
    /// The one whose programs run here.
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned() }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)
    }
}

/// An index or a manifest as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

impl RawDescriptor {
    fn blob(&self) -> Result<Blob, Fault> {
        let digest = self.digest.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
        let digest = digest.ok_or_else(|| Fault::Malformed {
            what: "manifest",
            cause: "a digest in it is not `sha256:` and 64 hexadecimal digits".to_owned(),
        })?;
        Ok(Blob { digest, size_bytes: self.size })
    }
}

impl Document {
    pub fn read(bytes: &[u8], platform: &Platform) -> Result<Self, Fault> {
        let malformed = |cause: String| Fault::Malformed { what: "manifest", cause };
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if raw.schema_version != 2 {
            return Err(malformed(format!(
                "its schema version is {}, and only 2 is read",
                raw.schema_version
            )));
        }
        let is =
            |known: [&str; 2]| raw.media_type.as_deref().is_none_or(|media_type| known.contains(&media_type));
        match &raw {
            Raw { manifests: Some(manifests), config: None, layers: None, .. } if is(INDEXES) => {
                choose(manifests, platform).map(Self::Index)
            }
            Raw { manifests: None, config: Some(config), layers: Some(layers), .. } if is(MANIFESTS) => {
                Ok(Self::Manifest { config: read_config(config)?, layers: read_layers(layers)? })
            }
            Raw { media_type: Some(media_type), .. } if !is(INDEXES) && !is(MANIFESTS) => {
                Err(Fault::NotAnImage(media_type.clone()))
            }
            // Both at once could mean two images to two readers.
            _ => Err(malformed(
                "it is neither an index of manifests nor one with a configuration and layers".to_owned(),
            )),
        }
    }
}

fn choose(manifests: &[RawDescriptor], platform: &Platform) -> Result<Blob, Fault> {
    let fits = |entry: &&RawDescriptor| {
        MANIFESTS.contains(&entry.media_type.as_str())
            && entry
                .platform
                .as_ref()
                .is_some_and(|found| found.os == platform.os && found.architecture == platform.architecture)
    };
    manifests.iter().find(fits).map_or_else(
        || {
            // `unknown` is where attestations stand.
            let mut found: Vec<_> = manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .filter(|found| found.os != "unknown")
                .map(|found| format!("{}/{}", found.os, found.architecture))
                .collect();
            found.dedup();
            Err(Fault::OtherPlatform { wanted: platform.to_string(), found: found.join(", ") })
        },
        RawDescriptor::blob,
    )
}

fn read_config(config: &RawDescriptor) -> Result<Blob, Fault> {
    if !CONFIGURATIONS.contains(&config.media_type.as_str()) {
        return Err(Fault::NotAnImage(config.media_type.clone()));
    }
    config.blob()
}

fn read_layers(layers: &[RawDescriptor]) -> Result<Vec<Blob>, Fault> {
    if layers.len() > LAYERS_MAX {
        return Err(Fault::Malformed {
            what: "manifest",
            cause: format!("it has {} layers, more than {LAYERS_MAX}", layers.len()),
        });
    }
    let layer = |layer: &RawDescriptor| match LAYERS.contains(&layer.media_type.as_str()) {
        true => layer.blob(),
        false => Err(Fault::NotAnImage(layer.media_type.clone())),
    };
    layers.iter().map(layer).collect()
}

/// What a sandbox takes from an image's configuration.
#[derive(Debug, Default)]
pub struct Configuration {
    pub environment: Vec<(String, String)>,
    pub working_directory: Option<std::path::PathBuf>,
    pub diff_ids: Vec<Sha256>,
}

#[derive(Deserialize)]
struct RawConfiguration {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    config: Option<RawProcess>,
    rootfs: RawRoot,
}

#[derive(Default, Deserialize)]
struct RawProcess {
    #[serde(rename = "Env")]
    environment: Option<Vec<String>>,
    #[serde(rename = "WorkingDir")]
    working_directory: Option<String>,
}

#[derive(Deserialize)]
struct RawRoot {
    diff_ids: Vec<String>,
}

/// An image's `Env`: what is not `NAME=value` is left out.
pub fn variables<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<(String, String)> {
    let variable = |text: &String| {
        let (name, value) = text.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    texts.into_iter().filter_map(variable).collect()
}

impl Configuration {
    pub fn read(bytes: &[u8], platform: &Platform, layers: usize) -> Result<Self, Fault> {
        let malformed = |cause: String| Fault::Malformed { what: "configuration", cause };
        let raw: RawConfiguration =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if raw.os != platform.os || raw.architecture != platform.architecture {
            let found = format!("{}/{}", raw.os, raw.architecture);
            return Err(Fault::OtherPlatform { wanted: platform.to_string(), found });
        }
        let diff_id = |text: &String| text.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
        let diff_ids: Option<Vec<_>> = raw.rootfs.diff_ids.iter().map(diff_id).collect();
        let diff_ids = diff_ids.ok_or_else(|| malformed("a diff_id in it is no sha256".to_owned()))?;
        if diff_ids.len() != layers {
            return Err(malformed(format!("it has {} diff_ids for {layers} layers", diff_ids.len())));
        }
        let process = raw.config.unwrap_or_default();
        let texts = process.environment.iter().flatten().chain(&process.working_directory);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(malformed("a zero stands in its environment or working directory".to_owned()));
        }
        let environment = variables(process.environment.iter().flatten());
        let working_directory = process
            .working_directory
            .filter(|directory| !directory.is_empty())
            .map(|directory| std::path::Path::new("/").join(directory));
        Ok(Self { environment, working_directory, diff_ids })
    }
}
