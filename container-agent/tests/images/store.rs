//! The store: what is kept, what goes, and what a directory or a tarball is.

use std::fs;
use std::path::Path;

use container_agent::images::{Fault, ImageLimits, ImageReference, Images};

use crate::archive::{Tar, gzip, zstd};
use crate::registry::{Pushed, Registry, reference};
use crate::world::{World, named, read, settings};

fn tarball(path: &Path) -> ImageReference {
    ImageReference::Tarball(path.to_owned())
}

/// A tarball with one file of so many bytes.
fn write(world: &World, name: &str, bytes: usize) -> ImageReference {
    let path = world.path(name);
    fs::write(&path, Tar::default().file("f", &name.repeat(bytes)).end()).unwrap();
    tarball(&path)
}

#[tokio::test]
async fn a_tarball_is_unpacked_once_for_each_content() {
    let world = World::new();
    let tar = Tar::default().file("usr/f", "first").end();
    for (name, bytes) in [("a.tar", tar.clone()), ("a.tar.gz", gzip(&tar)), ("a.tar.zst", zstd(&tar))] {
        let path = world.path(name);
        fs::write(&path, bytes).unwrap();
        let image = world.get(&tarball(&path)).await;
        assert_eq!(read(&image, "usr/f"), "first");
        let again = world.get(&tarball(&path)).await;
        assert_eq!((image.root, image.digest), (again.root, again.digest));
    }
    assert_eq!(world.named().len(), 3);
    let path = world.path("a.tar");
    fs::write(&path, Tar::default().file("usr/f", "second").end()).unwrap();
    assert_eq!(read(&world.get(&tarball(&path)).await, "usr/f"), "second");
}

#[tokio::test]
async fn a_tarball_that_is_none_says_so() {
    let world = World::new();
    let case = |name: &str, bytes: Vec<u8>| {
        let path = world.path(name);
        fs::write(&path, bytes).unwrap();
        tarball(&path)
    };
    let saved = Tar::default().file("manifest.json", "[]").file("blobs/sha256/x", "x").end();
    for (image, said) in [
        (case("text", vec![b'x'; 600]), "the tarball: it is no tar"),
        (case("half", gzip(&Tar::default().file("f", "x").end())[..30].to_vec()), "cannot be decompressed"),
        (case("cut", Tar::default().file("f", "x").open_end()), "ends in the middle"),
        (case("saved", saved), "docker export"),
        (tarball(&world.path("absent")), "No such file"),
        (tarball(world.folder.path()), "it is no file"),
    ] {
        world.refused(&image, said).await;
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    world.refused(&tarball(&world.path("fifo")), "it is no file").await;
    assert_eq!((world.named().len(), world.nameless()), (0, 0));
}

#[tokio::test]
async fn a_directory_is_used_as_it_is_unless_it_is_the_hosts() {
    let world = World::new();
    let path = world.path("base");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("f"), "x").unwrap();
    let link = world.path("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let image = world.get(&ImageReference::Directory(path.clone())).await;
        assert_eq!((read(&image, "f"), image.digest), ("x".into(), None));
    }
    assert_eq!(world.get(&ImageReference::Host).await.root, None);
    std::os::unix::fs::symlink("/etc", world.path("etc")).unwrap();
    let refused = [
        "/",
        "/proc",
        "/proc/self",
        "/sys",
        "/dev",
        "/run",
        "/etc",
        "/home",
        "/root",
        "/usr/../etc",
        "/etc/ssl",
    ];
    for path in refused.map(Path::new).into_iter().chain([&*world.path("etc")]) {
        if path.exists() {
            world.refused(&ImageReference::Directory(path.to_owned()), "the host's own system").await;
        }
    }
    world
        .refused(&ImageReference::Directory(world.folder.path().to_owned()), "holds the agent's own state")
        .await;
    world.refused(&ImageReference::Directory(path.join("f")), "is no directory").await;
    world.refused(&ImageReference::Directory(world.path("absent")), "No such file").await;
}

