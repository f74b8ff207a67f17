//! A host and a port, as a policy lists them and a request names them. There is one spelling of each: what has a
//! second meaning for some resolver (`127.1`, `0x7f.1`, `example.com.`) is refused rather than understood.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RFC 1035 §2.3.4, as text.
const NAME_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

/// What is wrong with a `host:port`, and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    #[error("the host is missing; write host:port, such as example.com:443")]
    NoHost,
    #[error("the port is missing; add it, such as example.com:443")]
    NoPort,
    #[error("the port must be one number from 1 to 65535, without zeros before it")]
    Port,
    #[error("a scheme or path does not belong here; write host:port only")]
    NotOnlyHost,
    #[error("a user name or password (`@`) does not belong here; write host:port only")]
    UserInfo,
    #[error("an IPv6 address goes in brackets, such as [2606:4700::1]:443")]
    NoBrackets,
    #[error("what stands in the brackets is not an IPv6 address")]
    NotIpv6,
    #[error("an IPv6 zone (`%`) names a network of one machine; leave it out")]
    Zone,
    #[error("the host holds a percent escape; write its characters as they are")]
    Escape,
    #[error("the host is not ASCII; write its punycode form, such as xn--bcher-kva.example")]
    NotAscii,
    #[error("a host name has only letters, digits, hyphens and dots")]
    Character,
    #[error("the host ends with a dot; leave it out")]
    DotAtEnd,
    #[error(
        "each part of a host name between dots has 1 to {LABEL_CHARS_MAX} characters and no hyphen at its ends"
    )]
    Label,
    #[error("a host name has at most {NAME_CHARS_MAX} characters")]
    TooLong,
    #[error(
        "the host looks like a number; write an IPv4 address as four decimal numbers without zeros before them"
    )]
    Number,
}

impl Target {
    /// A `host:port`; without a port, `default_port` stands in.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, HostFault> {
        if text.contains('@') {
            return Err(HostFault::UserInfo);
        }
        if text.contains(['/', '\\', '?', '#']) {
            return Err(HostFault::NotOnlyHost);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or(HostFault::NotIpv6)?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or(HostFault::Port)?),
            };
            return Ok(Self { host: Host::parse_ipv6(inside)?, port: parse_port(port, default_port)? });
        }
        let (host, port) = match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(HostFault::NoBrackets),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        Ok(Self { host: Host::parse(host)?, port: parse_port(port, default_port)? })
    }
}

fn parse_port(text: Option<&str>, default: Option<u16>) -> Result<u16, HostFault> {
    let Some(text) = text else { return default.ok_or(HostFault::NoPort) };
    if text.is_empty() {
        return Err(HostFault::NoPort);
    }
    if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostFault::Port);
    }
    text.parse().map_err(|_| HostFault::Port)
}

impl Host {
    /// A name or an IPv4 address.
    fn parse(text: &str) -> Result<Self, HostFault> {
        if text.is_empty() {
            return Err(HostFault::NoHost);
        }
        if !text.is_ascii() {
            return Err(HostFault::NotAscii);
        }
        if text.contains('%') {
            return Err(HostFault::Escape);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
            return Err(HostFault::Character);
        }
        if text.ends_with('.') {
            return Err(HostFault::DotAtEnd);
        }
        if text.len() > NAME_CHARS_MAX {
            return Err(HostFault::TooLong);
        }
        let label = |label: &str| {
            (1..=LABEL_CHARS_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        };
        if !text.split('.').all(label) {
            return Err(HostFault::Label);
        }
        if ends_in_a_number(text) {
            let address: Ipv4Addr = text.parse().map_err(|_| HostFault::Number)?;
            return Ok(Self::Address(address.into()));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }

    fn parse_ipv6(text: &str) -> Result<Self, HostFault> {
        if text.contains('%') {
            return Err(HostFault::Zone);
        }
        let address: Ipv6Addr = text.parse().map_err(|_| HostFault::NotIpv6)?;
        Ok(Self::Address(address.into()))
    }
}

/// Such a host is an IPv4 address to `inet_aton` and to browsers (WHATWG URL, "ends in a number"): never a name.
fn ends_in_a_number(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_each_host_is_understood() {
        for (text, spelled) in [
            ("Example.COM:443", "example.com:443"),
            ("xn--bcher-kva.example:8443", "xn--bcher-kva.example:8443"),
            ("registry:5000", "registry:5000"),
            ("a.1b:1", "a.1b:1"),
            ("192.0.2.1:65535", "192.0.2.1:65535"),
            ("[2001:DB8:0::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(Target::parse(text, None).unwrap().to_string(), spelled);
        }
        assert_eq!(Target::parse("example.com", Some(80)).unwrap().port, 80);
    }

    #[test]
    fn every_other_spelling_is_refused_with_its_own_reason() {
        use HostFault::*;
        for (text, fault) in [
            ("", NoHost),
            (":443", NoHost),
            ("example.com", NoPort),
            ("example.com:", NoPort),
            ("example.com:0", Port),
            ("example.com:0443", Port),
            ("example.com:65536", Port),
            ("example.com:+80", Port),
            ("example.com:80-90", Port),
            ("https://example.com:443", NotOnlyHost),
            ("example.com:443/x", NotOnlyHost),
            ("me:secret@example.com:443", UserInfo),
            ("::1:443", NoBrackets),
            ("[::1]443", Port),
            ("[::1", NotIpv6),
            ("[v1.x]:443", NotIpv6),
            ("[127.0.0.1]:443", NotIpv6),
            ("[fe80::1%eth0]:443", Zone),
            ("[fe80::1%25eth0]:443", Zone),
            ("example%2ecom:443", Escape),
            ("bücher.example:443", NotAscii),
            ("examp\u{ff4c}e.com:443", NotAscii),
            ("exa mple.com:443", Character),
            ("example.com.:443", DotAtEnd),
            ("example..com:443", Label),
            ("-a.com:443", Label),
            ("127.1:80", Number),
            ("0177.0.0.1:80", Number),
            ("0x7f.0x0.0x0.0x1:80", Number),
            ("0x7f000001:80", Number),
            ("2130706433:80", Number),
            ("1.2.3.4.5:80", Number),
            ("example.0x:80", Number),
        ] {
            assert_eq!(Target::parse(text, None), Err(fault), "{text}");
        }
        assert_eq!(Target::parse(&format!("{}.com:1", "a".repeat(64)), None), Err(Label));
        assert_eq!(Target::parse(&format!("{}com:1", "a.".repeat(126)), None), Err(TooLong));
    }
}
