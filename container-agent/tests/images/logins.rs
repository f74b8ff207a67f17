//! Who asks: passwords, tokens, and where they must not go.

use container_agent::images::{Fault, ImageLimits};

use crate::front::{Doing, Front};
use crate::registry::{PASSWORD, Registry, USER, reference};
use crate::world::{World, read, two_layers, with_password};

#[tokio::test]
async fn a_password_is_asked_for_and_given() {
    let registry = Registry::with_password();
    let digest = registry.push("private", &two_layers()).await;
    let wanted = reference(&registry.host, "private", digest);
    let said = format!("set a user name and a password for {}", registry.host);
    let fault = World::new().refused(&wanted, &said).await;
    assert!(matches!(&*fault, Fault::Unauthorized { .. }));
    let wrong = World::with(ImageLimits::default(), with_password(&registry.host, USER, "a guess"));
    let text = wrong.refused(&wanted, "wants other credentials").await.to_string();
    assert!(!text.contains("a guess"), "{text}");
    let right = World::with(ImageLimits::default(), with_password(&registry.host, USER, PASSWORD));
    assert_eq!(read(&right.get(&wanted).await, "changed"), "above");
}

/// A registry whose tokens come from `realm`, or from itself at `/token` with `answer`.
async fn with_tokens(registry: &Registry, realm: Option<&'static str>, answer: &'static str) -> Front {
    Front::of(&registry.host, move |asked| {
        if asked.path.starts_with("/token") {
            return Doing::Answer(200, String::new(), answer.as_bytes().to_vec());
        }
        if asked.authorization.as_deref() == Some("Bearer good") {
            return Doing::Pass;
        }
        let realm = realm.unwrap_or("http://HOST/token");
        let challenge =
            format!("www-authenticate: Bearer realm=\"{realm}\",service=\"test\",scope=\"any:thing:*\"\r\n");
        Doing::Answer(401, challenge, Vec::new())
    })
    .await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shown() {
    let registry = Registry::open();
    let digest = registry.push("team/base", &two_layers()).await;
    let front = with_tokens(&registry, None, r#"{"token":"good"}"#).await;
    let world = World::with(ImageLimits::default(), with_password(&front.host, USER, PASSWORD));
    world.get(&reference(&front.host, "team/base", digest)).await;
    let tokens: Vec<_> = front.asked().into_iter().filter(|asked| asked.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].path, "/token?service=test&scope=repository%3Ateam%2Fbase%3Apull");
    assert_eq!(tokens[0].authorization.as_deref(), Some("Basic cHVsbGVyOmNvcnJlY3QgaG9yc2U="));
}

#[tokio::test]
async fn a_bad_login_is_an_error_and_nothing_worse() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    for (realm, answer, said) in [
        (None, r#"{"token":"a\nb"}"#, "not text"),
        (None, "{}", "without a token"),
        (None, "<html>", "without a token"),
        (None, r#"{"token":"bad"}"#, "wants other credentials"),
        (Some("http://login.example.org/token"), "", "asks for a login at `http://login.example.org/token`"),
        (Some("file:///etc/passwd"), "", "asks for a login at `file:///etc/passwd`"),
        (Some("https://user:x@login.example.org/"), "", "asks for a login at"),
    ] {
        let front = with_tokens(&registry, realm, answer).await;
        let world = World::with(ImageLimits::default(), with_password(&front.host, USER, PASSWORD));
        let text = world.refused(&reference(&front.host, "base", digest), said).await.to_string();
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[tokio::test]
async fn credentials_stay_with_the_registry_when_it_sends_elsewhere() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let elsewhere = Front::of(&registry.host, |_| Doing::Pass).await;
    let target = elsewhere.host.clone();
    let front = Front::of(&registry.host, move |asked| match (&asked.authorization, asked.is_blob()) {
        (None, _) => Doing::Answer(401, "www-authenticate: Basic realm=\"x\"\r\n".into(), Vec::new()),
        (_, true) => Doing::Answer(307, format!("location: http://{target}{}\r\n", asked.path), Vec::new()),
        _ => Doing::Pass,
    });
    let front = front.await;
    let world = World::with(ImageLimits::default(), with_password(&front.host, USER, PASSWORD));
    world.get(&reference(&front.host, "base", digest)).await;
    assert!(front.asked().iter().any(|asked| asked.authorization.is_some()));
    assert_eq!(elsewhere.asked().len(), 3);
    assert!(elsewhere.asked().iter().all(|asked| asked.authorization.is_none()));
}
