//! Pulls from a real registry, some of them with a bad network or a bad registry in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use container_agent::images::{Fault, ImageLimits, RegistrySettings};
use serde_json::json;
use shared_contracts::hash::Sha256;

use crate::archive::Tar;
use crate::front::{Asked, Doing, Front};
use crate::registry::{ARCHITECTURE, Pushed, Registry, reference};
use crate::world::{World, read, settings, two_layers};

#[tokio::test]
async fn an_image_is_pulled_once_and_flattened() {
    let registry = Registry::open();
    let digest = registry.push("team/base", &two_layers()).await;
    let front = Front::of(&registry.host, |_| Doing::Pass).await;
    let world = World::new();
    let image = world.get(&reference(&front.host, "team/base", digest)).await;
    assert_eq!((read(&image, "etc/kept"), read(&image, "changed")), ("below".into(), "above".into()));
    assert!(!image.root.as_ref().unwrap().join("removed").exists());
    assert_eq!(image.digest, Some(format!("sha256:{digest}")));
    assert_eq!(image.environment, [("PATH".into(), "/usr/bin".into()), ("EMPTY".into(), String::new())]);
    assert_eq!(image.working_directory.as_deref(), Some("/work".as_ref()));
    assert_eq!((world.named(), world.nameless()), ([format!("sha256-{digest}")].into(), 0));
    let asked = front.asked().len();
    assert_eq!(asked, 4, "manifest, configuration, two layers");
    drop(image);
    world.get(&reference(&front.host, "team/base", digest)).await;
    assert_eq!(front.asked().len(), asked, "nothing was asked again");
}

#[tokio::test]
async fn every_kind_of_layer_is_read() {
    let registry = Registry::open();
    let layer = |name: &str| Tar::default().file(name, name).end();
    let docker = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    let zstd = crate::archive::zstd(&layer("d"));
    let image =
        Pushed::new().plain(layer("a")).gzip(layer("b")).zstd(layer("c")).layer(&layer("d"), docker, zstd);
    let digest = registry.push("base", &image).await;
    let world = World::new();
    let image = world.get(&reference(&registry.host, "base", digest)).await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(read(&image, name), name);
    }
}

#[tokio::test]
async fn an_index_gives_this_machines_image_or_says_what_it_has() {
    let registry = Registry::open();
    let of = |platform: (&'static str, &'static str), content: &str| {
        let mut image = Pushed::new().gzip(Tar::default().file("f", content).end());
        image.platform = platform;
        image
    };
    let all = [
        of(("linux", "s390x"), "other"),
        of(("linux", ARCHITECTURE), "this"),
        of(("windows", "amd64"), "no"),
    ];
    let index = registry.push_index("base", &all).await;
    let world = World::new();
    assert_eq!(read(&world.get(&reference(&registry.host, "base", index)).await, "f"), "this");
    let others = [of(("linux", "s390x"), "other"), of(("windows", "amd64"), "no")];
    let index = registry.push_index("base", &others).await;
    let fault = world
        .refused(&reference(&registry.host, "base", index), "it is for linux/s390x, windows/amd64")
        .await;
    assert!(matches!(&*fault, Fault::OtherPlatform { .. }));
    let other = registry.push("base", &others[0]).await;
    world.refused(&reference(&registry.host, "base", other), "it is for linux/s390x").await;
}

/// What a registry may send instead of an image, and what is said of it.
#[tokio::test]
async fn what_is_no_image_for_here_is_refused() {
    let registry = Registry::open();
    let world = World::new();
    let absent = reference(&registry.host, "base", Sha256::of(b"absent"));
    assert!(matches!(&*world.refused(&absent, "has no manifest").await, Fault::Absent { .. }));

    let mut lying = two_layers();
    lying.layers[1].0 = Sha256::of(b"another tar");
    let digest = registry.push("base", &lying).await;
    let fault =
        world.refused(&reference(&registry.host, "base", digest), "layer 2 of 2: it unpacks to").await;
    assert!(matches!(&*fault, Fault::Layer { number: 2, .. }));

    let hostile = Pushed::new().gzip(Tar::default().file("../f", "x").end());
    let digest = registry.push("base", &hostile).await;
    world.refused(&reference(&registry.host, "base", digest), "layer 1 of 1: its entry `../f`").await;

    let helm = Pushed::new().layer(
        b"chart",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        b"chart".to_vec(),
    );
    let digest = registry.push("base", &helm).await;
    world.refused(&reference(&registry.host, "base", digest), "not of a container image").await;

    let mut few = registry.manifest("base", &two_layers()).await;
    few["layers"].as_array_mut().unwrap().pop();
    let digest = registry.push_document("base", few["mediaType"].as_str().unwrap(), &few).await;
    world.refused(&reference(&registry.host, "base", digest), "2 diff_ids for 1 layers").await;

    for (document, said) in [
        (json!({ "schemaVersion": 1, "fsLayers": [] }), "schema version is 1"),
        (json!({ "schemaVersion": 2 }), "neither an index"),
        (
            json!({ "schemaVersion": 2, "manifests": [], "layers": [], "config": few["config"] }),
            "neither an index",
        ),
        (json!({ "schemaVersion": 2, "mediaType": "text/x" }), "not of a container image"),
        (json!([]), "malformed"),
        (
            json!({ "schemaVersion": 2, "layers": [], "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha512:ab", "size": 1 } }),
            "a digest in it",
        ),
    ] {
        let bytes = document.to_string().into_bytes();
        let digest = Sha256::of(&bytes);
        let front =
            Front::of(&registry.host, move |_| Doing::Answer(200, String::new(), bytes.clone())).await;
        world.refused(&reference(&front.host, "base", digest), said).await;
    }
    assert_eq!((world.named().len(), world.nameless()), (0, 0));
}

