//! Operations as JSON, and where their faults are.

use shared_contracts::patches::OperationOutcome;
use shared_contracts::patches::PatchFormat::Json;

use super::{check, notes};
use crate::formats::read;

#[test]
fn reads_operations() {
    check(
        Json,
        &[
            ("batch", r#"{"operations":[{"operation":"delete","path":"x","base_sha256":null}]}"#, "delete x"),
            (
                "array",
                r#"[{"operation":"delete","path":"x"},{"operation":"delete","path":"y"}]"#,
                "delete x\ndelete y",
            ),
            ("one", r#"{"operation":"delete","path":"x"}"#, "delete x"),
            (
                "one after another",
                "{\"operation\":\"delete\",\"path\":\"x\"}\n{\"operation\":\"delete\",\"path\":\"y\"}\n",
                "delete x\ndelete y",
            ),
            (
                "edit",
                r#"{"operation":"edit","path":"x","hunks":[{"old":"a\n","new":"b\n"}]}"#,
                "edit x ? [a|] [b|]",
            ),
            (
                "create",
                r#"{"operation":"create","path":"x","content":{"text":"a"},"mode":"executable"}"#,
                "create x executable [a]",
            ),
            (
                "write",
                r#"{"operation":"write","path":"x","content":{"base64":"AA=="}}"#,
                "write x base64 AA==",
            ),
            (
                "in a fence",
                "Here:\n```json\n[{\"operation\":\"delete\",\"path\":\"x\"}]\n```\nDone.\n",
                "delete x",
            ),
            ("prose around", "Here:\n[{\"operation\":\"delete\",\"path\":\"x\"}]\nDone.\n", "delete x"),
            (
                "one bad does not hide another",
                r#"[{"operation":"delete"},{"operation":"delete","path":"y"}]"#,
                "refused : line 1\ndelete y",
            ),
            ("outside", r#"[{"operation":"delete","path":"../x"}]"#, "refused ../x: denied"),
            ("rename outside", r#"[{"operation":"rename","from":"x","to":"/y"}]"#, "refused x: denied"),
            ("empty batch", r#"{"operations":[]}"#, "nothing: no operation in JSON is in the text"),
            ("not a list", r#"{"operations":3}"#, "refused : line 1"),
            ("unknown field beside", r#"{"operations":[],"title":"x"}"#, "refused : line 1"),
            ("no object", "[3]", "refused : line 1"),
            ("cut off", r#"[{"operation":"delete","#, "nothing: EOF while parsing an object"),
            ("no JSON", "hello", "nothing: expected value"),
        ],
    );
    let text = "[{\"operation\":\"delete\",\"path\":\"x\"}]\nDone.\n";
    assert_eq!(notes(text, Json), ["text after the JSON was skipped"]);
}

#[test]
fn names_the_place_and_field_of_a_fault() {
    let cases = [
        (
            "[\n {\"operation\":\"edit\",\"path\":\"x\",\n  \"hunks\":[{\"old\":3,\"new\":\"b\"}]}]",
            (3, 19),
            "invalid type: integer `3`, expected a string",
            "`hunks`",
        ),
        (
            "[\n {\"operation\":\"set_mode\",\"path\":\"x\",\n  \"mode\":\"big\"}]",
            (3, 14),
            "unknown variant `big`",
            "`mode`",
        ),
        (
            "[\n\n {\"operation\":\"set_mode\",\"path\":\"x\"}]",
            (3, 2),
            "missing field `mode`",
            "`set_mode` (path, mode)",
        ),
        (
            "[{\"operation\":\"edit\",\"path\":\"x\",\"hunks\":[],\"extra\":1}]",
            (1, 2),
            "unknown field `extra`",
            "`edit` (path",
        ),
        ("[{\"operation\":\"move\",\"path\":\"x\"}]", (1, 20), "unknown variant `move`", "`rename`"),
    ];
    let (mut places, mut wanted) = (Vec::new(), Vec::new());
    for (text, place, what, hint) in cases {
        let found = read(text, Some(Json)).unwrap().operations.remove(0).unwrap_err().1;
        let OperationOutcome::Malformed { line, column, what: found_what, hint: found_hint } = found else {
            panic!("{text}")
        };
        assert!(found_what.starts_with(what), "{found_what}");
        assert!(found_hint.contains(hint), "{found_hint}");
        places.push((line, column));
        wanted.push((Some(place.0), Some(place.1)));
    }
    assert_eq!(places, wanted);
    let fault = read("{\"operations\":\n  [}", Some(Json)).unwrap_err();
    assert_eq!((fault.line, fault.column), (2, 4));
}
