//! Layers that mean harm, by name; each into a root with a canary tree around it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use tar::EntryType;

use crate::archive::{Tar, gzip, zstd};
use crate::canary::{Canary, LIMITS, unpack_naively};

/// What becomes of a shape.
enum Fate {
    /// Ends with an error that says this.
    Refused(&'static str),
    /// Unpacks, and stays inside; a path that the tree then has, and what stands there.
    Kept(&'static str, &'static str),
    /// Unpacks, and stays inside; a path that the tree does not have.
    Without(&'static str),
}

use Fate::{Kept, Refused, Without};

struct Shape {
    name: &'static str,
    layers: Vec<Vec<u8>>,
    fate: Fate,
    /// A careless unpacker would harm the canary.
    escapes: bool,
}

/// A few kilobytes each, that become 16 MiB.
static BOMBS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let zeros = vec![0; 16 << 20];
    let behind = |tar: Tar| [tar.end(), zeros.clone()].concat();
    let file = Tar::default().file("f", "").change(|header| header.set_size(16 << 20)).open_end();
    [gzip(&[file, zeros.clone()].concat()), gzip(&behind(Tar::default())), zstd(&behind(Tar::default()))]
});

/// `out` is the absolute path of the canary's folder, which has `secret` and `folder/secret`.
fn shapes(out: &str) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut add = |name, fate, escapes, layers: Vec<Tar>| {
        let layers = layers.into_iter().map(Tar::end).collect();
        shapes.push(Shape { name, layers, fate, escapes });
    };
    let new = Tar::default;
    let secret = format!("{out}/secret");
    let inside = |path: &str| format!("{out}/{path}");
    let (safe, up) = (false, true);

    // Names.
    add("a file above the root", Refused("`..`"), up, vec![new().file("../outside/secret", "x")]);
    add(
        "a file above the root, by way of a directory",
        Refused("`..`"),
        up,
        vec![new().dir("a", 0o755).file("a/../../outside/secret", "x")],
    );
    add(
        "a file far above the root",
        Refused("`..`"),
        safe,
        vec![new().file("../../../../../../../../../tmp/patchbay-hostile", "x")],
    );
    add("a directory that is `..`", Refused("`..`"), up, vec![new().dir("../outside", 0o777)]);
    add("an absolute file", Kept("f", "x"), up, vec![new().file(&secret, "x").file("/f", "x")]);
    add(
        "an absolute file with slashes",
        Kept("f", "x"),
        up,
        vec![new().file(&format!("///{secret}"), "x").file("//./f", "x")],
    );
    add("an absolute directory", Kept("f", "x"), up, vec![new().dir(out, 0o777).file("f", "x")]);
    add("a zero in a pax path", Refused("zero"), safe, vec![new().pax("path", "a\0b").file("a", "x")]);
    add(
        "a zero in a link's target",
        Refused("zero"),
        safe,
        vec![new().pax("linkpath", "a\0b").symlink("a", "b")],
    );
    add(
        "a pax path in place of the name",
        Refused("`..`"),
        up,
        vec![new().pax("path", "../outside/secret").file("harmless", "x")],
    );
    add(
        "a GNU long name in place of the name",
        Refused("`..`"),
        up,
        vec![new().long_name("../outside/secret").file("harmless", "x")],
    );
    add("a path of 5000 bytes", Refused("4095"), safe, vec![new().file(&"a/".repeat(2500), "x")]);
    add("a name of 256 bytes", Refused("255"), safe, vec![new().file(&"a".repeat(256), "x")]);
    add("129 directories deep", Refused("128"), safe, vec![new().dir(&"d/".repeat(129), 0o755)]);
    add(
        "a long name of 2 MiB",
        Refused("more than 1048576"),
        safe,
        vec![new().long_name(&"a".repeat(2 << 20))],
    );
    add(
        "a name that a terminal would obey",
        Kept("\u{1b}[2J\n", "x"),
        safe,
        vec![new().file("\u{1b}[2J\n", "x")],
    );
    add("a reserved name as a directory", Refused("whiteout"), safe, vec![new().file(".wh.a/b", "x")]);

    // Symbolic links.
    add(
        "a file through an absolute link",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out).file("l/secret", "x")],
    );
    add(
        "a file through a link upwards",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", "../outside").file("l/secret", "x")],
    );
    add(
        "a file through two links",
        Refused("link to nothing"),
        up,
        vec![new().symlink("a", "b").symlink("b", "../outside").file("a/secret", "x")],
    );
    add(
        "a file through a link of the layer below",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out), new().file("l/secret", "x")],
    );
    add(
        "a file through a link to the root",
        Kept("l/f", "x"),
        up,
        vec![new().symlink("l", "/").file("l/f", "x").file(&format!("l{secret}"), "x")],
    );
    add(
        "a file through a link in a directory",
        Refused("link to nothing"),
        up,
        vec![new().dir("d", 0o755).symlink("d/l", "../../outside").file("d/l/secret", "x")],
    );
    add(
        "a file through /proc",
        Refused("link to nothing"),
        safe,
        vec![new().symlink("l", &format!("/proc/self/root{out}")).file("l/secret", "x")],
    );
    add(
        "a file through a descriptor",
        Refused("link to nothing"),
        safe,
        vec![new().symlink("l", "/proc/self/fd/3").file("l/secret", "x")],
    );
    add("a file in place of a link", Kept("l", "x"), up, vec![new().symlink("l", &secret).file("l", "x")]);
    add(
        "a file in place of a link below",
        Kept("l", "x"),
        up,
        vec![new().symlink("l", &secret), new().file("l", "x")],
    );
    add(
        "a directory in place of a link",
        Kept("l/f", "x"),
        up,
        vec![new().symlink("l", out).dir("l", 0o777).file("l/f", "x")],
    );
    add(
        "a directory through a link",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out).dir("l/folder", 0o700)],
    );
    add(
        "a link through a link",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out).symlink("l/new", "/etc")],
    );
    add(
        "links in a circle",
        Refused("leads to no directory"),
        safe,
        vec![new().symlink("a", "b").symlink("b", "a").file("a/f", "x")],
    );
    add(
        "a chain of 60 links",
        Refused("leads to no directory"),
        safe,
        vec![
            (0..60)
                .fold(new().dir("l60", 0o755), |tar, n| tar.symlink(&format!("l{n}"), &format!("l{}", n + 1)))
                .file("l0/f", "x"),
        ],
    );
    add("a link to nothing at all", Refused("link to nothing"), safe, vec![new().symlink("l", "")]);
    add(
        "a link with a target of 5000 bytes",
        Refused("too long"),
        safe,
        vec![new().symlink("l", &"a".repeat(5000))],
    );
    add("the root as a link", Refused("is the root"), safe, vec![new().symlink("./", out)]);
    add(
        "the root as a file",
        Refused("is the root"),
        safe,
        vec![new().entry(EntryType::Continuous, "./", "", 0o644, b"x")],
    );

    // Hard links.
    add(
        "a hard link to an absolute name",
        Refused("not in the image"),
        up,
        vec![new().hard_link("h", &secret)],
    );
    add("a hard link upwards", Refused("`..`"), up, vec![new().hard_link("h", "../outside/secret")]);
    add(
        "a hard link through a link",
        Refused("not in the image"),
        up,
        vec![new().symlink("l", out).hard_link("h", "l/secret")],
    );
    add(
        "a hard link by a pax target",
        Refused("`..`"),
        up,
        vec![new().pax("linkpath", "../outside/secret").hard_link("h", "harmless")],
    );
    add(
        "a hard link by a GNU long target",
        Refused("`..`"),
        up,
        vec![new().long_link("../outside/secret").hard_link("h", "harmless")],
    );
    add(
        "a hard link to a link, then a file",
        Kept("h", "x"),
        up,
        vec![new().symlink("l", &secret).hard_link("h", "l").file("h", "x")],
    );
    add(
        "a hard link to a directory",
        Refused("no file"),
        safe,
        vec![new().dir("d", 0o755).hard_link("h", "d")],
    );
    add("a hard link to the root", Refused("directory or a whiteout"), safe, vec![new().hard_link("h", "/")]);
    add("a hard link to itself", Kept("f", "x"), safe, vec![new().file("f", "x").hard_link("f", "f")]);
    add(
        "a hard link to what it replaces",
        Refused("not in the image"),
        safe,
        vec![new().file("d/f", "x").hard_link("d", "d/f")],
    );
    add("a hard link to nothing", Refused("not in the image"), safe, vec![new().hard_link("h", "f")]);
    add(
        "a hard link below a file",
        Refused("no directory"),
        safe,
        vec![new().file("f", "x").hard_link("f/h", "f")],
    );

    // Devices and modes.
    add("a character device", Without("mem"), safe, vec![new().special(EntryType::Char, "mem")]);
    add("a block device", Without("sda"), safe, vec![new().special(EntryType::Block, "sda")]);
    add("a fifo", Without("fifo"), safe, vec![new().special(EntryType::Fifo, "fifo")]);
    add(
        "a device in place of a file",
        Without("f"),
        safe,
        vec![new().file("f", "x"), new().special(EntryType::Char, "f")],
    );
    add("an overlay's whiteout, as a device", Without("f"), safe, vec![new().special(EntryType::Char, "f")]);
    add(
        "a device through a link",
        Refused("link to nothing"),
        safe,
        vec![new().symlink("l", out).special(EntryType::Fifo, "l/fifo")],
    );
    add("set user id", Kept("su", "x"), safe, vec![new().mode_file("su", "x", 0o6777).dir("d", 0o7777)]);
    add(
        "modes of nothing",
        Kept("d/f", "x"),
        safe,
        vec![new().dir("./", 0).dir("d", 0).mode_file("d/f", "x", 0)],
    );
    add(
        "attributes of an overlay",
        Kept("f", "x"),
        safe,
        vec![new().pax("SCHILY.xattr.trusted.overlay.redirect", "/etc").file("f", "x")],
    );
    add(
        "capabilities of a file",
        Kept("f", "x"),
        safe,
        vec![new().pax("SCHILY.xattr.security.capability", "\u{1}\n\n=").file("f", "x")],
    );

    // Whiteouts.
    add("a whiteout above the root", Refused("`..`"), up, vec![new().file("../outside/.wh.secret", "")]);
    add(
        "an absolute whiteout",
        Kept("f", "x"),
        up,
        vec![new().file(&inside(".wh.secret"), "").file("f", "x")],
    );
    add("a whiteout of `..`", Refused("of no name"), safe, vec![new().dir("d", 0o755).file("d/.wh...", "")]);
    add("a whiteout of `.`", Refused("of no name"), safe, vec![new().file(".wh..", "")]);
    add("a whiteout of nothing", Refused("of no name"), safe, vec![new().file(".wh.", "")]);
    add(
        "a whiteout through a link",
        Kept("l", "-> "),
        up,
        vec![new().symlink("l", out).file("l/.wh.secret", "")],
    );
    add(
        "an opaque link",
        Kept("l", "-> "),
        up,
        vec![new().symlink("l", out), new().file("l/.wh..wh..opq", "")],
    );
    add(
        "an opaque directory above the root",
        Refused("`..`"),
        up,
        vec![new().file("../outside/.wh..wh..opq", "")],
    );
    add("a whiteout of a link", Without("l"), safe, vec![new().symlink("l", out), new().file(".wh.l", "")]);
    add(
        "aufs's own files",
        Without(".wh..wh.plnk"),
        safe,
        vec![new().file(".wh..wh.plnk/1.2", "x").file(".wh..wh.aufs", "")],
    );
    add(
        "a hard link to a whiteout",
        Refused("directory or a whiteout"),
        safe,
        vec![new().hard_link("h", ".wh.f")],
    );

    // Replacing.
    add(
        "a file in place of a directory, and a file in it",
        Refused("no directory"),
        safe,
        vec![new().dir("d", 0o755).file("d/f", "x").file("d", "x").file("d/f", "x")],
    );
    add(
        "a link in place of a directory, and a file in it",
        Refused("link to nothing"),
        up,
        vec![
            new().dir("d", 0o755).file("d/f", "x"),
            new().entry(EntryType::Fifo, "d", "", 0, b"").symlink("d", out).file("d/secret", "x"),
        ],
    );

    // Bombs.
    add(
        "too many bytes",
        Refused("more than 1048576 bytes"),
        safe,
        vec![new().file("f", &"x".repeat(2 << 20))],
    );
    add(
        "too many bytes in two layers",
        Refused("more than 1048576 bytes"),
        safe,
        vec![new().file("f", &"x".repeat(700 << 10)), new().file("f", &"x".repeat(700 << 10))],
    );
    add(
        "too many entries",
        Refused("more than 500 entries"),
        safe,
        vec![(0..501).fold(new(), |tar, n| tar.file(&format!("{n}"), ""))],
    );
    add(
        "too many directories that nobody named",
        Refused("more than 500 entries"),
        safe,
        vec![(0..10).fold(new(), |tar, n| tar.file(&format!("{n}/{}", "d/".repeat(100)), ""))],
    );
    add(
        "a million whiteouts",
        Without("f"),
        safe,
        vec![
            new().file("f", "x"),
            (0..400).fold((0..400).fold(new(), |tar, n| tar.file(&format!("{n}"), "")), |tar, _| {
                tar.file(".wh..wh..opq", "")
            }),
        ],
    );
    let mut add_raw =
        |name, fate, layer| shapes.push(Shape { name, layers: vec![layer], fate, escapes: false });
    let [gzip_bomb, gzip_bomb_behind, zstd_bomb] = &*BOMBS;
    add_raw("a gzip bomb", Refused("more than 1048576 bytes"), gzip_bomb.clone());
    add_raw("a gzip bomb behind the end", Refused("more than 1048576 bytes"), gzip_bomb_behind.clone());
    add_raw("a zstd bomb", Refused("more than 1048576 bytes"), zstd_bomb.clone());

    // Not what a tar is.
    add_raw(
        "a GNU sparse file",
        Refused("--sparse"),
        new().entry(EntryType::GNUSparse, "f", "", 0o644, b"x").end(),
    );
    add_raw(
        "a pax sparse file",
        Refused("--sparse"),
        new().pax("GNU.sparse.major", "1").file("f", "x").end(),
    );
    add_raw(
        "an unknown kind",
        Refused("unknown kind 0x58"),
        new().entry(EntryType::new(b'X'), "f", "", 0o644, b"x").end(),
    );
    add_raw("a wrong checksum", Refused("checksum"), {
        let mut layer = new().file("f", "x").end();
        layer[0] = b'g';
        layer
    });
    add_raw("text", Refused("checksum"), vec![b'x'; 2048]);
    add_raw("half a header", Refused("in the middle"), vec![b'x'; 100]);
    add_raw(
        "half a content",
        Refused("in the middle"),
        new().file("f", &"x".repeat(2000)).open_end()[..1500].to_vec(),
    );
    add_raw("no closing block", Refused("in the middle"), new().file("f", "x").open_end());
    add_raw("a size beyond the archive", Refused("in the middle"), {
        new().file("f", "").change(|header| header.set_size(1 << 30)).end()
    });
    add_raw("the largest size there is", Refused("in the middle"), {
        new().file("f", "").change(|header| header.set_size(u64::MAX)).end()
    });
    add_raw("a pax size beyond the archive", Refused("in the middle"), {
        new().pax("size", "18446744073709551615").file("f", "x").end()
    });
    add_raw("a negative pax size", Refused("pax record"), new().pax("size", "-1").file("f", "x").end());
    add_raw(
        "a pax record longer than it is",
        Refused("pax record"),
        new().pax_bytes(b"99 path=a\n").file("f", "x").end(),
    );
    add_raw(
        "a pax record of no length",
        Refused("pax record"),
        new().pax_bytes(b"0 path=a\n").file("f", "x").end(),
    );
    add_raw(
        "a pax record without end",
        Refused("pax record"),
        new().pax_bytes(b"9 path=ab").file("f", "x").end(),
    );
    add_raw("a broken gzip", Refused("decompressed"), gzip(&new().file("f", "x").end())[..40].to_vec());
    add_raw("xz", Refused("xz"), b"\xfd7zXZ\0".to_vec());
    shapes
}

