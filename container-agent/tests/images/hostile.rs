//! Layers that mean harm, by name; each into a root with a canary tree around it.

mod contents;
mod places;

use std::collections::BTreeSet;

use crate::archive::Tar;
use crate::canary::{Canary, LIMITS, unpack_naively};

/// What becomes of a shape.
pub enum Fate {
    /// Ends with an error that says this.
    Refused(&'static str),
    /// Unpacks, and stays inside; a path that the tree then has, and what stands there.
    Kept(&'static str, &'static str),
    /// Unpacks, and stays inside; a path that the tree does not have.
    Without(&'static str),
}

use Fate::{Kept, Refused, Without};

pub struct Shape {
    name: &'static str,
    layers: Vec<Vec<u8>>,
    fate: Fate,
    /// A careless unpacker would harm the canary.
    escapes: bool,
}

#[derive(Default)]
pub struct Shapes(Vec<Shape>);

impl Shapes {
    fn add(&mut self, name: &'static str, fate: Fate, escapes: bool, layers: Vec<Tar>) {
        let layers = layers.into_iter().map(Tar::end).collect();
        self.0.push(Shape { name, layers, fate, escapes });
    }

    /// One layer, as it is.
    fn add_bytes(&mut self, name: &'static str, fate: Fate, layer: Vec<u8>) {
        self.0.push(Shape { name, layers: vec![layer], fate, escapes: false });
    }
}

/// `out` is the absolute path of the canary's folder, which has `secret` and `folder/secret`.
fn shapes(out: &str) -> Vec<Shape> {
    let mut shapes = Shapes::default();
    places::names(&mut shapes, out);
    places::links(&mut shapes, out);
    contents::devices_and_modes(&mut shapes, out);
    contents::whiteouts_and_replacing(&mut shapes, out);
    contents::bombs_and_broken_ones(&mut shapes);
    shapes.0
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
