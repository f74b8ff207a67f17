//! A proxy that means well: it understands every spelling, goes where the Host header points, and dials what the
//! resolver says. What gets through it is what the real one must stop.

use std::net::{IpAddr, SocketAddr};

use container_agent::egress::Network;

use crate::world::Roads;

/// Where it went, if anywhere.
pub async fn carry(head: &[u8], roads: &Roads) -> Option<SocketAddr> {
    let text = String::from_utf8_lossy(head);
    let (host, port) = destination(&text)?;
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => *roads.resolve(&host).await.ok()?.first()?,
    };
    let address = SocketAddr::new(address, port);
    roads.connect(address).await.ok()?;
    Some(address)
}

fn destination(head: &str) -> Option<(String, u16)> {
    let mut lines = head.trim_start().split(['\r', '\n', '\0']);
    let target = lines.next()?.split([' ', '\t']).filter(|word| !word.is_empty()).nth(1)?;
    let host = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.trim())
        .next_back();
    let authority = host.filter(|host| !host.is_empty()).unwrap_or(target);
    let authority = authority.split_once("://").map_or(authority, |(_, rest)| rest);
    let authority = authority.trim_start_matches("http:").trim_start_matches('/');
    let authority = authority.split(['/', '?', '#']).next()?;
    let authority = plain(authority.rsplit('@').next()?);
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let digits: String = port.chars().filter(char::is_ascii_digit).collect();
    let port = digits.parse::<u64>().unwrap_or(80) & 0xffff;
    let host = host.split(['%', ',', '\\']).next()?.trim_matches(['.', ' ']).to_ascii_lowercase();
    Some((host, u16::try_from(port).ok()?))
}

/// Escapes decoded, and characters that look like ASCII made ASCII.
fn plain(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let escape = rest.strip_prefix('%').and_then(|rest| rest.get(..2));
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            // An escaped percent sign starts a zone.
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = &rest[3..];
            }
            None => {
                decoded.push(ascii(next));
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    decoded
}

fn ascii(character: char) -> char {
    let from = |first: u32, ascii: u8| char::from(ascii + (u32::from(character) - first) as u8);
    match u32::from(character) {
        code @ 0xff01..=0xff5e => char::from((code - 0xff01) as u8 + b'!'),
        0x2460..=0x2468 => from(0x2460, b'1'),
        0x24ea => '0',
        0x24d0..=0x24e9 => from(0x24d0, b'a'),
        0x3002 | 0xff61 => '.',
        0x1d7ce..=0x1d7d7 => from(0x1d7ce, b'0'),
        _ => character,
    }
}
