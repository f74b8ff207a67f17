//! Devices and modes, words about the layers below, bombs, and what is no tar.

use std::sync::LazyLock;

use tar::EntryType;

use super::Fate::{Kept, Refused, Without};
use super::Shapes;
use crate::archive::{Tar, gzip, zstd};

/// A few kilobytes each, that become 16 MiB.
static BOMBS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let zeros = vec![0; 16 << 20];
    let behind = |tar: Tar| [tar.end(), zeros.clone()].concat();
    let file = Tar::default().file("f", "").change(|header| header.set_size(16 << 20)).open_end();
    [gzip(&[file, zeros.clone()].concat()), gzip(&behind(Tar::default())), zstd(&behind(Tar::default()))]
});

pub fn devices_and_modes(shapes: &mut Shapes, out: &str) {
    let new = Tar::default;
    let safe = false;
    shapes.add("a character device", Without("mem"), safe, vec![new().special(EntryType::Char, "mem")]);
    shapes.add("a block device", Without("sda"), safe, vec![new().special(EntryType::Block, "sda")]);
    shapes.add("a fifo", Without("fifo"), safe, vec![new().special(EntryType::Fifo, "fifo")]);
    shapes.add(
        "a device in place of a file",
        Without("f"),
        safe,
        vec![new().file("f", "x"), new().special(EntryType::Char, "f")],
    );
    shapes.add(
        "an overlay's whiteout, as a device",
        Without("f"),
        safe,
        vec![new().special(EntryType::Char, "f")],
    );
    shapes.add(
        "a device through a link",
        Refused("link to nothing"),
        safe,
        vec![new().symlink("l", out).special(EntryType::Fifo, "l/fifo")],
    );
    shapes.add(
        "set user id",
        Kept("su", "x"),
        safe,
        vec![new().mode_file("su", "x", 0o6777).dir("d", 0o7777)],
    );
    shapes.add(
        "modes of nothing",
        Kept("d/f", "x"),
        safe,
        vec![new().dir("./", 0).dir("d", 0).mode_file("d/f", "x", 0)],
    );
    shapes.add(
        "attributes of an overlay",
        Kept("f", "x"),
        safe,
        vec![new().pax("SCHILY.xattr.trusted.overlay.redirect", "/etc").file("f", "x")],
    );
    shapes.add(
        "capabilities of a file",
        Kept("f", "x"),
        safe,
        vec![new().pax("SCHILY.xattr.security.capability", "\u{1}\n\n=").file("f", "x")],
    );
}

pub fn whiteouts_and_replacing(shapes: &mut Shapes, out: &str) {
    let new = Tar::default;
    let (safe, up) = (false, true);
    let inside = |path: &str| format!("{out}/{path}");

    // Whiteouts.
    shapes.add(
        "a whiteout above the root",
        Refused("`..`"),
        up,
        vec![new().file("../outside/.wh.secret", "")],
    );
    shapes.add(
        "an absolute whiteout",
        Kept("f", "x"),
        up,
        vec![new().file(&inside(".wh.secret"), "").file("f", "x")],
    );
    shapes.add(
        "a whiteout of `..`",
        Refused("of no name"),
        safe,
        vec![new().dir("d", 0o755).file("d/.wh...", "")],
    );
    shapes.add("a whiteout of `.`", Refused("of no name"), safe, vec![new().file(".wh..", "")]);
    shapes.add("a whiteout of nothing", Refused("of no name"), safe, vec![new().file(".wh.", "")]);
    shapes.add(
        "a whiteout through a link",
        Kept("l", "-> "),
        up,
        vec![new().symlink("l", out).file("l/.wh.secret", "")],
    );
    shapes.add(
        "an opaque link",
        Kept("l", "-> "),
        up,
        vec![new().symlink("l", out), new().file("l/.wh..wh..opq", "")],
    );
    shapes.add(
        "an opaque directory above the root",
        Refused("`..`"),
        up,
        vec![new().file("../outside/.wh..wh..opq", "")],
    );
    shapes.add(
        "a whiteout of a link",
        Without("l"),
        safe,
        vec![new().symlink("l", out), new().file(".wh.l", "")],
    );
    shapes.add(
        "aufs's own files",
        Without(".wh..wh.plnk"),
        safe,
        vec![new().file(".wh..wh.plnk/1.2", "x").file(".wh..wh.aufs", "")],
    );
    shapes.add(
        "a hard link to a whiteout",
        Refused("directory or a whiteout"),
        safe,
        vec![new().hard_link("h", ".wh.f")],
    );

    // Replacing.
    shapes.add(
        "a file in place of a directory, and a file in it",
        Refused("no directory"),
        safe,
        vec![new().dir("d", 0o755).file("d/f", "x").file("d", "x").file("d/f", "x")],
    );
    shapes.add(
        "a link in place of a directory, and a file in it",
        Refused("link to nothing"),
        up,
        vec![
            new().dir("d", 0o755).file("d/f", "x"),
            new().entry(EntryType::Fifo, "d", "", 0, b"").symlink("d", out).file("d/secret", "x"),
        ],
    );
}

