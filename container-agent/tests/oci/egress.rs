//! The way out: the listener of the container's loopback, answered by the agent's own proxy.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use container_agent::egress::{Dialler, Limits, Machine, Policy, Proxy, serve};
use container_agent::sandbox::Egress;
use tokio::sync::{mpsc, oneshot};

use crate::engines::Engine;
use crate::world::{World, read};

/// Answers every connection with a word.
fn serve_word() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"a word from outside\n");
        }
    });
    address
}

pub async fn what_is_listed_is_reached_through_the_proxy_alone(engine: &Engine) {
    let world = World::new(engine).await;
    let address = serve_word();
    let other = serve_word();
    let ask = |target| {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\nhello' >&3; cat <&3"
        )
    };
    let script = format!("({}); echo; ({})", ask(address), ask(other));
    let mut spec = world.spec("");
    spec.command = vec!["bash".into(), "-c".into(), script];
    spec.egress = Egress::Proxy;
    let mut sandbox = world.prepare(spec).await.unwrap();
    let started = sandbox.start().await.unwrap();
    let (decisions, mut decided) = mpsc::channel(16);
    let proxy = Proxy {
        policy: Policy::parse([address.to_string().as_str()]).unwrap(),
        dialler: Dialler::new(Arc::new(Machine), [address]),
        limits: Limits::default(),
        decisions,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(started.egress.unwrap(), proxy, async { drop(stopped.await) }));
    let (stdout, _stderr) = (read(started.output.stdout), started.output.stderr);
    sandbox.wait().await.unwrap();
    let text = stdout.await.unwrap();
    assert_eq!(text.matches("a word from outside").count(), 1, "{text}");
    assert!(text.contains("HTTP/1.1 403") && text.contains("patchbay egress: "), "{text}");
    drop(stop);
    served.await.unwrap().unwrap();
    assert!(decided.recv().await.unwrap().allowed);
    sandbox.remove().await;
    // Not asked for: nobody listens.
    let mut spec = world.spec("");
    spec.command = vec!["bash".into(), "-c".into(), "exec 3<>/dev/tcp/127.0.0.1/3128 && echo BROKEN".into()];
    let ran = world.run(spec).await;
    assert!(
        ran.stderr.contains("refused") && !ran.stdout.contains("BROKEN"),
        "{} {}",
        ran.stdout,
        ran.stderr
    );
    world.assert_clean(engine).await;
}
