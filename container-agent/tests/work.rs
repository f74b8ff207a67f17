//! Real work in the sandbox: compilers, package managers through the way out, git, terminals, threads. Needs root, and
//! what Patchbay's own setup has: gcc, git, node, python3 with pip, cargo.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use sha2::{Digest, Sha512};

fn attempt(options: &[&str], script: &str) -> Output {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"));
    agent
        .args(["try", "--wall-seconds", "300"])
        .args(options)
        .args(["--", "bash", "-ec", script])
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(options: &[&str], script: &str) -> String {
    let output = attempt(options, script);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    text
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn gcc_compiles_what_then_runs() {
    let script = "printf '#include <stdio.h>\\nint main(void){puts(\"compiled here\");return 0;}\\n' > a.c
                  gcc -O2 -o a a.c && ./a";
    assert!(succeeds(&[], script).contains("compiled here"));
}

#[test]
fn cargo_builds_and_tests_a_crate() {
    // The very toolchain that builds this test, wherever it is.
    let root = PathBuf::from(said("rustc", &["--print", "sysroot"]));
    let root = root.to_str().unwrap();
    let script = format!(
        "export PATH={root}/bin:$PATH CARGO_TERM_COLOR=never
         cargo init --quiet --vcs none --name small . 2>/dev/null
         printf 'pub fn twice(n: u32) -> u32 {{ 2 * n }}\\n#[test] fn works() {{ assert_eq!(twice(21), 42); }}\\n' > src/lib.rs
         cargo test --offline 2>&1"
    );
    let text = succeeds(&["--toolchain", root, "--memory-mb", "4096"], &script);
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn git_serves_and_clones_over_loopback() {
    let script = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
                  cd /tmp; git init --quiet origin; cd origin; echo one > a; git add a; git commit --quiet -m first; cd ..
                  git daemon --reuseaddr --export-all --base-path=/tmp --listen=127.0.0.1 --port=9418 2>/dev/null &
                  for n in $(seq 1 200); do (echo > /dev/tcp/127.0.0.1/9418) 2>/dev/null && break; done
                  git clone --quiet git://127.0.0.1/origin clone; cat clone/a; git -C clone log --format=%s";
    let text = succeeds(&[], script);
    assert!(text.starts_with("one\nfirst\n"), "{text}");
}

#[test]
fn a_program_that_makes_terminals_and_one_with_a_thousand_threads() {
    let python = "
import os, pty, threading
output = []
def read(fd):
    data = os.read(fd, 1024)
    output.append(data)
    return data
assert os.waitstatus_to_exitcode(pty.spawn(['sh', '-c', 'test -t 0 && stty size && echo a terminal'], read)) == 0
assert b'a terminal' in b''.join(output)
barrier = threading.Barrier(1001)
threads = [threading.Thread(target=barrier.wait, daemon=True) for _ in range(1000)]
for thread in threads: thread.start()
barrier.wait()
for thread in threads: thread.join()
print('a thousand met')
";
    let script = format!("/usr/bin/python3 - <<'PYTHON'\n{python}\nPYTHON");
    let text = succeeds(&["--processes", "2048"], &script);
    assert!(text.contains("a thousand met"), "{text}");
    // Within fewer it is refused, and that is said.
    let refused = attempt(&["--processes", "200"], &script);
    assert!(
        !refused.status.success() && self::text(&refused).contains("limit of 200"),
        "{}",
        self::text(&refused)
    );
}

/// A registry of both kinds with one package each: what is on the far side of the way out.
struct Registry {
    port: u16,
    integrity: String,
}

impl Registry {
    fn start(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tarball, wheel) = (npm_package(directory), wheel(directory));
        let integrity = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&tarball));
        let manifest = serde_json::json!({
            "name": "tiny-package", "dist-tags": {"latest": "1.0.0"},
            "versions": {"1.0.0": {"name": "tiny-package", "version": "1.0.0", "dist": {
                "tarball": format!("http://localhost:{port}/tiny-package/-/tiny-package-1.0.0.tgz"),
                "integrity": format!("sha512-{integrity}")}}},
        });
        let index = "<a href=\"/wheels/tiny_wheel-1.0-py3-none-any.whl\">tiny_wheel-1.0-py3-none-any.whl</a>";
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(request)) = lines.next() else { continue };
                lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
                let (kind, body) = match request.split(' ').nth(1).unwrap_or_default() {
                    "/tiny-package" => ("application/json", manifest.to_string().into_bytes()),
                    path if path.ends_with(".tgz") => ("application/octet-stream", tarball.clone()),
                    "/simple/tiny-wheel/" => ("text/html", index.into()),
                    path if path.ends_with(".whl") => ("application/octet-stream", wheel.clone()),
                    _ => ("text/plain", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Self { port, integrity }
    }

    /// What opens it to a sandbox: listed as a project would, vouched for as the machine's operator would.
    fn options(&self) -> Vec<String> {
        let port = self.port;
        ["--egress".into(), format!("localhost:{port}")]
            .into_iter()
            .chain(
                [format!("127.0.0.1:{port}"), format!("[::1]:{port}")]
                    .into_iter()
                    .flat_map(|address| ["--egress-vouched".to_owned(), address]),
            )
            .collect()
    }
}

fn npm_package(directory: &Path) -> Vec<u8> {
    let package = directory.join("package");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("package.json"), r#"{"name": "tiny-package", "version": "1.0.0"}"#).unwrap();
    std::fs::write(package.join("index.js"), "module.exports = 'required';\n").unwrap();
    let output = Command::new("tar").arg("-czf-").arg("-C").arg(directory).arg("package").output().unwrap();
    output.stdout
}

fn wheel(directory: &Path) -> Vec<u8> {
    let path = directory.join("tiny_wheel-1.0-py3-none-any.whl");
    let python = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('tiny_wheel.py', \"SAYS = 'imported'\\n\")
    wheel.writestr('tiny_wheel-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny-wheel\\nVersion: 1.0\\n')
    wheel.writestr('tiny_wheel-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('tiny_wheel-1.0.dist-info/RECORD', '')
";
    said("/usr/bin/python3", &["-c", python, path.to_str().unwrap()]);
    std::fs::read(path).unwrap()
}

#[test]
fn npm_and_pip_install_through_the_way_out_and_only_what_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path());
    let Registry { port, integrity } = &registry;
    let script = format!(
        r#"export NO_PROXY= no_proxy=
        echo '{{"name": "work", "version": "1.0.0", "dependencies": {{"tiny-package": "1.0.0"}}}}' > package.json
        cat > package-lock.json <<'LOCK'
        {{"name": "work", "version": "1.0.0", "lockfileVersion": 3, "packages": {{
          "": {{"name": "work", "version": "1.0.0", "dependencies": {{"tiny-package": "1.0.0"}}}},
          "node_modules/tiny-package": {{"version": "1.0.0", "integrity": "sha512-{integrity}",
            "resolved": "http://localhost:{port}/tiny-package/-/tiny-package-1.0.0.tgz"}}}}}}
LOCK
        npm ci --no-audit --no-fund --fetch-retries 0 --registry http://localhost:{port} 2>&1
        node -e 'console.log(require("tiny-package"))'
        /usr/bin/python3 -m pip install --no-cache-dir --disable-pip-version-check --target /tmp/site \
          --index-url http://localhost:{port}/simple --trusted-host localhost tiny-wheel 2>&1
        PYTHONPATH=/tmp/site /usr/bin/python3 -c 'import tiny_wheel; print(tiny_wheel.SAYS)'"#
    );
    let options = registry.options();
    let options: Vec<_> = options.iter().map(String::as_str).chain(["--memory-mb", "2048"]).collect();
    let text = succeeds(&options, &script);
    assert!(text.contains("required") && text.contains("imported"), "{text}");
    assert!(text.contains(&format!("egress allowed: localhost:{port}")), "{text}");
    // The same without the listing.
    let refused = attempt(&[], &script);
    assert!(!refused.status.success(), "{}", self::text(&refused));
}
