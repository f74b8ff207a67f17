//! The agent killed in the middle of a pull: this test starts itself as another process, and kills that.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use container_agent::images::{ImageLimits, ImageReference, Images};

use crate::archive::Tar;
use crate::front::{Doing, Front};
use crate::registry::{Pushed, Registry, reference};
use crate::world::{World, named, read, settings};

const STORE: &str = "PATCHBAY_TEST_STORE";
const IMAGE: &str = "PATCHBAY_TEST_IMAGE";
const FILES: usize = 120;
const MOMENTS: u32 = 16;

/// Does nothing unless it is started by the test below.
#[tokio::test]
async fn a_process_that_pulls() {
    let (Ok(store), Ok(image)) = (std::env::var(STORE), std::env::var(IMAGE)) else { return };
    let images = Images::open(store.as_ref(), ImageLimits::default(), settings()).unwrap();
    images.get(&image.parse::<ImageReference>().unwrap()).await.unwrap();
}

fn image() -> Pushed {
    let layer = |prefix: &str| {
        let files = (0..FILES).map(|n| format!("{prefix}/{n}"));
        files.fold(Tar::default(), |tar, name| tar.file(&name, &name.repeat(500))).end()
    };
    Pushed::new().gzip(layer("a")).gzip(layer("b"))
}

/// From before the first request to long after the last: in each part of the work, some are killed.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_nothing_half() {
    let registry = Registry::open();
    let digest = registry.push("base", &image()).await;
    let (mut unfinished, mut finished) = (0, 0);
    let mut whole = Duration::ZERO;
    for moment in 0..=MOMENTS {
        let front = Front::of(&registry.host, |_| Doing::Pass).await;
        let wanted = reference(&front.host, "base", digest);
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("images");
        let started = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killing::a_process_that_pulls"])
            .env(STORE, &store)
            .env(IMAGE, wanted.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if moment == 0 {
            // How long it takes undisturbed.
            assert!(child.wait().unwrap().success());
            whole = started.elapsed();
            continue;
        }
        tokio::time::sleep_until((started + whole * moment / MOMENTS).into()).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let left = if store.exists() { named(&store) } else { Default::default() };
        match left.len() {
            0 => unfinished += 1,
            _ => finished += 1,
        }
        let images = Images::open(&store, ImageLimits::default(), settings()).unwrap();
        assert_eq!(fs::read_dir(store.join("new")).unwrap().count(), 0);
        assert_eq!(named(&store), left);
        let asked = front.asked().len();
        let world = World { folder, images };
        let image = world.get(&wanted).await;
        assert_eq!(front.asked().len() == asked, !left.is_empty(), "what is there is not pulled again");
        for prefix in ["a", "b"] {
            for n in 0..FILES {
                let name = format!("{prefix}/{n}");
                assert_eq!(read(&image, &name), name.repeat(500));
            }
        }
    }
    assert!(unfinished >= 4, "{unfinished} killed before the end, {finished} after");
}