#[tokio::test]
async fn what_was_unused_for_longest_goes_first_and_what_is_used_stays() {
    // Each takes 3 blocks of 4096 bytes: a file of 2, and its directory.
    let limits = ImageLimits { store_bytes_max: 3 * 3 * 4096, ..ImageLimits::default() };
    let world = World::with(limits, settings());
    let mut digests = Vec::new();
    let used = write(&world, "u", 5000);
    let used = world.get(&used).await;
    for name in ["a", "b"] {
        let image = write(&world, name, 5000);
        digests.push(world.get(&image).await.digest.unwrap().replace(':', "-"));
    }
    assert_eq!(world.named().len(), 3);
    // `a` is used again, so `b` is the one that goes, though `u` is older than both.
    let old = |name: &str, seconds| {
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::open(world.path("images").join(name)).unwrap().set_modified(time).unwrap();
    };
    let used_name = used.digest.clone().unwrap().replace(':', "-");
    for (name, seconds) in [(&used_name, 1), (&digests[0], 2), (&digests[1], 3)] {
        old(name, seconds);
    }
    world.get(&tarball(&world.path("a"))).await;
    world.get(&write(&world, "c", 5000)).await;
    let names = world.named();
    assert!(
        names.contains(&used_name) && names.contains(&digests[0]) && !names.contains(&digests[1]),
        "{names:?}"
    );
    assert_eq!(read(&used, "f").len(), 5000);
    // More in use than the store may hold: it waits.
    let held = [world.get(&tarball(&world.path("a"))).await, world.get(&tarball(&world.path("c"))).await];
    let more = world.get(&write(&world, "d", 5000)).await;
    assert_eq!(world.named().len(), 4);
    drop((held, more));
    world.get(&write(&world, "e", 5000)).await;
    assert_eq!(world.named().len(), 3);
}

#[tokio::test]
async fn an_image_that_unpacks_to_too_much_is_refused_and_leaves_nothing() {
    let mut limits = ImageLimits::default();
    limits.unpack.unpacked_bytes_max = 100_000;
    limits.unpack.entries_max = 10;
    let world = World::with(limits, settings());
    world.refused(&write(&world, "large", 30_000), "more than 100000 bytes").await;
    let many = (0..11).fold(Tar::default(), |tar, n| tar.file(&format!("{n}"), "")).end();
    fs::write(world.path("many"), many).unwrap();
    world.refused(&tarball(&world.path("many")), "more than 10 entries").await;
    let registry = Registry::open();
    let layer = Tar::default().file("f", &"x".repeat(60_000)).end();
    let digest = registry.push("base", &Pushed::new().plain(layer.clone()).plain(layer)).await;
    world.refused(&reference(&registry.host, "base", digest), "100000 bytes").await;
    assert_eq!((world.named().len(), world.nameless()), (0, 0));
}

#[tokio::test]
async fn one_agent_has_the_store_and_the_next_sweeps_it() {
    let world = World::new();
    let image = write(&world, "base", 10);
    world.get(&image).await;
    let store = world.path("images");
    let second = Images::open(&store, ImageLimits::default(), settings());
    assert!(second.is_err_and(|fault| fault.to_string().contains("another agent uses it")));
    let World { folder, images } = world;
    drop(images);
    fs::create_dir_all(store.join("new/half/root/d")).unwrap();
    let images = Images::open(&store, ImageLimits::default(), settings()).unwrap();
    assert_eq!((fs::read_dir(store.join("new")).unwrap().count(), named(&store).len()), (0, 1));
    let kept = named(&store).pop_first().unwrap();
    // One whose description is gone is made anew when it is wanted.
    fs::remove_file(store.join(kept).join("image.json")).unwrap();
    let world = World { folder, images };
    assert_eq!(read(&world.get(&image).await, "f").len(), 40);
    // And a smaller store lets it go as it opens.
    let World { folder: _folder, images } = world;
    drop(images);
    let limits = ImageLimits { store_bytes_max: 1, ..ImageLimits::default() };
    let _images = Images::open(&store, limits, settings()).unwrap();
    assert!(named(&store).is_empty());
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_where() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("images"), "a file").unwrap();
    let opened = Images::open(&folder.path().join("images"), ImageLimits::default(), settings());
    assert!(matches!(opened, Err(Fault::Io { .. })));
}
