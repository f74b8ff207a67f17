//! Secrets lie with their project, are its owner's to set, and are listed without their values.

use std::collections::BTreeMap;

use shared_contracts::page::Page;
use shared_contracts::secrets::Secret;

use super::database::{Database, ids};
use crate::args;
use crate::secrets::seal::Sealed;
use crate::secrets::store::{DELETE, LIST, RESEAL, SEALED, SEALED_BY, SET, SIZES, Stored};

fn set(database: &Database, owner: &str, name: &str, sealed: &str, now_ms: u64, most: u32) -> Option<Secret> {
    database.typed(SET, args![ids::project(), owner, name, "key", sealed, sealed.len(), now_ms, most])
}

#[test]
fn a_secret_is_set_and_set_again_by_its_owner_while_there_is_room() {
    let database = Database::new().filled();
    let owner = ids::owner();
    assert_eq!(set(&database, "own_other", "OTHER", "x", 5, 9), None);
    let made = set(&database, &owner, "OTHER", "sealed", 5, 2).unwrap();
    assert_eq!((made.name.as_str(), made.created_at_ms, made.updated_at_ms), ("OTHER", 5, 5));
    assert_eq!(set(&database, &owner, "THIRD", "x", 6, 2), None, "there is no room");
    let again = set(&database, &owner, "OTHER", "sealed anew", 7, 2).unwrap();
    assert_eq!((again.created_at_ms, again.updated_at_ms), (5, 7));
    let names = r#"["OTHER","NONE"]"#;
    let sizes: BTreeMap<String, usize> = database.typed(SIZES, args![ids::project(), names]).unwrap();
    assert_eq!(sizes, BTreeMap::from([("OTHER".to_owned(), 11)]));
    let sealed: BTreeMap<String, Sealed> = database.typed(SEALED, args![ids::project(), names]).unwrap();
    assert_eq!(sealed["OTHER"], Sealed { key_id: "key".into(), sealed: "sealed anew".into() });
    assert_eq!(database.change(DELETE, args![ids::project(), "OTHER", "own_other"]), 0);
    assert_eq!(database.change(DELETE, args![ids::project(), "OTHER", owner.as_str()]), 1);
    assert_eq!(database.change(DELETE, args![ids::project(), "OTHER", owner.as_str()]), 0);
}

#[test]
fn what_an_old_key_sealed_is_sealed_anew_unless_it_was_set_meanwhile() {
    let database = Database::new().filled();
    set(&database, &ids::owner(), "B", "by the old key", 5, 9).unwrap();
    let by = |key: &str, limit: u32| -> Vec<Stored> { database.typed(SEALED_BY, args![key, limit]).unwrap() };
    assert_eq!((by("key", 9).len(), by("key", 1).len(), by("another", 9).len()), (2, 1, 0));
    let old = by("key", 9).into_iter().find(|stored| stored.name == "B").unwrap();
    assert_eq!(old.project_id.to_string(), ids::project());
    let reseal =
        |was: &str| database.change(RESEAL, args![ids::project(), "B", was, "new", "by the new key"]);
    assert_eq!(reseal("something else"), 0);
    assert_eq!(reseal(&old.sealed.sealed), 1);
    assert_eq!((by("key", 9).len(), by("new", 9)[0].sealed.sealed.as_str()), (1, "by the new key"));
}

#[test]
fn they_are_listed_by_name_without_what_they_hold() {
    let database = Database::new().filled();
    for name in ["B", "A_1", "a"] {
        set(&database, &ids::owner(), name, "the sealed value", 5, 9).unwrap();
    }
    let (mut after, mut found) = (String::new(), Vec::new());
    loop {
        let record = database.record(LIST, args![ids::project(), after.as_str(), 3]).unwrap();
        assert!(!record.contains("sealed") && !record.contains("key"), "{record}");
        let page: Page<Secret> = serde_json::from_str(&record).unwrap();
        found.extend(page.items.into_iter().map(|secret| secret.name));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(found, ["A_1", "B", "TOKEN", "a"]);
    let others: Page<Secret> = database.typed(LIST, args!["prj_another", "", 3]).unwrap();
    assert!(others.items.is_empty() && others.next.is_none());
}
