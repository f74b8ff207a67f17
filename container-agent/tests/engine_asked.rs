//! What an agent asks of an engine: once what it is, for Podman takes over a second to say it, and of each image what it
//! wants in its environment. Needs root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

mod plane;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use container_agent::sandbox::oci::{EngineSetting, Oci, Settings};
use plane::Plane;

/// A Docker with one image and no container, and what it was asked.
fn engine(socket: &Path) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(socket).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let path = path_of(&stream);
            answer(stream, &path);
            heard.lock().unwrap().push(path);
        }
    });
    asked
}

fn path_of(stream: &UnixStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    let target = first.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    // Whichever version of the API it is in.
    let version = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|end| &rest[end..]));
    version.unwrap_or(path).to_owned()
}

fn answer(mut stream: UnixStream, path: &str) {
    let (status, body) = match path {
        "/version" => (200, r#"{"Version": "20.10.24", "ApiVersion": "1.41"}"#),
        "/info" => (200, r#"{"SecurityOptions": ["name=seccomp"]}"#),
        "/containers/json" => (200, "[]"),
        "/images/base/json" => (200, r#"{"Config": {"Env": ["PATH=/image", "LANG=C", "nonsense"]}}"#),
        _ => (404, r#"{"message": "not here"}"#),
    };
    let length = body.len();
    // Who asked may be gone.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_asked_once_what_it_is() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine");
    let asked = engine(&socket);
    let _agent = plane.agent_with(&directory.path().join("state"), &["--engine", socket.to_str().unwrap()]);
    // The first thing that is done with it.
    let swept = |_: &mut plane::State| {
        let asked = asked.lock().unwrap().clone();
        asked.iter().any(|path| path == "/containers/json").then_some(asked)
    };
    let asked = plane.until("the engine's containers are looked through", swept).await;
    assert_eq!(asked, ["/version", "/info", "/containers/json"]);
    let hello = plane
        .until("hello", |state| state.said.iter().find(|said| said["message"] == "hello").cloned())
        .await;
    assert!(hello.to_string().contains("docker 20.10.24 at "), "{hello}");
}

#[tokio::test]
async fn an_engines_image_says_what_it_wants_in_its_environment() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine");
    engine(&socket);
    let settings = Settings {
        engine: EngineSetting::Socket(socket),
        image: Some("base".into()),
        instance: "0123456789ab".into(),
        disk_in_memory: true,
        program: "/proc/self/exe".into(),
    };
    let oci = Oci::connect(settings).await.unwrap();
    let wanted = [("PATH".to_owned(), "/image".to_owned()), ("LANG".to_owned(), "C".to_owned())];
    for named in [Some("base"), None] {
        assert_eq!(oci.image_environment(named).await.unwrap(), wanted, "{named:?}");
    }
    let refused = oci.image_environment(Some("absent:1")).await.unwrap_err().to_string();
    assert!(refused.contains("absent:1") && refused.contains("docker pull"), "{refused}");
}