#[tokio::test]
async fn nothing_is_believed_but_what_hashes_right() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let manifest = registry.manifest("base", &two_layers()).await;
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let layer = manifest["layers"][1]["digest"].as_str().unwrap().to_owned();
    let manifest = format!("sha256:{digest}");
    for (spoilt, what) in [(manifest, "manifest"), (config, "configuration"), (layer, "layer 2 of 2")] {
        let part = spoilt.clone();
        let spoil = move |asked: &Asked| if asked.path.ends_with(&part) { Doing::Spoil } else { Doing::Pass };
        let front = Front::of(&registry.host, spoil).await;
        let world = World::new();
        let said = format!("{what} {spoilt} is not what its name says");
        let fault = world.refused(&reference(&front.host, "base", digest), &said).await;
        assert!(matches!(&*fault, Fault::WrongDigest { .. }));
        assert_eq!((world.named().len(), world.nameless()), (0, 0));
    }
}

#[tokio::test]
async fn a_missing_or_shortened_layer_is_named() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let manifest = registry.manifest("base", &two_layers()).await;
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let world = World::new();

    let part = layer.clone();
    let none = move |asked: &Asked| match asked.path.ends_with(&part) {
        true => Doing::Answer(
            404,
            String::new(),
            br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#.into(),
        ),
        false => Doing::Pass,
    };
    let front = Front::of(&registry.host, none).await;
    let said = format!("has no layer 1 of 2 {layer} (blob unknown)");
    world.refused(&reference(&front.host, "base", digest), &said).await;

    let part = layer.clone();
    let short =
        move |asked: &Asked| if asked.path.ends_with(&part) { Doing::Shorten(50) } else { Doing::Pass };
    let front = Front::of(&registry.host, short).await;
    // Each answer goes on from the last by 50 bytes, so it arrives in the end.
    let image = world.get(&reference(&front.host, "base", digest)).await;
    assert!(front.asked().iter().filter(|asked| asked.path.ends_with(&layer)).count() > 2);
    drop(image);

    let world = World::new();
    let short = move |asked: &Asked| match (asked.path.ends_with(&layer), &asked.range) {
        (true, None) => Doing::Shorten(50),
        // As of a file that ends there.
        (true, Some(_)) => Doing::Answer(416, String::new(), Vec::new()),
        _ => Doing::Pass,
    };
    let front = Front::of(&registry.host, short).await;
    world.refused(&reference(&front.host, "base", digest), "it has 50 bytes instead of 155").await;
    assert_eq!((world.named().len(), world.nameless()), (0, 0));
}

#[tokio::test]
async fn what_broke_off_goes_on_where_it_was() {
    let registry = Registry::open();
    let content: String = (0..100_000_u64).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
    let digest = registry.push("base", &Pushed::new().plain(Tar::default().file("f", &content).end())).await;
    let cut = |asked: &Asked| if asked.times_before < 2 { Doing::Cut(30_000) } else { Doing::Pass };
    let front = Front::of(&registry.host, cut).await;
    let world = World::new();
    assert_eq!(read(&world.get(&reference(&front.host, "base", digest)).await, "f"), content);
    let ranges: Vec<_> = front.asked().into_iter().filter_map(|asked| asked.range).collect();
    assert_eq!(ranges, ["bytes=30000-", "bytes=60000-"]);
}

