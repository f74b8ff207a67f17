//! What honest layers become: order, whiteouts, links, names, modes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use crate::archive::Tar;
use crate::canary::Canary;

/// Paths, and what stands there.
type Shown = &'static [(&'static str, &'static str)];
/// Adds an entry to a layer.
type Add = fn(Tar) -> Tar;

fn unpacked(layers: &[Tar]) -> BTreeMap<String, String> {
    let canary = Canary::new();
    let layers: Vec<_> = layers.iter().cloned().map(Tar::end).collect();
    canary.unpack(&layers).unwrap_or_else(|fault| panic!("{fault}"));
    let shown = canary.shown();
    canary.assert_harmless("honest");
    shown
}

fn tree(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect()
}

fn new() -> Tar {
    Tar::default()
}

#[test]
fn whiteouts_and_opaque_directories_hide_the_layers_below_alone() {
    let below = new()
        .dir("d", 0o755)
        .file("d/a", "below")
        .file("d/b", "below")
        .file("d/e/f", "below")
        .file("x", "below");
    let cases: [(&str, Tar, Shown); 8] = [
        (
            "a whiteout",
            new().file("d/.wh.a", "").file(".wh.x", ""),
            &[("d", "dir"), ("d/b", "below"), ("d/e", "dir"), ("d/e/f", "below")],
        ),
        ("of a directory", new().file(".wh.d", ""), &[("x", "below")]),
        (
            "of nothing",
            new().file("none/.wh.a", "").file(".wh.none", "").file(".wh.d", ""),
            &[("x", "below")],
        ),
        (
            "opaque, then its own",
            new().dir("d", 0o755).file("d/.wh..wh..opq", "").file("d/new", "above"),
            &[("d", "dir"), ("d/new", "above"), ("x", "below")],
        ),
        (
            "its own, then opaque",
            new().file("d/new", "above").file("d/.wh..wh..opq", ""),
            &[("d", "dir"), ("d/new", "above"), ("x", "below")],
        ),
        (
            "its own below, then opaque above",
            new().file("d/e/new", "above").file("d/.wh..wh..opq", ""),
            &[("d", "dir"), ("d/e", "dir"), ("d/e/new", "above"), ("x", "below")],
        ),
        (
            "replaced, then a whiteout",
            new().file("x", "above").file(".wh.x", "").file(".wh.d", ""),
            &[("x", "above")],
        ),
        (
            "a whiteout, then made anew",
            new().file(".wh.d", "").file("d/new", "above").file(".wh.x", ""),
            &[("d", "dir"), ("d/new", "above")],
        ),
    ];
    for (name, above, expected) in cases {
        assert_eq!(unpacked(&[below.clone(), above]), tree(expected), "{name}");
    }
}

#[test]
fn anything_may_replace_anything() {
    let kinds: [(&str, Add); 4] = [
        ("file", |tar| tar.file("p", "file")),
        ("dir", |tar| tar.dir("p", 0o755)),
        ("-> there", |tar| tar.symlink("p", "there")),
        ("linked", |tar| tar.file("o", "linked").hard_link("p", "o")),
    ];
    for (_, first) in &kinds {
        for (shown, second) in &kinds {
            assert_eq!(unpacked(&[first(new()), second(new())])["p"], *shown);
            assert_eq!(unpacked(&[second(first(new()))])["p"], *shown);
        }
    }
    let full = new().dir("p", 0o755).file("p/a/b", "x");
    assert_eq!(unpacked(&[full.clone(), new().file("p", "y")]), tree(&[("p", "y")]));
    // A directory over a directory is the same one.
    assert_eq!(unpacked(&[full, new().dir("p", 0o700)])["p/a/b"], "x");
}

#[test]
fn links_lead_where_they_would_inside() {
    let below = new().dir("usr/bin", 0o755).symlink("bin", "/usr/bin").symlink("up", "../../../usr");
    let above = new().file("bin/sh", "shell").file("up/bin/true", "true").hard_link("bin/dash", "bin/sh");
    let shown = unpacked(&[below, above]);
    for path in ["usr/bin/sh", "usr/bin/dash"] {
        assert_eq!(shown[path], "shell");
    }
    assert_eq!((&*shown["usr/bin/true"], &*shown["bin"]), ("true", "-> /usr/bin"));
}

#[test]
fn a_second_name_shares_its_file_until_it_is_replaced() {
    let canary = Canary::new();
    let below = new().file("f", "below").hard_link("g", "f").symlink("l", "f").hard_link("m", "l");
    canary.unpack(&[below.clone().end()]).unwrap();
    let inode = |name: &str| std::fs::symlink_metadata(canary.root().join(name)).unwrap().ino();
    assert_eq!((inode("f"), inode("l")), (inode("g"), inode("m")));
    let shown = unpacked(&[below, new().file("g", "above").file(".wh.f", "")]);
    assert_eq!(shown, tree(&[("g", "above"), ("l", "-> f"), ("m", "-> f")]));
}

#[test]
fn names_and_times_come_from_every_kind_of_header() {
    let long = format!("{}/name", "directory/".repeat(20));
    let ustar = new().entry(tar::EntryType::Regular, "tail", "", 0o644, b"").change(|header| {
        *header = tar::Header::new_ustar();
        header.set_path(format!("{}/tail", "p".repeat(120))).unwrap();
        header.set_size(0);
        header.set_mode(0o640);
    });
    let canary = Canary::new();
    let layer = ustar
        .file(&long, "gnu")
        .pax("mtime", "1234567890.5")
        .pax("path", "\u{e4}/pax")
        .file("x", "pax")
        .symlink("l", &"t".repeat(300));
    canary.unpack(&[layer.end()]).unwrap();
    let shown = canary.shown();
    assert_eq!(shown[&format!("{}/tail", "p".repeat(120))], "");
    assert_eq!((&*shown[&long.replace("//", "/")], &*shown["\u{e4}/pax"]), ("gnu", "pax"));
    assert_eq!(shown["l"], format!("-> {}", "t".repeat(300)));
    let time = |name: &str| std::fs::metadata(canary.root().join(name)).unwrap().mtime();
    assert_eq!((time("\u{e4}/pax"), time(&long)), (1_234_567_890, 1_000_000_000));
}

#[test]
fn modes_are_kept_but_for_what_is_dangerous() {
    let canary = Canary::new();
    let layer = new()
        .dir("tmp", 0o1777)
        .dir("closed", 0o000)
        .mode_file("program", "x", 0o755)
        .mode_file("shadow", "x", 0o000)
        .mode_file("su", "x", 0o4755)
        .mode_file("sticky", "x", 0o1644)
        .file("unsaid/f", "x");
    canary.unpack(&[layer.end()]).unwrap();
    let mode = |name: &str| std::fs::metadata(canary.root().join(name)).unwrap().mode() & 0o7777;
    for (name, expected) in [
        ("tmp", 0o1777),
        ("closed", 0o700),
        ("program", 0o755),
        ("shadow", 0o400),
        ("su", 0o755),
        ("sticky", 0o644),
        ("unsaid", 0o755),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
}
