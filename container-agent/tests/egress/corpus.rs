//! Requests that try to get where they must not, by class. Each class says how it is known to be dangerous: opened by
//! policy it gets there, or a proxy that means well takes it there.

use crate::spellings::{DOTS, ESCAPES, FORBIDDEN, IPV6, LOOKALIKES, NUMBERS, PORTS, UNLISTED, USERS};

pub enum Control {
    /// With these entries added to the policy and every forbidden address vouched for, every form arrives.
    Opened(Vec<String>),
    /// [`crate::naive`] goes to a forbidden address with at least one form.
    Naive,
}

pub struct Class {
    pub name: &'static str,
    pub control: Control,
    pub heads: Vec<String>,
}

/// The policy under which every form must fail.
pub fn policy() -> Vec<String> {
    let mut entries: Vec<_> = [
        "allowed.test",
        "*.wild.test",
        "*.inside.test",
        "*.mixed.test",
        "localhost",
        "metadata.google.internal",
    ]
    .iter()
    .flat_map(|host| [format!("{host}:80"), format!("{host}:443")])
    .collect();
    entries.extend(FORBIDDEN.iter().flat_map(|address| [format!("{address}:80"), format!("{address}:443")]));
    entries
}

/// Names that the policy lists, and what they resolve to.
pub fn names() -> Vec<(String, Vec<&'static str>)> {
    let plain = |address: &'static str| address.trim_matches(['[', ']']);
    let mut names = vec![
        ("localhost".into(), vec!["127.0.0.1"]),
        ("metadata.google.internal".into(), vec!["169.254.169.254"]),
    ];
    for (number, address) in FORBIDDEN.iter().enumerate() {
        names.push((format!("a{number}.inside.test"), vec![plain(address)]));
        names.push((format!("a{number}.mixed.test"), vec![plain(address), crate::world::PUBLIC]));
        names.push((format!("b{number}.mixed.test"), vec![crate::world::PUBLIC, plain(address)]));
    }
    for host in UNLISTED {
        names.push(((*host).into(), vec![crate::world::PUBLIC]));
    }
    names
}

