use super::super::came::{Came, at, came, hunk, text};

#[test]
fn the_line_number_tells_the_place_of_old_from_that_of_new() {
    let (old, new) = ("head();\nalpha();\ntail();\n", "head();\nbeta();\ntail();\n");
    let file = format!("{old}between();\n{new}");
    assert_eq!(came(&file, &[hunk(old, new)]), Came::Ambiguous);
    assert_eq!(came(&file, &[at(1, old, new)]), text(&format!("{new}between();\n{new}")));
    assert_eq!(came(&file, &[at(5, old, new)]), Came::Ambiguous);
}

#[test]
fn a_line_inserted_into_a_longer_run_of_equal_ones_needs_its_number() {
    let (old, new) = ("0,\n0,\n]\n", "0,\n0,\n0,\n]\n");
    let run = "[\n0,\n0,\n0,\n]\n";
    assert_eq!(came(run, &[hunk(old, new)]), Came::Ambiguous);
    assert_eq!(came(run, &[at(3, old, new)]), text("[\n0,\n0,\n0,\n0,\n]\n"));
    assert_eq!(came(run, &[at(2, old, new)]), Came::Landed);
}

#[test]
fn an_insertion_whose_block_stands_there_alone_has_landed() {
    let old = "above();\nbelow();\n";
    let new = "above();\none();\ntwo();\nthree();\nbelow();\n";
    let file = format!("{new}between();\n{old}");
    assert_eq!(came(&file, &[hunk(old, new)]), Came::Landed);
    // Its lines stand elsewhere too, or are too few.
    assert_eq!(came(&format!("{file}three();\ntwo();\none();\n"), &[hunk(old, new)]), Came::Ambiguous);
    let short = new.replace("three();\n", "");
    assert_eq!(came(&format!("{short}between();\n{old}"), &[hunk(old, &short)]), Came::Ambiguous);
    // The patch names the other place.
    assert_eq!(came(&file, &[at(7, old, new)]), text(&format!("{new}between();\n{new}")));
}

/// The new end of the file stands above as well, and so does not tell.
const FIRST: &str = "fn first() {\nstop();\nend();\n}\n\n";
const NEW: &str = "stop();\nend();\n}\n";
const LAST: &str = "\nfn last() {\none();\ntwo();\nthree();\n}\n";

#[test]
fn the_last_function_has_been_deleted_where_it_is_gone() {
    let deletion = [hunk(&format!("{NEW}{LAST}"), NEW)];
    assert_eq!(came(&format!("{FIRST}fn second() {{\n{NEW}"), &deletion), Came::Landed);
    let rewritten = "\nfn last() {\nquite();\nother();\n}\n";
    assert_eq!(came(&format!("{FIRST}fn second() {{\n{NEW}{rewritten}"), &deletion), Came::NoMatch);
    let inlined = format!("{FIRST}fn second() {{\none();\ntwo(now);\ntwo();\nthree();\n{NEW}");
    assert_eq!(came(&inlined, &deletion), Came::NoMatch);
    let moved_up = format!("{FIRST}{}\nfn second() {{\n{NEW}", LAST.trim_start());
    assert_eq!(came(&moved_up, &deletion), Came::Ambiguous);
}

#[test]
fn too_short_an_end_may_have_been_edited_instead() {
    let deletion = [hunk(&format!("{NEW}\nfn last() {{\none();\n}}\n"), NEW)];
    assert_eq!(came(&format!("{FIRST}fn second() {{\n{NEW}"), &deletion), Came::NoMatch);
}

#[test]
fn a_new_in_a_stricter_form_elsewhere_than_old_is_ambiguous() {
    let (old, new) = ("a();\nold();\nz();\n", "a();\nnew();\nz();\n");
    let shifted = "  a();\n  old();\n  z();\n";
    assert_eq!(came(&format!("{new}.\n{shifted}"), &[hunk(old, new)]), Came::Ambiguous);
    assert_eq!(came(&format!(".\n{shifted}"), &[hunk(old, new)]), text(".\n  a();\n  new();\n  z();\n"));
}

fn test_function(name: &str, check: &str) -> String {
    format!("#[test]\nfn {name}() {{\nstart();\nserver.wait();\n{check}\nserver.stop();\n}}\n")
}

#[test]
fn a_test_function_made_of_common_lines_is_inserted() {
    let new = format!("mod tests {{\n{}", test_function("is_fresh", "assert!(fresh);"));
    let rest = test_function("is_old", "assert!(old);") + &test_function("is_new", "assert!(new);");
    let file = format!("mod tests {{\n{rest}");
    assert_eq!(came(&file, &[hunk("mod tests {\n", &new)]), text(&format!("{new}{rest}")));
}

#[test]
fn a_test_function_that_stands_there_edited_is_not_inserted_again() {
    let new = format!("mod tests {{\n{}", test_function("is_fresh", "assert!(fresh);"));
    let file = new.replace("assert!(fresh)", "assert!(quite_fresh)");
    assert_eq!(came(&file, &[hunk("mod tests {\n", &new)]), Came::Ambiguous);
}

#[test]
fn a_copy_of_the_function_above_is_inserted_under_its_own_name() {
    let body = "one();\ntwo();\nthree();\n}\n\n";
    let file = format!("fn first() {{\n{body}fn last() {{\n{body}");
    let new = format!("fn second() {{\n{body}fn last() {{\n");
    let with_copy = file.replace("fn last() {\n", &new);
    assert_eq!(came(&file, &[hunk("fn last() {\n", &new)]), text(&with_copy));
    assert_eq!(came(&with_copy, &[hunk("fn last() {\n", &new)]), Came::Landed);
}
