//! Names and links that lead elsewhere.

use tar::EntryType;

use super::Fate::{Kept, Refused};
use super::Shapes;
use crate::archive::Tar;

pub fn names(shapes: &mut Shapes, out: &str) {
    let new = Tar::default;
    let secret = format!("{out}/secret");
    let (safe, up) = (false, true);
    shapes.add("a file above the root", Refused("`..`"), up, vec![new().file("../outside/secret", "x")]);
    shapes.add(
        "a file above the root, by way of a directory",
        Refused("`..`"),
        up,
        vec![new().dir("a", 0o755).file("a/../../outside/secret", "x")],
    );
    shapes.add(
        "a file far above the root",
        Refused("`..`"),
        safe,
        vec![new().file("../../../../../../../../../tmp/patchbay-hostile", "x")],
    );
    shapes.add("a directory that is `..`", Refused("`..`"), up, vec![new().dir("../outside", 0o777)]);
    shapes.add("an absolute file", Kept("f", "x"), up, vec![new().file(&secret, "x").file("/f", "x")]);
    shapes.add(
        "an absolute file with slashes",
        Kept("f", "x"),
        up,
        vec![new().file(&format!("///{secret}"), "x").file("//./f", "x")],
    );
    shapes.add("an absolute directory", Kept("f", "x"), up, vec![new().dir(out, 0o777).file("f", "x")]);
    shapes.add("a zero in a pax path", Refused("zero"), safe, vec![new().pax("path", "a\0b").file("a", "x")]);
    shapes.add(
        "a zero in a link's target",
        Refused("zero"),
        safe,
        vec![new().pax("linkpath", "a\0b").symlink("a", "b")],
    );
    shapes.add(
        "a pax path in place of the name",
        Refused("`..`"),
        up,
        vec![new().pax("path", "../outside/secret").file("harmless", "x")],
    );
    shapes.add(
        "a GNU long name in place of the name",
        Refused("`..`"),
        up,
        vec![new().long_name("../outside/secret").file("harmless", "x")],
    );
    shapes.add("a path of 5000 bytes", Refused("4095"), safe, vec![new().file(&"a/".repeat(2500), "x")]);
    shapes.add("a name of 256 bytes", Refused("255"), safe, vec![new().file(&"a".repeat(256), "x")]);
    shapes.add("129 directories deep", Refused("128"), safe, vec![new().dir(&"d/".repeat(129), 0o755)]);
    shapes.add(
        "a long name of 2 MiB",
        Refused("more than 1048576"),
        safe,
        vec![new().long_name(&"a".repeat(2 << 20))],
    );
    shapes.add(
        "a name that a terminal would obey",
        Kept("\u{1b}[2J\n", "x"),
        safe,
        vec![new().file("\u{1b}[2J\n", "x")],
    );
    shapes.add("a reserved name as a directory", Refused("whiteout"), safe, vec![new().file(".wh.a/b", "x")]);
}

