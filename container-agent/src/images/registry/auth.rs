//! How a registry wants to know who asks (RFC 7235): `Basic`, or `Bearer` with a token from elsewhere.

use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;

#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// The scope is not asked: only pulling one repository is wanted, whatever the challenge would allow.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// The first challenge that can be met.
pub fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(reqwest::header::WWW_AUTHENTICATE).iter();
    values.filter_map(|value| value.to_str().ok()).find_map(read)
}

fn read(value: &str) -> Option<Challenge> {
    let (scheme, parameters) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    let mut rest = parameters;
    while let Some((key, behind)) = rest.split_once('=') {
        let (value, behind) = parameter(behind)?;
        match key.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            _ => {}
        }
        rest = behind.trim_start().strip_prefix(',').unwrap_or_default();
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

/// A value, quoted or not, and what comes behind it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let (value, behind) = text.split_at_checked(end)?;
        return Some((value.trim().to_owned(), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, quoted.get(at + 1..)?)),
            (_, '\\') => value.push(characters.next()?.1),
            (_, other) => value.push(other),
        }
    }
}

/// Where the token is asked for.
pub fn token_url(realm: &str, service: Option<&str>, repository: &str) -> Option<Url> {
    let mut url = Url::parse(realm).ok()?;
    let is_usable = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if !is_usable || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", &format!("repository:{repository}:pull"));
    drop(query);
    Some(url)
}

/// The host of a URL as settings name hosts.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[derive(Deserialize)]
pub struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl TokenAnswer {
    pub fn token(self) -> Option<String> {
        self.token.or(self.access_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.to_owned(), service: Some(service.to_owned()) })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (value, challenge) in [
            (r#"Basic realm="a registry""#, Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                bearer("https://auth.docker.io/token", "registry.docker.io"),
            ),
            (r#"bearer realm="x\"y" , service=z"#, bearer("x\"y", "z")),
            (r#"Bearer service="x""#, None),
            (r#"Bearer realm="never ends"#, None),
            ("Negotiate abc", None),
            ("", None),
        ] {
            assert_eq!(read(value), challenge, "{value}");
        }
    }

    #[test]
    fn a_token_is_asked_for_at_a_plain_address_only() {
        let url = token_url("https://auth.example.org/token?a=b", Some("s p"), "x/y").unwrap();
        assert_eq!(
            url.as_str(),
            "https://auth.example.org/token?a=b&service=s+p&scope=repository%3Ax%2Fy%3Apull"
        );
        assert_eq!(host_of(&Url::parse("http://[::1]:5000/x").unwrap()), "[::1]:5000");
        for realm in ["file:///etc/passwd", "https://u:p@auth.example.org", "auth", ""] {
            assert!(token_url(realm, None, "x").is_none(), "{realm}");
        }
    }
}
