use std::collections::BTreeMap;

use shared_contracts::patches::OperationOutcome;
use shared_contracts::paths::WorkspacePath;

use super::{Attack, TREE, attacks, below_links, leaving, links_made, scripts};
use crate::{File, formats, plan_parsed};

fn tree() -> BTreeMap<WorkspacePath, File> {
    let file = |(name, content, mode): (&str, &str, _)| {
        (WorkspacePath::parse(name).unwrap(), File { bytes: content.into(), mode })
    };
    TREE.map(file).into()
}

fn refused(attack: &Attack) -> Vec<OperationOutcome> {
    match formats::read(&attack.text, Some(attack.format)) {
        Err(fault) => vec![fault.into()],
        Ok(read) => {
            let refusal =
                plan_parsed(&read.operations, &tree()).expect_err(&format!("it is refused: {attack:?}"));
            refusal.operations.into_iter().map(|receipt| receipt.outcome).collect()
        }
    }
}

fn assert_denied(attacks: &[Attack]) {
    for attack in attacks {
        let outcomes = refused(attack);
        let is_denied = |outcome: &OperationOutcome| matches!(outcome, OperationOutcome::DeniedPath { why } if !why.is_empty());
        assert!(outcomes.iter().any(is_denied), "{attack:?}: {outcomes:?}");
    }
}

#[test]
fn a_name_that_leaves_the_tree_is_denied_in_every_format() {
    assert_denied(&leaving());
    assert!(leaving().len() >= 200);
}

#[test]
fn nothing_is_written_through_a_link() {
    assert_denied(&below_links());
}

/// Other files change before links are made: then there is nothing yet below the link's name, or a folder there.
#[test]
fn no_link_is_made_that_leads_out_or_is_written_through() {
    let (denied, others): (Vec<_>, Vec<_>) =
        links_made().into_iter().partition(|attack| attack.name != "l" || attack.text.contains("b/l/x\nnew"));
    assert_denied(&denied);
    assert_eq!((denied.len(), others.len()), (8, 4));
    others.iter().for_each(|attack| drop(refused(attack)));
}

#[test]
fn nothing_is_run_and_nothing_is_left_beside() {
    for attack in scripts() {
        let outcomes = refused(&attack);
        assert!(outcomes.iter().all(|outcome| !outcome.is_success()), "{attack:?}: {outcomes:?}");
    }
}

#[test]
fn every_attack_is_in_the_list_that_others_take() {
    let parts = [leaving(), below_links(), links_made(), scripts()];
    assert_eq!(attacks().len(), parts.iter().map(Vec::len).sum::<usize>());
}
