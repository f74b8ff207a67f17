//! The egress proxy through its listener: what it carries, what it refuses, what it tells. Everything on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not there is a failed test"
)]

mod carrying;
mod corpus;
mod limits;
mod naive;
mod spellings;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use container_agent::egress::{Limits, Machine, Moment, Reason};

use corpus::{Class, Control};
use spellings::FORBIDDEN;
use world::{Host, PUBLIC, Roads, Running};

fn forbidden() -> Vec<SocketAddr> {
    FORBIDDEN
        .iter()
        .flat_map(|host| [80, 443].map(|port| format!("{host}:{port}").parse().unwrap()))
        .collect()
}

fn roads(host: &Host) -> Arc<Roads> {
    let roads = Roads::new(host.address);
    for (name, addresses) in corpus::names() {
        roads.name(&name, &[&addresses]);
    }
    roads
}

/// A tunnel needs something to carry.
fn with_early_data(head: &str) -> String {
    if head.starts_with("CONNECT") { format!("{head}ping") } else { head.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_the_corpus_reaches_anything() {
    let host = Host::start().await;
    let roads = roads(&host);
    let mut proxy = Running::start(&corpus::policy(), roads.clone(), &[], Limits::default());
    let mut forms = BTreeMap::new();
    for Class { name, control, heads } in corpus::classes() {
        for head in &heads {
            let answer = proxy.ask(head.as_bytes()).await;
            let (first, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            assert!(first.starts_with("HTTP/1.1 4"), "{name}: {head:?}: {answer}");
            assert!(first.contains("content-type: text/plain"), "{name}: {head:?}: {answer}");
            assert!(body.starts_with("patchbay egress: ") && body.len() > 40, "{name}: {head:?}: {answer}");
            let decision = proxy.decision().await;
            // Not by luck: a spelling is refused for itself, whatever a list says.
            let spelled = matches!(control, Control::Naive);
            assert!(!spelled || decision.reason != Reason::NotListed, "{name}: {head:?}: {decision:?}");
            assert!(
                !decision.allowed && decision.moment == Moment::Decided,
                "{name}: {head:?}: {decision:?}"
            );
            assert!(
                decision
                    .host
                    .bytes()
                    .chain(decision.detail.bytes())
                    .all(|byte| (b' '..=b'~').contains(&byte)),
                "{decision:?}"
            );
        }
        forms.insert(name, heads.len());
    }
    assert_eq!(roads.take_dialled(), []);
    // Who came before this one would have been counted before it.
    let allowed = "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test\r\n\r\nping";
    assert!(proxy.ask(allowed.as_bytes()).await.contains("x-reached"));
    assert_eq!(host.visitors(), 1);
    let total: usize = forms.values().sum();
    println!("{total} forms in {} classes: {forms:?}", forms.len());
    assert!(total >= 500, "{total}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_the_corpus_would_reach_its_target_otherwise() {
    let host = Host::start().await;
    let roads = roads(&host);
    for Class { name, control, heads } in corpus::classes() {
        match control {
            Control::Opened(entries) => {
                let policy = [corpus::policy(), entries].concat();
                let proxy = Running::start(&policy, roads.clone(), &forbidden(), Limits::default());
                for head in &heads {
                    let answer = proxy.ask(with_early_data(head).as_bytes()).await;
                    assert!(answer.contains("x-reached: yes"), "{name}: {head:?}: {answer}");
                }
                assert_eq!(roads.take_dialled().len(), heads.len(), "{name}");
            }
            Control::Naive => {
                let public: IpAddr = PUBLIC.parse().unwrap();
                let mut arrived = 0;
                for head in &heads {
                    let went = naive::carry(head.as_bytes(), &roads).await;
                    arrived += usize::from(went.is_some_and(|address| address.ip() != public));
                }
                println!("{name}: {arrived} of {} get through a proxy that means well", heads.len());
                assert!(arrived > 0, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_what_was_checked_is_dialled() {
    let host = Host::start().await;
    let roads = roads(&host);
    for (name, then) in
        [("a.wild.test", "127.0.0.1"), ("b.wild.test", "169.254.169.254"), ("c.wild.test", "::1")]
    {
        roads.name(name, &[&[PUBLIC], &[then]]);
        let mut proxy = Running::start(&["*.wild.test:443"], roads.clone(), &[], Limits::default());
        let connect = format!("CONNECT {name}:443 HTTP/1.1\r\nHost: {name}\r\n\r\nping");
        assert!(proxy.ask(connect.as_bytes()).await.contains("x-reached"));
        assert_eq!(roads.take_dialled(), [format!("{PUBLIC}:443").parse().unwrap()]);
        assert_eq!(std::mem::take(&mut *roads.asked.lock().unwrap()), [name]);
        // Now it points inside.
        assert!(proxy.ask(connect.as_bytes()).await.starts_with("HTTP/1.1 403 "));
        assert_eq!(roads.take_dialled(), []);
        let decisions = [proxy.decision().await, proxy.decision().await, proxy.decision().await];
        assert_eq!(
            decisions.map(|decision| (
                decision.allowed,
                decision.reason,
                decision.address.unwrap().ip().to_string()
            )),
            [
                (true, Reason::Listed, PUBLIC.to_owned()),
                (true, Reason::Closed, PUBLIC.to_owned()),
                (false, Reason::ForbiddenAddress, then.to_owned()),
            ]
        );
        roads.asked.lock().unwrap().clear();
    }
}

/// The machine's own resolver and sockets, to two hosts on it.
#[tokio::test]
async fn the_real_network_reaches_the_machine_itself_only_where_its_operator_vouches() {
    let (host, other) = (Host::start().await, Host::start().await);
    let [target, neighbour] = [&host, &other].map(|host| format!("localhost:{}", host.address.port()));
    let literal = host.address.to_string();
    let get = |target: &str| format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n").into_bytes();
    let policy = [&target, &neighbour];
    let closed = Running::start(&policy, Arc::new(Machine), &[], Limits::default());
    let answer = closed.ask(&get(&target)).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("loopback"), "{answer}");
    assert_eq!(host.visitors(), 0);
    let vouched = ["127.0.0.1", "::1"].map(|ip| SocketAddr::new(ip.parse().unwrap(), host.address.port()));
    let open = Running::start(&policy, Arc::new(Machine), &vouched, Limits::default());
    assert!(open.ask(&get(&target)).await.contains("x-reached"));
    // Vouching opens one port, and lists nothing.
    assert!(open.ask(&get(&neighbour)).await.contains("loopback"));
    assert!(open.ask(&get(&literal)).await.contains("is not on this project's egress list"));
    assert_eq!((host.visitors(), other.visitors()), (1, 0));
}