#[tokio::test]
async fn a_registry_that_comes_back_is_asked_again() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let busy = |asked: &Asked| match asked.times_before {
        0 => Doing::Answer(503, String::new(), Vec::new()),
        1 => Doing::Answer(429, String::new(), Vec::new()),
        _ => Doing::Pass,
    };
    let front = Front::of(&registry.host, busy).await;
    World::new().get(&reference(&front.host, "base", digest)).await;
}

#[tokio::test]
async fn a_registry_gone_halfway_leaves_nothing_and_is_told() {
    let mut registry = Some(Registry::open());
    let host = registry.as_ref().unwrap().host.clone();
    let digest = registry.as_ref().unwrap().push("base", &two_layers()).await;
    let front = Front::of(&host, |asked| if asked.is_blob() { Doing::Cut(10) } else { Doing::Pass }).await;
    let world = World::new();
    world.refused(&reference(&front.host, "base", digest), "stopped in the middle of configuration").await;
    registry.take();
    let fault = world.refused(&reference(&host, "base", digest), "cannot be reached").await;
    assert!(matches!(&*fault, Fault::Unreachable { .. }));
    assert_eq!((world.named().len(), world.nameless()), (0, 0));
}

#[tokio::test]
async fn a_slow_registry_is_given_up() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let front =
        Front::of(&registry.host, |asked| if asked.is_blob() { Doing::Stall(1) } else { Doing::Pass }).await;
    let world = World::new();
    world.refused(&reference(&front.host, "base", digest), "timed out").await;
    let slow = RegistrySettings {
        idle_timeout: Duration::from_secs(60),
        pull_timeout: Duration::from_millis(300),
        ..settings()
    };
    let world = World::with(ImageLimits::default(), slow);
    let fault = world.refused(&reference(&front.host, "base", digest), "did not have it here within").await;
    assert!(matches!(&*fault, Fault::TooSlow { .. }));
    assert_eq!((world.named().len(), world.nameless()), (0, 0));
}

#[tokio::test]
async fn a_document_has_a_limit_whoever_sends_it() {
    let registry = Registry::open();
    let huge = vec![b' '; 5 << 20];
    let digest = Sha256::of(&huge);
    let front = Front::of(&registry.host, move |_| Doing::Answer(200, String::new(), huge.clone())).await;
    let fault = World::new().refused(&reference(&front.host, "base", digest), "4194304 bytes").await;
    assert!(matches!(&*fault, Fault::TooLarge { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_that_want_one_image_pull_it_once() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let front = Front::of(&registry.host, |_| Doing::Pass).await;
    let world = Arc::new(World::new());
    let wanted = reference(&front.host, "base", digest);
    let gets = (0..20).map(|_| {
        let (world, wanted) = (Arc::clone(&world), wanted.clone());
        tokio::spawn(async move { world.get(&wanted).await.root.unwrap() })
    });
    let mut roots = Vec::new();
    for get in gets.collect::<Vec<_>>() {
        roots.push(get.await.unwrap());
    }
    roots.dedup();
    assert_eq!((roots.len(), front.asked().len()), (1, 4));
}

#[tokio::test]
async fn all_who_wait_learn_of_one_failure_and_the_next_tries_again() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let front = Front::of(&registry.host, move |_| match well.load(Ordering::SeqCst) {
        true => Doing::Pass,
        false => Doing::Answer(400, String::new(), Vec::new()),
    });
    let (front, world) = (front.await, World::new());
    let wanted = reference(&front.host, "base", digest);
    let (one, other) = tokio::join!(world.images.get(&wanted), world.images.get(&wanted));
    assert!(Arc::ptr_eq(&one.unwrap_err().fault, &other.unwrap_err().fault));
    assert_eq!(front.asked().len(), 1);
    is_well.store(true, Ordering::SeqCst);
    world.get(&wanted).await;
}

#[tokio::test]
async fn work_that_nobody_waits_for_ends_and_leaves_nothing() {
    let registry = Registry::open();
    let digest = registry.push("base", &two_layers()).await;
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = Arc::clone(&is_slow);
    let front =
        Front::of(&registry.host, move |asked| match asked.is_blob() && slow.load(Ordering::SeqCst) {
            true => Doing::Stall(1),
            false => Doing::Pass,
        });
    let front = front.await;
    let world = World::with(
        ImageLimits::default(),
        RegistrySettings { idle_timeout: Duration::from_secs(60), ..settings() },
    );
    let wanted = reference(&front.host, "base", digest);
    tokio::select! {
        _ = world.images.get(&wanted) => panic!("it came"),
        () = async {
            front.reached(2).await;
            assert_eq!(world.nameless(), 1);
        } => {}
    }
    assert_eq!(world.nameless(), 0);
    is_slow.store(false, Ordering::SeqCst);
    world.get(&wanted).await;
}