#[test]
fn no_hostile_layer_touches_anything_outside() {
    let (mut names, mut careless) = (BTreeSet::new(), 0);
    let count = shapes("/").len();
    assert!(count >= 40, "{count}");
    for number in 0..count {
        let canary = Canary::new();
        let shape = shapes(&canary.outside()).swap_remove(number);
        let name = shape.name;
        assert!(names.insert(name), "{name}: twice");
        let unpacked = canary.unpack(&shape.layers);
        assert!(canary.is_untouched(), "{name}: touched what is outside");
        match (shape.fate, unpacked) {
            (Refused(why), Err(fault)) => {
                let text = fault.to_string();
                assert!(text.contains(why), "{name}: {text}");
                assert!(!text.chars().any(char::is_control), "{name}: {text:?}");
            }
            (Kept(path, content), Ok(_)) => {
                let shown = canary.shown();
                let found = shown.get(path).or_else(|| shown.get(&path["l/".len().min(path.len())..]));
                assert!(found.is_some_and(|found| found.starts_with(content)), "{name}: {shown:?}");
            }
            (Without(path), Ok(_)) => {
                let shown = canary.shown();
                assert!(!shown.contains_key(path), "{name}: {shown:?}");
            }
            (_, unpacked) => panic!("{name}: {unpacked:?}"),
        }
        canary.assert_harmless(name);
        // The shape is dangerous at all: it can tell a careless unpacker from this one.
        if shape.escapes {
            let canary = Canary::new();
            let layers = shapes(&canary.outside()).swap_remove(number).layers;
            for layer in &layers {
                unpack_naively(&canary.root(), layer);
            }
            if canary.is_untouched() {
                println!("a careless unpacker withstands: {name}");
            } else {
                careless += 1;
            }
        }
    }
    assert!(careless >= 25, "only {careless} shapes would get out of a careless unpacker");
}

#[test]
fn the_limits_themselves_can_be_reached() {
    let canary = Canary::new();
    let full = (0..LIMITS.entries_max).fold(Tar::default(), |tar, n| tar.file(&format!("{n}"), ""));
    let skipped = canary.unpack(&[full.end()]).unwrap();
    assert_eq!((skipped, canary.shown().len() as u64), (0, LIMITS.entries_max));
    let canary = Canary::new();
    let deep = format!("{}f", "d/".repeat(127));
    canary.unpack(&[Tar::default().file(&deep, &"x".repeat(700 << 10)).end()]).unwrap();
    assert_eq!(canary.shown()[&deep].len(), 700 << 10);
}
