use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Hunk, OperationOutcome};

use super::super::came::{self, Came, came_over};
use super::super::{Base, BaseText, Placement, place};

/// The text that the hunk makes of a file whose base is known.
fn placed(base: &str, file: &str, hunk: Hunk) -> Result<String, OperationOutcome> {
    let (wanted, found) = (Sha256::of(base.as_bytes()), Sha256::of(file.as_bytes()));
    match place(
        file,
        Base::Stale { wanted, found, text: Some(BaseText { text: base, untouched: None }) },
        &[hunk],
    )? {
        Placement::Changed { text, .. } => Ok(text),
        Placement::Landed => Ok(file.to_owned()),
    }
}

fn hunk(start_line: Option<u32>, old: &str, new: &str) -> Hunk {
    Hunk { start_line, old: old.into(), new: new.into(), ..Hunk::default() }
}

#[test]
fn each_change_of_a_hunk_is_followed() {
    let wide = hunk(Some(2), "above()\none()\nkept()\ntwo()\nbelow()\n", "above()\nkept()\nbelow()\n");
    let base = "head()\nabove()\none()\nkept()\ntwo()\nbelow()\n";
    assert_eq!(placed(base, "one()\nkept()\ntwo()\nbelow()\n", wide).as_deref(), Ok("kept()\nbelow()\n"));
}

#[test]
fn which_of_two_twins_went_cannot_be_told() {
    let twin = "fn twin() {\n    first();\n    second();\n}\n";
    let next: String = (0..9).map(|n| format!("next({n});\n")).collect();
    let base = format!("top();\n{twin}{twin}{next}end();\n");
    let file = format!("top();\n{twin}{next}{twin}end();\n");
    let in_second = hunk(Some(8), "    second();\n}\nnext(0);\n", "    other();\n}\nnext(0);\n");
    assert!(placed(&base, &file, in_second).is_err());
}

#[test]
fn a_moved_block_is_not_taken_for_its_neighbour_with_the_same_end() {
    let block = |name: &str| {
        format!(
            "fn block() {{\n    open({name});\n    read({name});\n    if high {{\n        return;\n    }}\n}}\n"
        )
    };
    let other = "fn other() {\n    a();\n    b();\n    c();\n    d();\n    e();\n    f();\n    g();\n}\n";
    let common: String = (0..12).map(|n| format!("    if is_{n} {{\n        return;\n    }}\n")).collect();
    let base = format!("{}{}{other}{common}", block("one"), block("two"));
    let file = format!("{other}{}{}{common}", block("two"), block("one"));
    let (old, new) = ("        return;\n    }\n", "        return;\n        never();\n    }\n");
    let right = format!("{other}{}{}{common}", block("two"), block("one").replace(old, new));
    let came = placed(&base, &file, hunk(Some(5), old, new));
    assert!(came.is_err() || came == Ok(right), "{came:?}");
}

#[test]
fn a_place_that_looked_so_in_the_base_already_is_another() {
    let body = "    default();\n    nothing();\n    switch();\n    case(32);\n";
    let base = format!("fn first() {{\n{body}}}\nfn second() {{\n{body}}}\n");
    let edited = "    default(); // so\n    nothing(); // so\n    switch();\n    case(77);\n";
    let file = format!("fn first() {{\n{body}}}\nfn second() {{\n{edited}}}\n");
    let old = Hunk {
        within: vec!["fn second() {".into()],
        ..hunk(None, body, &body.replace("    switch();\n", ""))
    };
    let right = file.replace(edited, &edited.replace("    switch();\n", ""));
    let came = placed(&base, &file, old);
    assert!(came.is_err() || came == Ok(right), "{came:?}");
}

#[test]
fn a_file_with_other_line_endings_than_its_base_keeps_them() {
    let (base, new) = ("one();\ntwo();\nthree();\nfour();\nfive();\n", "ONE();\ntwo();\nTHREE();\n");
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let single = hunk(Some(2), "two();\n", "TWO();\n");
    assert_eq!(placed(base, &crlf(base), single), Ok(crlf(&base.replace("two", "TWO"))));
    let of_blanks = hunk(Some(2), "two();\n", "  two();\n");
    assert_eq!(placed(base, &crlf(base), of_blanks), Ok(crlf(&base.replace("two", "  two"))));
    let with_a_line_that_stays = hunk(Some(1), "one();\ntwo();\nthree();\n", new);
    assert_eq!(
        placed(base, &crlf(base), with_a_line_that_stays),
        Ok(crlf(&format!("{new}four();\nfive();\n")))
    );
}

#[test]
fn an_edit_that_stands_in_the_file_has_landed_though_its_base_is_ambiguous() {
    let block = "begin();\nold();\nend();\n";
    let base = format!("{block}between();\n{block}");
    let edit = [came::hunk(block, &block.replace("old", "new"))];
    let file = format!("{}between();\n", block.replace("old", "new"));
    assert_eq!(came_over(&base, &file, &edit), Came::Landed);
    assert_eq!(came_over(&base, &format!("{block}between();\n"), &edit), Came::Ambiguous);
}
