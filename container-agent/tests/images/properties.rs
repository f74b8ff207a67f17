//! Layers made of anything: whatever they hold, nothing outside is touched, and what is unpacked is harmless.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tar::EntryType;

use crate::archive::{Tar, gzip, zstd};
use crate::canary::Canary;

/// Parts of names that have a meaning somewhere, and few enough to meet each other.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "..", ".", "", "outside", "secret", "folder", "proc", "OUT"])
}

fn path() -> impl Strategy<Value = String> {
    let whiteout = prop::sample::select(vec!["", "", "", "", ".wh.", ".wh..wh..opq"]);
    (prop::collection::vec(part(), 1..5), whiteout).prop_map(|(mut parts, whiteout)| {
        let last = parts.pop().unwrap_or_default();
        let last = if whiteout == ".wh..wh..opq" { whiteout.to_owned() } else { format!("{whiteout}{last}") };
        parts.into_iter().map(str::to_owned).chain([last]).collect::<Vec<_>>().join("/")
    })
}

fn kind() -> impl Strategy<Value = EntryType> {
    use EntryType::{Char, Directory, Fifo, Link, Regular, Symlink, XHeader};
    prop::sample::select(vec![
        Regular, Regular, Directory, Directory, Symlink, Symlink, Link, Link, Char, Fifo, XHeader,
    ])
}

type Entry = (EntryType, String, String, u32);

fn layers() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let entry = (kind(), path(), path(), 0..0o10000_u32);
    prop::collection::vec(prop::collection::vec(entry, 0..12), 1..4)
}

fn tar_of(layer: &[Entry], out: &str) -> Vec<u8> {
    let here = |path: &String| path.replace("OUT", out);
    let add = |tar: Tar, (kind, path, target, mode): &Entry| match kind {
        EntryType::XHeader => tar.pax("linkpath", &here(target)).hard_link(&here(path), "x"),
        EntryType::Regular => tar.entry(*kind, &here(path), "", *mode, b"content"),
        kind => tar.entry(*kind, &here(path), &here(target), *mode, b""),
    };
    layer.iter().fold(Tar::default(), add).end()
}

proptest! {
    #[test]
    fn no_layers_touch_anything_outside(layers in layers()) {
        let canary = Canary::new();
        let out = canary.outside();
        let layers: Vec<_> = layers.iter().map(|layer| tar_of(layer, &out)).collect();
        let _ = canary.unpack(&layers);
        prop_assert!(canary.is_untouched());
        canary.assert_harmless("anything");
    }

    /// Bytes changed anywhere, in the tar and in its compression: an answer, and no panic.
    #[test]
    fn no_bytes_are_too_broken(
        layers in layers(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        compression in 0..3,
    ) {
        let canary = Canary::new();
        let out = canary.outside();
        let mut layers: Vec<_> = layers.iter().map(|layer| tar_of(layer, &out)).collect();
        for layer in &mut layers {
            *layer = match compression {
                0 => std::mem::take(layer),
                1 => gzip(layer),
                _ => zstd(layer),
            };
            for (at, byte) in &changes {
                let at = at.index(layer.len());
                layer[at] = *byte;
            }
        }
        let _ = canary.unpack(&layers);
        prop_assert!(canary.is_untouched());
    }

    /// Files and whiteouts, against the specification's words: a whiteout hides what the layers below have.
    #[test]
    fn layers_flatten_as_the_specification_says(
        layers in prop::collection::vec(prop::collection::vec(
            (prop::sample::select(vec!["a", "b", "a/x", "a/y", "b/x/p", "b/x/q"]), 0..3), 0..6), 1..4),
    ) {
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        let mut tars = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let mut own: BTreeMap<String, String> = BTreeMap::new();
            let mut hidden = Vec::new();
            let mut tar = Tar::default();
            for (path, what) in layer {
                // Names of one depth only become files, so that no file stands where a directory must.
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                match what {
                    0 if !matches!(*path, "a" | "b") => {
                        tar = tar.file(path, &number.to_string());
                        own.insert((*path).to_owned(), number.to_string());
                    }
                    1 => {
                        tar = tar.file(format!("{parent}/.wh.{name}").trim_start_matches('/'), "");
                        hidden.push((*path).to_owned());
                    }
                    2 => {
                        tar = tar.file(format!("{parent}/.wh..wh..opq").trim_start_matches('/'), "");
                        hidden.push(parent.to_owned());
                    }
                    _ => {}
                }
            }
            model.retain(|path, _| !hidden.iter().any(|hidden| {
                hidden.is_empty() || path == hidden || path.starts_with(&format!("{hidden}/"))
            }));
            model.extend(own);
            tars.push(tar.end());
        }
        let canary = Canary::new();
        canary.unpack(&tars).unwrap();
        let mut shown = canary.shown();
        shown.retain(|_, what| what != "dir");
        prop_assert_eq!(shown, model);
    }
}
