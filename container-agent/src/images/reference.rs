//! What a sandbox's root is made of, as people write it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use shared_contracts::hash::Sha256;

const REPOSITORY_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
/// The name that people know for the registry that answers elsewhere.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageReference {
    /// The host's own system.
    Host,
    /// `dir:/path`
    Directory(PathBuf),
    /// `tar:/path.tar`, `.tar.gz`, `.tar.zst`
    Tarball(PathBuf),
    /// `docker.io/library/debian:12@sha256:…`
    Registry(RegistryReference),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    /// Host, and port if it is not the usual one.
    host: String,
    repository: String,
    /// For people: what is pulled is the digest.
    tag: Option<String>,
    digest: Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error(
        "an image is `host`, `dir:/path`, `tar:/path.tar.gz` or `registry.example.org/name@sha256:…`, and `{0}` is none of them"
    )]
    Unknown(String),
    #[error("`{0}` needs an absolute path behind the colon, such as `/srv/images/base`")]
    RelativePath(String),
    #[error(
        "`{0}` has no digest: a tag may be moved to another image at any time. Write `{0}@sha256:…`; the digest is what \
         `docker buildx imagetools inspect {0}` or `skopeo inspect docker://{0}` prints"
    )]
    NoDigest(String),
    #[error("the digest of `{0}` must be `sha256:` and 64 lower-case hexadecimal digits")]
    Digest(String),
    #[error(
        "`{0}` does not name its registry; write `docker.io/library/debian@sha256:…` for `debian@sha256:…`"
    )]
    NoRegistry(String),
    #[error("the {what} of `{reference}` is malformed")]
    Malformed { reference: String, what: &'static str },
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let absolute = |path: &str| {
            let path = PathBuf::from(path);
            let is_usable = path.is_absolute() && !text.contains('\0');
            if is_usable { Ok(path) } else { Err(ReferenceError::RelativePath(text.to_owned())) }
        };
        match text.split_once(':') {
            _ if text == "host" => Ok(Self::Host),
            Some(("dir", path)) => absolute(path).map(Self::Directory),
            Some(("tar", path)) => absolute(path).map(Self::Tarball),
            _ => text.parse().map(Self::Registry),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("host"),
            Self::Directory(path) => write!(formatter, "dir:{}", path.display()),
            Self::Tarball(path) => write!(formatter, "tar:{}", path.display()),
            Self::Registry(reference) => reference.fmt(formatter),
        }
    }
}

impl FromStr for RegistryReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let malformed = |what| ReferenceError::Malformed { reference: text.to_owned(), what };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let Some((host, path)) = name.split_once('/').filter(|(host, _)| is_named_host(host)) else {
            let is_image = digest.is_some() || name.contains('/');
            let error = if is_image { ReferenceError::NoRegistry } else { ReferenceError::Unknown };
            return Err(error(text.to_owned()));
        };
        if !is_host(host) {
            return Err(malformed("registry"));
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(malformed("name"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(malformed("tag"));
        }
        let digest = digest.ok_or_else(|| ReferenceError::NoDigest(text.to_owned()))?;
        let digest = digest.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
        let digest = digest.ok_or_else(|| ReferenceError::Digest(text.to_owned()))?;
        let repository = if host == DOCKER_HUB && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        Ok(Self { host: host.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        write!(formatter, "@sha256:{}", self.digest)
    }
}

impl RegistryReference {
    /// As it is written, and as credentials are kept for it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where the registry's API answers.
    pub fn api_host(&self) -> &str {
        if self.host == DOCKER_HUB { DOCKER_HUB_API } else { &self.host }
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn digest(&self) -> Sha256 {
        self.digest
    }
}

/// Told apart from the first part of a name as every other tool does.
fn is_named_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':'])
}

/// `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`; nothing that a URL would take for something else.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let is_name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let label = |label: &str| {
                let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                !label.is_empty()
                    && label.bytes().all(is_inner)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            name.len() <= 253 && name.split('.').all(label)
        }
    };
    is_port && is_name
}

/// Whether `host` is this machine, by a name that no resolver is asked for.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Parts of small letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let is_end =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = part.as_bytes();
        let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        is_end(bytes.first())
            && is_end(bytes.last())
            && separators.into_iter().all(|between| {
                matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
            })
    };
    text.len() <= REPOSITORY_BYTES_MAX && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=TAG_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_inner) && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_is_read_and_written_back() {
        for text in ["host", "dir:/srv/base", "tar:/srv/base.tar.zst"] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
        for (text, written) in [
            ("docker.io/library/debian:12", "docker.io/library/debian:12"),
            ("docker.io/debian", "docker.io/library/debian"),
            ("127.0.0.1:5000/base:1", "127.0.0.1:5000/base:1"),
            ("[::1]:5000/a/b__c/d-e.f", "[::1]:5000/a/b__c/d-e.f"),
            ("localhost/base", "localhost/base"),
        ] {
            let reference: ImageReference = format!("{text}{DIGEST}").parse().unwrap();
            assert_eq!(reference.to_string(), format!("{written}{DIGEST}"));
        }
        let ImageReference::Registry(hub) = format!("docker.io/debian{DIGEST}").parse().unwrap() else {
            panic!()
        };
        assert_eq!((hub.api_host(), hub.repository()), ("registry-1.docker.io", "library/debian"));
    }

    #[test]
    fn what_is_none_says_what_to_write() {
        for (text, part) in [
            ("", "is none of them"),
            ("debian", "is none of them"),
            ("dir:base", "absolute"),
            ("tar:", "absolute"),
            ("docker.io/library/debian:12", "imagetools inspect docker.io/library/debian:12"),
            ("ghcr.io/a/b", "has no digest"),
            ("ghcr.io/a/b@sha256:12", "64 lower-case"),
            ("ghcr.io/a/b@sha512:12", "64 lower-case"),
            (&format!("debian{DIGEST}"), "docker.io/library/debian"),
            (&format!("me/mine{DIGEST}"), "does not name its registry"),
            (&format!("user@host.org/a{DIGEST}"), "does not name its registry"),
            (&format!("ho st.org/a{DIGEST}"), "registry of"),
            (&format!("host.org:0/a{DIGEST}"), "registry of"),
            (&format!("host.org:99999/a{DIGEST}"), "registry of"),
            (&format!("-host.org/a{DIGEST}"), "registry of"),
            (&format!("[::g]:1/a{DIGEST}"), "registry of"),
            (&format!("host.org/A{DIGEST}"), "name of"),
            (&format!("host.org/a/../b{DIGEST}"), "name of"),
            (&format!("host.org/a?b{DIGEST}"), "name of"),
            (&format!("host.org/a//b{DIGEST}"), "name of"),
            (&format!("host.org/a:{DIGEST}"), "tag of"),
            (&format!("host.org/a:b/c{DIGEST}"), "tag of"),
        ] {
            let error = text.parse::<ImageReference>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["localhost.example.org", "10.0.0.1:5000", "[::2]:5000", "127.0.0.1.example.org", "example.org"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
