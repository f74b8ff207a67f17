//! What a request asks for. Two forms are understood: `CONNECT host:port` (RFC 9110 §9.3.6) and a method with an
//! absolute `http://` target (RFC 9112 §3.2.2). Everything that could name two hosts is refused.

use shared_contracts::egress::Target;

use super::decision::shown;
use super::refusal::Refusal;

const HEADERS_MAX: usize = 100;
const HTTP_PORT: u16 = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Tunnel,
    Plain,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub form: Form,
    pub target: Target,
}

impl Request {
    /// From a whole head.
    pub fn parse(head: &[u8]) -> Result<Self, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Refusal::Malformed("its head is not whole")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::Malformed("it has more than 100 headers; send fewer"));
            }
            Err(httparse::Error::Version) => {
                return Err(Refusal::Malformed("its version is neither HTTP/1.1 nor HTTP/1.0"));
            }
            Err(_) => return Err(Refusal::Malformed("its request line or a header is not HTTP/1.1")),
        }
        let text = request.path.unwrap_or_default();
        let (form, authority, default_port) = match request.method {
            Some("CONNECT") => (Form::Tunnel, text, None),
            _ => (Form::Plain, authority(text)?, Some(HTTP_PORT)),
        };
        let target = Target::parse(authority, default_port)
            .map_err(|fault| Refusal::Target { target: shown(text.as_bytes()), fault })?;
        // Some clients leave a tunnel's port out of its Host header.
        let host_port = default_port.unwrap_or(target.port);
        check_host(request.headers, &target, host_port, request.version == Some(1))?;
        check_body(request.headers, form)?;
        Ok(Self { form, target })
    }
}

/// What stands between `http://` and the path.
fn authority(target: &str) -> Result<&str, Refusal> {
    let scheme = |scheme: &str| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    if scheme("https://").is_some() {
        return Err(Refusal::Malformed("its target is https; open a tunnel to the host with CONNECT"));
    }
    let rest = scheme("http://").ok_or(Refusal::Malformed(
        "this is a proxy: send CONNECT host:port, or a target that begins with http://",
    ))?;
    if rest.contains('#') {
        return Err(Refusal::Malformed("its target has a fragment (`#`); leave it out"));
    }
    Ok(rest.split(['/', '?']).next().unwrap_or(rest))
}

fn values<'h>(headers: &'h [httparse::Header<'_>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// RFC 9112 §3.2: one Host header, which names the host that the target names.
fn check_host(
    headers: &[httparse::Header<'_>],
    target: &Target,
    default_port: u16,
    must: bool,
) -> Result<(), Refusal> {
    let mut hosts = values(headers, "host");
    let Some(host) = hosts.next() else {
        return if must { Err(Refusal::Malformed("it has no Host header; send one")) } else { Ok(()) };
    };
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("it has more than one Host header; send one"));
    }
    let named = std::str::from_utf8(host).ok().and_then(|host| Target::parse(host, Some(default_port)).ok());
    if named.as_ref() != Some(target) {
        return Err(Refusal::Malformed("its Host header does not name the host and port of its target"));
    }
    Ok(())
}

/// RFC 9112 §6.1 and §6.3: a body that ends in one place. RFC 9110 §9.3.6: a tunnel's request has none.
fn check_body(headers: &[httparse::Header<'_>], form: Form) -> Result<(), Refusal> {
    let mut encodings = values(headers, "transfer-encoding");
    let mut lengths = values(headers, "content-length");
    let (encoding, length) = (encodings.next(), lengths.next());
    if encodings.next().is_some() || lengths.next().is_some() || (encoding.is_some() && length.is_some()) {
        return Err(Refusal::Malformed("it says twice how long its body is; say it once"));
    }
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Refusal::Malformed("its transfer encoding is not `chunked`"));
    }
    if length.is_some_and(|length| length.is_empty() || !length.iter().all(u8::is_ascii_digit)) {
        return Err(Refusal::Malformed("its content length is not a number"));
    }
    if form == Form::Tunnel && (encoding.is_some() || length.is_some_and(|length| length != b"0")) {
        return Err(Refusal::Malformed(
            "a CONNECT request has no body; send what is for the host after the answer",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(head: &str) -> Result<(Form, String), String> {
        Request::parse(head.as_bytes())
            .map(|request| (request.form, request.target.to_string()))
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn both_forms_are_understood() {
        for (head, form, target) in [
            (
                "CONNECT Example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
                Form::Tunnel,
                "example.com:443",
            ),
            (
                "CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n",
                Form::Tunnel,
                "example.com:443",
            ),
            ("CONNECT example.com:443 HTTP/1.0\r\n\r\n", Form::Tunnel, "example.com:443"),
            (
                "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n",
                Form::Tunnel,
                "[2001:db8::1]:443",
            ),
            ("GET http://example.com HTTP/1.1\r\nHost: example.com\r\n\r\n", Form::Plain, "example.com:80"),
            (
                "GET HTTP://example.com:8080/a@b?c:d HTTP/1.1\r\nHost: EXAMPLE.com:8080\r\n\r\n",
                Form::Plain,
                "example.com:8080",
            ),
            (
                "GET http://example.com?q HTTP/1.1\r\nHost: example.com:80\r\n\r\n",
                Form::Plain,
                "example.com:80",
            ),
        ] {
            assert_eq!(parse(head), Ok((form, target.to_owned())), "{head}");
        }
    }

    #[test]
    fn what_is_no_proxy_request_says_why() {
        for (head, why) in [
            ("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "this is a proxy"),
            ("OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n", "this is a proxy"),
            ("GET ftp://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "this is a proxy"),
            ("GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "CONNECT"),
            ("CONNECT http://example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", "host:port only"),
            ("CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n", "port is missing"),
            ("GET http://example.com/ HTTP/1.1\r\n\r\n", "no Host"),
            (
                "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nHost: example.com\r\n\r\n",
                "more than one Host",
            ),
            ("GET http://example.com/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "does not name"),
            ("GET http://example.com:8080/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "does not name"),
            ("GET http://example.com/ HTTP/1.1\r\nHost:\r\n\r\n", "does not name"),
            ("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:80\r\n\r\n", "does not name"),
            ("GET http://me@example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "user name"),
            ("GET http://example.com/#a HTTP/1.1\r\nHost: example.com\r\n\r\n", "fragment"),
            ("GET http://example.com/ HTTP/2.0\r\nHost: example.com\r\n\r\n", "version"),
            (
                "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "twice",
            ),
            (
                "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                "twice",
            ),
            (
                "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                "chunked",
            ),
            ("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\n", "number"),
            ("CONNECT a.test:1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n", "no body"),
        ] {
            let error = parse(head).unwrap_err();
            assert!(error.contains(why), "{head:?}: {error}");
        }
        let many =
            format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX));
        assert!(parse(&many).unwrap_err().contains("100 headers"));
    }

    proptest! {
        #[test]
        fn any_head_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), target in ".{0,60}") {
            let _ = Request::parse(&bytes);
            for method in ["GET", "CONNECT"] {
                let head = format!("{method} {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
                if let Ok(request) = Request::parse(head.as_bytes()) {
                    let again = Target::parse(&request.target.to_string(), None);
                    prop_assert_eq!(again.as_ref(), Ok(&request.target));
                }
            }
        }
    }
}
