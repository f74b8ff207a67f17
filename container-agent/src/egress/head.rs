//! The bytes of a request up to the empty line: read within a limit, and refused where two readers could see two
//! requests in them.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::refusal::Refusal;

pub struct Head {
    /// The head, and what the client sent behind it without waiting.
    pub bytes: Vec<u8>,
    /// Where the head ends.
    pub length: usize,
}

impl Head {
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// What came behind it.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.length..).unwrap_or_default()
    }
}

/// None where the client goes away without a word.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<Option<Head>, Refused> {
    let mut bytes = Vec::new();
    let mut checked = 0;
    loop {
        match (&mut *stream).take((bytes_max - bytes.len()) as u64).read_buf(&mut bytes).await {
            Err(_) => return Ok(None),
            Ok(0) if bytes.len() >= bytes_max => {
                return Err(Refused { bytes, refusal: Refusal::HeadTooLong { bytes_max } });
            }
            Ok(0) if bytes.is_empty() => return Ok(None),
            Ok(0) => {
                let refusal =
                    Refusal::Malformed("it ends in the middle of its head; send an empty line last");
                return Err(Refused { bytes, refusal });
            }
            Ok(_) => {}
        }
        match check(&bytes, &mut checked) {
            Ok(None) => {}
            Ok(Some(length)) => return Ok(Some(Head { bytes, length })),
            Err(fault) => return Err(Refused { bytes, refusal: Refusal::Malformed(fault) }),
        }
    }
}

pub struct Refused {
    /// What came until then.
    pub bytes: Vec<u8>,
    pub refusal: Refusal,
}

/// Looks at the bytes from `checked` on, and moves it. The length of the head, once it is whole.
fn check(bytes: &[u8], checked: &mut usize) -> Result<Option<usize>, &'static str> {
    let from = *checked;
    for (place, byte) in bytes.iter().copied().enumerate().skip(from) {
        let before = place.checked_sub(1).and_then(|place| bytes.get(place));
        match byte {
            b'\n' if before != Some(&b'\r') => return Err("a line ends with LF alone; end each with CR LF"),
            b'\n' if place == 1 => return Err("it begins with an empty line; send the request line first"),
            b'\n' if bytes.get(..=place).is_some_and(|head| head.ends_with(b"\r\n\r\n")) => {
                return Ok(Some(place + 1));
            }
            b'\n' | b'\r' | b'\t' => {}
            0x00..=0x1f | 0x7f => {
                return Err("its head holds a control character; speak plain HTTP to this proxy, not TLS");
            }
            _ => {}
        }
        if before == Some(&b'\r') && byte != b'\n' {
            return Err("a line holds CR alone; end each with CR LF");
        }
        if matches!(byte, b' ' | b'\t') && before == Some(&b'\n') {
            return Err("a header goes on in a second line; write it in one");
        }
        *checked = place + 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn length(text: &[u8]) -> Result<Option<usize>, String> {
        match read(&mut &*text, 64).await {
            Ok(head) => Ok(head.map(|head| head.length)),
            Err(refused) => Err(refused.refusal.to_string()),
        }
    }

    #[tokio::test]
    async fn a_head_ends_with_the_empty_line() {
        assert_eq!(length(b"GET / HTTP/1.1\r\n\r\n").await, Ok(Some(18)));
        assert_eq!(length(b"GET / HTTP/1.1\r\na: b\r\n\r\nbody\n\0").await, Ok(Some(24)));
        assert_eq!(length(b"").await, Ok(None));
    }

    #[tokio::test]
    async fn what_could_be_read_in_two_ways_is_refused() {
        for (text, why) in [
            ("GET / HTTP/1.1\n\n", "LF alone"),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", "LF alone"),
            ("GET /\rx HTTP/1.1\r\n\r\n", "CR alone"),
            ("GET / HTTP/1.1\r\r\n\r\n", "CR alone"),
            ("GET /\0 HTTP/1.1\r\n\r\n", "control"),
            ("\r\nGET / HTTP/1.1\r\n\r\n", "empty line"),
            ("GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", "second line"),
            ("GET / HTTP/1.1\r\n a: b\r\n\r\n", "second line"),
            ("\u{16}\u{3}\u{1}", "not TLS"),
            ("GET / HTTP/1.1\r\n", "middle"),
        ] {
            let error = length(text.as_bytes()).await.unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(64));
        assert!(length(long.as_bytes()).await.unwrap_err().contains("longer than 64 bytes"));
    }
}
