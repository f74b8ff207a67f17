//! A unified diff, from its text to the new file's bytes.

use std::hint::black_box;

use anyhow::Result;
use shared_contracts::patches::PatchFormat;

use crate::measure::{compared, in_turns};
use crate::text::{Edited, apply, tree};

const ROUNDS: usize = 101;

pub fn figures() -> Result<()> {
    let Edited { before, after, diff, .. } = Edited::new()?;
    let fenced = format!("```diff\n{diff}```\n");
    let tree = tree(&before)?;
    let ours = || apply(&tree, &diff, PatchFormat::UnifiedDiff);
    let diffy = || diffy::apply(&before, &diffy::Patch::from_str(&diff).expect("diffy reads it"));
    let mpatch = || {
        let read = mpatch::parse_single_patch(&fenced).expect("mpatch reads it");
        mpatch::apply_patch_to_content(&read, Some(&before), &mpatch::ApplyOptions::new()).new_content
    };
    assert_eq!(ours().as_deref(), Some(after.as_bytes()));
    assert_eq!(diffy().as_deref().ok(), Some(after.as_str()));
    assert_eq!(mpatch(), after);

    let [ours, diffy, mpatch] = in_turns(
        ROUNDS,
        [&mut || drop(black_box(ours())), &mut || drop(black_box(diffy())), &mut || {
            drop(black_box(mpatch()))
        }],
    );
    let what = format!("unified diff, {}", Edited::WHAT);
    compared(&what, ours, "diffy 0.5", diffy, 5.0);
    compared(&what, ours, "mpatch 1.8", mpatch, 15.0);
    Ok(())
}