pub fn links(shapes: &mut Shapes, out: &str) {
    let new = Tar::default;
    let secret = format!("{out}/secret");
    let (safe, up) = (false, true);

    // Symbolic links.
    shapes.add(
        "a file through an absolute link",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out).file("l/secret", "x")],
    );
    shapes.add(
        "a file through a link upwards",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", "../outside").file("l/secret", "x")],
    );
    shapes.add(
        "a file through two links",
        Refused("link to nothing"),
        up,
        vec![new().symlink("a", "b").symlink("b", "../outside").file("a/secret", "x")],
    );
    shapes.add(
        "a file through a link of the layer below",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out), new().file("l/secret", "x")],
    );
    shapes.add(
        "a file through a link to the root",
        Kept("l/f", "x"),
        up,
        vec![new().symlink("l", "/").file("l/f", "x").file(&format!("l{secret}"), "x")],
    );
    shapes.add(
        "a file through a link in a directory",
        Refused("link to nothing"),
        up,
        vec![new().dir("d", 0o755).symlink("d/l", "../../outside").file("d/l/secret", "x")],
    );
    shapes.add(
        "a file through /proc",
        Refused("link to nothing"),
        safe,
        vec![new().symlink("l", &format!("/proc/self/root{out}")).file("l/secret", "x")],
    );
    shapes.add(
        "a file through a descriptor",
        Refused("link to nothing"),
        safe,
        vec![new().symlink("l", "/proc/self/fd/3").file("l/secret", "x")],
    );
    shapes.add(
        "a file in place of a link",
        Kept("l", "x"),
        up,
        vec![new().symlink("l", &secret).file("l", "x")],
    );
    shapes.add(
        "a file in place of a link below",
        Kept("l", "x"),
        up,
        vec![new().symlink("l", &secret), new().file("l", "x")],
    );
    shapes.add(
        "a directory in place of a link",
        Kept("l/f", "x"),
        up,
        vec![new().symlink("l", out).dir("l", 0o777).file("l/f", "x")],
    );
    shapes.add(
        "a directory through a link",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out).dir("l/folder", 0o700)],
    );
    shapes.add(
        "a link through a link",
        Refused("link to nothing"),
        up,
        vec![new().symlink("l", out).symlink("l/new", "/etc")],
    );
    shapes.add(
        "links in a circle",
        Refused("leads to no directory"),
        safe,
        vec![new().symlink("a", "b").symlink("b", "a").file("a/f", "x")],
    );
    shapes.add(
        "a chain of 60 links",
        Refused("leads to no directory"),
        safe,
        vec![
            (0..60)
                .fold(new().dir("l60", 0o755), |tar, n| tar.symlink(&format!("l{n}"), &format!("l{}", n + 1)))
                .file("l0/f", "x"),
        ],
    );
    shapes.add("a link to nothing at all", Refused("link to nothing"), safe, vec![new().symlink("l", "")]);
    shapes.add(
        "a link with a target of 5000 bytes",
        Refused("too long"),
        safe,
        vec![new().symlink("l", &"a".repeat(5000))],
    );
    shapes.add("the root as a link", Refused("is the root"), safe, vec![new().symlink("./", out)]);
    shapes.add(
        "the root as a file",
        Refused("is the root"),
        safe,
        vec![new().entry(EntryType::Continuous, "./", "", 0o644, b"x")],
    );

    // Hard links.
    shapes.add(
        "a hard link to an absolute name",
        Refused("not in the image"),
        up,
        vec![new().hard_link("h", &secret)],
    );
    shapes.add("a hard link upwards", Refused("`..`"), up, vec![new().hard_link("h", "../outside/secret")]);
    shapes.add(
        "a hard link through a link",
        Refused("not in the image"),
        up,
        vec![new().symlink("l", out).hard_link("h", "l/secret")],
    );
    shapes.add(
        "a hard link by a pax target",
        Refused("`..`"),
        up,
        vec![new().pax("linkpath", "../outside/secret").hard_link("h", "harmless")],
    );
    shapes.add(
        "a hard link by a GNU long target",
        Refused("`..`"),
        up,
        vec![new().long_link("../outside/secret").hard_link("h", "harmless")],
    );
    shapes.add(
        "a hard link to a link, then a file",
        Kept("h", "x"),
        up,
        vec![new().symlink("l", &secret).hard_link("h", "l").file("h", "x")],
    );
    shapes.add(
        "a hard link to a directory",
        Refused("no file"),
        safe,
        vec![new().dir("d", 0o755).hard_link("h", "d")],
    );
    shapes.add(
        "a hard link to the root",
        Refused("directory or a whiteout"),
        safe,
        vec![new().hard_link("h", "/")],
    );
    shapes.add("a hard link to itself", Kept("f", "x"), safe, vec![new().file("f", "x").hard_link("f", "f")]);
    shapes.add(
        "a hard link to what it replaces",
        Refused("not in the image"),
        safe,
        vec![new().file("d/f", "x").hard_link("d", "d/f")],
    );
    shapes.add("a hard link to nothing", Refused("not in the image"), safe, vec![new().hard_link("h", "f")]);
    shapes.add(
        "a hard link below a file",
        Refused("no directory"),
        safe,
        vec![new().file("f", "x").hard_link("f/h", "f")],
    );
}