fn tunnel(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

fn plain(host: &str) -> String {
    format!("GET http://{host}/latest/meta-data/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// As a tunnel and as a plain request.
fn both(hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let forms = |host: &str| [tunnel(&format!("{host}:443")), tunnel(&format!("{host}:80")), plain(host)];
    hosts.into_iter().flat_map(|host| forms(host.as_ref())).collect()
}

fn naive(name: &'static str, heads: Vec<String>) -> Class {
    Class { name, control: Control::Naive, heads }
}

fn opened(name: &'static str, heads: Vec<String>) -> Class {
    Class { name, control: Control::Opened(Vec::new()), heads }
}

pub fn classes() -> Vec<Class> {
    let numbered =
        |host: &'static str| (0..FORBIDDEN.len()).map(move |number| host.replace('#', &number.to_string()));
    let ports = ["22", "25", "53", "8080", "2375", "6379", "65535", "1"];
    let methods = ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "X"];
    vec![
        opened("listed addresses that are forbidden", both(FORBIDDEN)),
        opened("listed names of forbidden addresses", both(numbered("a#.inside.test"))),
        opened("listed names of the machine", both(["localhost", "LOCALHOST", "metadata.google.internal"])),
        opened("names with a forbidden address first", both(numbered("a#.mixed.test"))),
        opened("names with a forbidden address second", both(numbered("b#.mixed.test"))),
        opened(
            "every method",
            methods.iter().map(|method| plain("169.254.169.254").replacen("GET", method, 1)).collect(),
        ),
        Class {
            name: "names that are not listed",
            control: Control::Opened(
                UNLISTED.iter().flat_map(|host| [format!("{host}:443"), format!("{host}:80")]).collect(),
            ),
            heads: both(UNLISTED),
        },
        Class {
            name: "ports that are not listed",
            control: Control::Opened(ports.iter().map(|port| format!("allowed.test:{port}")).collect()),
            heads: ports
                .iter()
                .flat_map(|port| {
                    [tunnel(&format!("allowed.test:{port}")), plain(&format!("allowed.test:{port}"))]
                })
                .collect(),
        },
        naive("numbers that are addresses", both(NUMBERS)),
        naive("IPv6 in other spellings", both(IPV6)),
        naive("dots too many", both(DOTS)),
        naive("user names", both(USERS)),
        naive("escapes", both(ESCAPES)),
        naive("characters that look like others", both(LOOKALIKES)),
        naive(
            "ports in other spellings",
            PORTS
                .iter()
                .flat_map(|port| [tunnel(&format!("127.0.0.1:{port}")), plain(&format!("127.0.0.1:{port}"))])
                .collect(),
        ),
        naive("other forms of the target", targets()),
        naive("Host headers that name another host", hosts()),
        naive("line ends and control characters", lines()),
        naive("bodies of two lengths", bodies()),
    ]
}

fn targets() -> Vec<String> {
    let with = |line: &str| format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let targets = [
        "/",
        "//127.0.0.1/",
        "*",
        "127.0.0.1",
        "127.0.0.1/",
        "http:127.0.0.1/",
        "http:/127.0.0.1/",
        "http:///127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "://127.0.0.1/",
        "https://127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "ws://127.0.0.1/",
        "unix:/var/run/docker.sock",
        "http://127.0.0.1#@allowed.test/",
        "http://allowed.test#@127.0.0.1/",
        "http://allowed.test/#",
        "http://?127.0.0.1",
        "http://",
        "http:///",
        "http://:80/",
        "http+unix://127.0.0.1/",
    ];
    let mut heads: Vec<_> = targets.iter().map(|target| with(&format!("GET {target}"))).collect();
    let authorities = [
        "http://127.0.0.1:443",
        "http://127.0.0.1:443/",
        "//127.0.0.1:443",
        "127.0.0.1:443/",
        "/127.0.0.1:443",
        "127.0.0.1",
        "127.0.0.1:",
        ":443",
        "*",
        "/",
        "127.0.0.1:443?x",
        "127.0.0.1:443#x",
    ];
    heads.extend(authorities.iter().map(|target| with(&format!("CONNECT {target}"))));
    heads.extend(
        [
            "GET  http://127.0.0.1/",
            "GET\thttp://127.0.0.1/",
            " GET http://127.0.0.1/",
            "GET http://127.0.0.1/ x",
            "connect 127.0.0.1:443",
            "Connect 127.0.0.1:443",
        ]
        .map(with),
    );
    heads
}

fn hosts() -> Vec<String> {
    let evil = [
        "127.0.0.1",
        "localhost",
        "127.0.0.1:80",
        "127.0.0.1:443",
        "169.254.169.254",
        "[::1]",
        "allowed.test, 127.0.0.1",
        "allowed.test@127.0.0.1",
        "127.0.0.1/",
        "http://127.0.0.1/",
        "",
        " ",
        "allowed.test:22",
        "127.1",
        "allowed.test 127.0.0.1",
    ];
    let mut heads = Vec::new();
    for host in evil {
        heads.push(format!("GET http://allowed.test/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        heads.push(format!("GET http://allowed.test/ HTTP/1.0\r\nHost: {host}\r\n\r\n"));
        heads.push(format!("CONNECT allowed.test:443 HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        heads
            .push(format!("GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nHost: {host}\r\n\r\n"));
        heads
            .push(format!("GET http://allowed.test/ HTTP/1.1\r\nHost: {host}\r\nhost: allowed.test\r\n\r\n"));
    }
    heads.push("GET http://allowed.test/ HTTP/1.1\r\n\r\n".into());
    heads.push("CONNECT allowed.test:443 HTTP/1.1\r\nX-Host: allowed.test\r\n\r\n".into());
    heads
}

fn lines() -> Vec<String> {
    [
        "GET http://allowed.test/ HTTP/1.1\nHost: 127.0.0.1\n\n",
        "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\nHost: 127.0.0.1\r\n\r\n",
        "GET http://allowed.test/ HTTP/1.1\r\nX: a\rHost: 127.0.0.1\r\n\r\n",
        "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n Host: 127.0.0.1\r\n\r\n",
        "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\tHost: 127.0.0.1\r\n\r\n",
        "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nHost : 127.0.0.1\r\n\r\n",
        "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\0Host: 127.0.0.1\r\n\r\n",
        "GET http://allowed.test/\rHost:127.0.0.1 HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        "GET http://allowed.test/\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "CONNECT allowed.test:443\r\nHost: 127.0.0.1 HTTP/1.1\r\n\r\n",
        "CONNECT allowed.test:443\0.evil.test HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "\r\nGET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "\nGET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET http://127.0.0.1/\r\n\r\n",
        "GET http://127.0.0.1/ HTTP/0.9\r\n\r\n",
        "GET http://127.0.0.1/ HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n",
        "GET http://127.0.0.1/ HTTP/1.1 \r\nHost: 127.0.0.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX\u{7f}: a\r\n\r\n",
        "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n: a\r\n\r\n",
        "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nno colon\r\n\r\n",
        "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        "\u{16}\u{3}\u{1}",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A second request hides in the body of the first, for a reader that takes the other length.
fn bodies() -> Vec<String> {
    let hidden = "0\r\n\r\nGET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let lengths = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 60",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: ",
        "Content-Length: -1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ];
    let post = |length: &str| {
        format!("POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n{length}\r\n\r\n{hidden}")
    };
    let connect = |length: &str| {
        format!("CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test\r\n{length}\r\n\r\n{hidden}")
    };
    lengths
        .iter()
        .flat_map(|length| [post(length), connect(length)])
        .chain([connect("Content-Length: 5")])
        .collect()
}