pub fn bombs_and_broken_ones(shapes: &mut Shapes) {
    let new = Tar::default;
    let safe = false;

    // Bombs.
    shapes.add(
        "too many bytes",
        Refused("more than 1048576 bytes"),
        safe,
        vec![new().file("f", &"x".repeat(2 << 20))],
    );
    shapes.add(
        "too many bytes in two layers",
        Refused("more than 1048576 bytes"),
        safe,
        vec![new().file("f", &"x".repeat(700 << 10)), new().file("f", &"x".repeat(700 << 10))],
    );
    shapes.add(
        "too many entries",
        Refused("more than 500 entries"),
        safe,
        vec![(0..501).fold(new(), |tar, n| tar.file(&format!("{n}"), ""))],
    );
    shapes.add(
        "too many directories that nobody named",
        Refused("more than 500 entries"),
        safe,
        vec![(0..10).fold(new(), |tar, n| tar.file(&format!("{n}/{}", "d/".repeat(100)), ""))],
    );
    shapes.add(
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
    let [gzip_bomb, gzip_bomb_behind, zstd_bomb] = &*BOMBS;
    shapes.add_bytes("a gzip bomb", Refused("more than 1048576 bytes"), gzip_bomb.clone());
    shapes.add_bytes(
        "a gzip bomb behind the end",
        Refused("more than 1048576 bytes"),
        gzip_bomb_behind.clone(),
    );
    shapes.add_bytes("a zstd bomb", Refused("more than 1048576 bytes"), zstd_bomb.clone());

    // Not what a tar is.
    shapes.add_bytes(
        "a GNU sparse file",
        Refused("--sparse"),
        new().entry(EntryType::GNUSparse, "f", "", 0o644, b"x").end(),
    );
    shapes.add_bytes(
        "a pax sparse file",
        Refused("--sparse"),
        new().pax("GNU.sparse.major", "1").file("f", "x").end(),
    );
    shapes.add_bytes(
        "an unknown kind",
        Refused("unknown kind 0x58"),
        new().entry(EntryType::new(b'X'), "f", "", 0o644, b"x").end(),
    );
    shapes.add_bytes("a wrong checksum", Refused("checksum"), {
        let mut layer = new().file("f", "x").end();
        layer[0] = b'g';
        layer
    });
    shapes.add_bytes("text", Refused("checksum"), vec![b'x'; 2048]);
    shapes.add_bytes("half a header", Refused("in the middle"), vec![b'x'; 100]);
    shapes.add_bytes(
        "half a content",
        Refused("in the middle"),
        new().file("f", &"x".repeat(2000)).open_end()[..1500].to_vec(),
    );
    shapes.add_bytes("no closing block", Refused("in the middle"), new().file("f", "x").open_end());
    shapes.add_bytes("a size beyond the archive", Refused("in the middle"), {
        new().file("f", "").change(|header| header.set_size(1 << 30)).end()
    });
    shapes.add_bytes("the largest size there is", Refused("in the middle"), {
        new().file("f", "").change(|header| header.set_size(u64::MAX)).end()
    });
    shapes.add_bytes("a pax size beyond the archive", Refused("in the middle"), {
        new().pax("size", "18446744073709551615").file("f", "x").end()
    });
    shapes.add_bytes(
        "a negative pax size",
        Refused("pax record"),
        new().pax("size", "-1").file("f", "x").end(),
    );
    shapes.add_bytes(
        "a pax record longer than it is",
        Refused("pax record"),
        new().pax_bytes(b"99 path=a\n").file("f", "x").end(),
    );
    shapes.add_bytes(
        "a pax record of no length",
        Refused("pax record"),
        new().pax_bytes(b"0 path=a\n").file("f", "x").end(),
    );
    shapes.add_bytes(
        "a pax record without end",
        Refused("pax record"),
        new().pax_bytes(b"9 path=ab").file("f", "x").end(),
    );
    shapes.add_bytes(
        "a broken gzip",
        Refused("decompressed"),
        gzip(&new().file("f", "x").end())[..40].to_vec(),
    );
    shapes.add_bytes("xz", Refused("xz"), b"\xfd7zXZ\0".to_vec());
}
