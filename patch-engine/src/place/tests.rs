use super::*;

fn hunk(start_line: u32, old: &str, new: &str) -> Hunk {
    Hunk { start_line: Some(start_line), old: old.into(), new: new.into(), ..Hunk::default() }
}

fn text(text: &str, base: Base<'_>, hunks: &[Hunk]) -> (String, PlacementStep) {
    match place(text, base, hunks) {
        Ok(Placement::Changed { text, step, .. }) => (text, step),
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str, base: Base<'_>, hunks: &[Hunk]) -> OperationOutcome {
    place(text, base, hunks).expect_err("refused")
}

fn stale() -> Base<'static> {
    Base::Stale { wanted: Sha256::of(b"old"), found: Sha256::of(b"new"), text: None }
}

#[test]
fn by_line_number_in_the_very_file() {
    let twice = "x\na\ny\na\n";
    assert_eq!(
        text(twice, Base::Current, &[hunk(4, "a\n", "b\n")]),
        ("x\na\ny\nb\n".into(), PlacementStep::Base)
    );
    assert_eq!(
        text(twice, Base::Current, &[hunk(3, "", "n\n"), hunk(5, "", "end\n")]),
        ("x\na\nn\ny\na\nend\n".into(), PlacementStep::Base)
    );
    // A wrong line number does not matter where the lines stand once, and does where they do not.
    assert_eq!(
        text(twice, Base::Current, &[hunk(1, "y\n", "z\n")]),
        ("x\na\nz\na\n".into(), PlacementStep::Exact)
    );
    assert!(matches!(
        refused(twice, Base::Current, &[hunk(1, "a\n", "b\n")]),
        OperationOutcome::Ambiguous { .. }
    ));
    for line in [0, 6] {
        assert!(matches!(
            refused(twice, Base::Current, &[hunk(line, "", "n\n")]),
            OperationOutcome::Malformed { .. }
        ));
    }
}

#[test]
fn by_text_where_it_stands_once() {
    assert_eq!(
        text("n\nx\na\ny\n", Base::Unknown, &[hunk(2, "a\n", "b\n")]),
        ("n\nx\nb\ny\n".into(), PlacementStep::Exact)
    );
    assert_eq!(text("x\na\n", stale(), &[hunk(1, "a\n", "b\n")]).0, "x\nb\n");
    // The same short line elsewhere is no doubt.
    assert_eq!(
        text("return 2\n.\nreturn 1\n", Base::Unknown, &[hunk(1, "return 1\n", "return 2\n")]).0,
        "return 2\n.\nreturn 2\n"
    );
    // Only whole lines count.
    assert_eq!(text("xa\na\na b\n", Base::Unknown, &[hunk(1, "a\n", "b\n")]).0, "xa\nb\na b\n");
}

#[test]
fn twice_is_ambiguous_with_candidates_overlapping_ones_too() {
    let outcome = refused("a\na\na\n", Base::Unknown, &[hunk(1, "a\na\n", "b\n")]);
    let OperationOutcome::Ambiguous { hunk: 0, candidates, .. } = outcome else { panic!("{outcome:?}") };
    let lines: Vec<LineRange> = candidates.into_iter().map(|candidate| candidate.lines).collect();
    assert_eq!(lines, [LineRange { first: 1, last: 2 }, LineRange { first: 2, last: 3 }]);
    assert!(matches!(
        refused("a\na\n", stale(), &[hunk(1, "a\n", "b\n")]),
        OperationOutcome::Ambiguous { hint, .. } if hint.contains("more than once")
    ));
}

#[test]
fn nowhere_is_no_match_and_says_what_is_near() {
    let file = "fn one() {\n    let total = first + second;\n    total\n}\n";
    let old = "fn one() {\n    let total = first - second;\n    total\n";
    let OperationOutcome::NoMatch { nearest: Some(nearest), .. } =
        refused(file, Base::Unknown, &[hunk(1, old, "changed\n")])
    else {
        panic!()
    };
    assert_eq!(nearest.lines, LineRange { first: 1, last: 3 });
    assert!(nearest.score_percent > 70 && nearest.score_percent < 100);
    assert!(nearest.diff.contains("-    let total = first - second;\n+    let total = first + second;\n"));
    assert!(matches!(
        refused("x\n", Base::Unknown, &[hunk(1, "a\n", "b\n")]),
        OperationOutcome::NoMatch { nearest: None, hint, .. } if hint.contains("not in the file")
    ));
}

#[test]
fn landed_hunks_are_left_alone() {
    for (file, old, new) in [
        ("x\nb\ny\n", "x\na\ny\n", "x\nb\ny\n"),
        // Insertions leave `old` standing inside `new`.
        ("x\nb\ny\n", "x\n", "x\nb\n"),
        ("x\nb\ny\n", "y\n", "b\ny\n"),
        ("x\nb\ny\n", "x\ny\n", "x\nb\ny\n"),
        ("x\nx\n", "x\n", "x\nx\n"),
        // Deletions that close up from both sides, or at an end of the file.
        ("x\ny\n", "x\na\ny\n", "x\ny\n"),
        ("x\ny\n", "a\nx\n", "x\n"),
        ("x\ny\n", "y\na\n", "y\n"),
        ("b\n", "", "b\n"),
    ] {
        assert_eq!(
            place(file, Base::Unknown, &[hunk(1, old, new)]),
            Ok(Placement::Landed),
            "{file:?} {old:?} {new:?}"
        );
    }
}

#[test]
fn a_partly_landed_edit_is_completed() {
    let hunks = [hunk(1, "a\n", "A\n"), hunk(3, "c\n", "C\n")];
    let placement = place("A\nb\nc\n", Base::Unknown, &hunks);
    let lines = vec![LineRange { first: 1, last: 1 }, LineRange { first: 3, last: 3 }];
    assert_eq!(
        placement,
        Ok(Placement::Changed { text: "A\nb\nC\n".into(), step: PlacementStep::Exact, lines })
    );
}

#[test]
fn what_only_looks_landed_is_refused() {
    for (file, old, new) in [
        // The line was changed, not deleted.
        ("fn\n  changed\n}\n", "  call\n}\n", "}\n"),
        ("a changed\n", "a\n", ""),
        // A bracket stands in most files.
        ("other\n}\n", "old\n", "}\n"),
        // Landed in one place, or never: the text does not tell.
        ("x\nb\n.\nx\nb\n", "x\na\n", "x\nb\n"),
        ("x\nb\n.\nx\n", "x\n", "x\nb\n"),
        ("b\na\nb\n", "a\nb\n", "b\na\n"),
        // Landed on one of two twins, or due on the other.
        ("x\nb\ny\n.\nx\na\ny\n", "x\na\ny\n", "x\nb\ny\n"),
        ("x\ny\n.\nx\na\ny\n", "x\na\ny\n", "x\ny\n"),
    ] {
        let outcome = refused(file, Base::Unknown, &[hunk(1, old, new)]);
        assert!(
            matches!(outcome, OperationOutcome::NoMatch { .. } | OperationOutcome::Ambiguous { .. }),
            "{file:?} {outcome:?}"
        );
    }
}

#[test]
fn insertions_need_a_place() {
    assert_eq!(text("", Base::Unknown, &[hunk(1, "", "a\n")]).0, "a\n");
    assert!(matches!(refused("x\n", Base::Unknown, &[hunk(1, "", "a\n")]), OperationOutcome::NoMatch { .. }));
    assert!(matches!(refused("x\n", stale(), &[hunk(1, "", "a\n")]), OperationOutcome::StaleBase { .. }));
}

#[test]
fn overlapping_hunks_are_refused_and_shared_context_is_not() {
    let file = "a\nb\nc\nd\n";
    for hunks in [
        [hunk(1, "a\nb\n", "a\nB\n"), hunk(2, "b\nc\n", "b\nC\n")],
        [hunk(1, "a\n", "A\n"), hunk(1, "a\n", "B\n")],
        [hunk(1, "a\n", "a\nx\n"), hunk(1, "a\n", "a\ny\n")],
        [hunk(2, "", "x\n"), hunk(2, "", "y\n")],
    ] {
        let outcome = refused(file, Base::Current, &hunks);
        assert!(matches!(outcome, OperationOutcome::Overlaps { with: 0, .. }), "{hunks:?} {outcome:?}");
    }
    assert_eq!(
        text(file, Base::Unknown, &[hunk(1, "a\nb\n", "A\nb\n"), hunk(2, "b\nc\n", "b\nC\n")]).0,
        "A\nb\nC\nd\n"
    );
    assert_eq!(
        text(file, Base::Unknown, &[hunk(2, "b\n", "1\nb\n"), hunk(1, "a\n", "a\n0\n")]).0,
        "a\n0\n1\nb\nc\nd\n"
    );
    // A landed hunk is not built upon by another of the same edit.
    assert!(matches!(
        refused("B\n", Base::Unknown, &[hunk(1, "A\n", "B\n"), hunk(1, "B\n", "C\n")]),
        OperationOutcome::Overlaps { .. }
    ));
}

#[test]
fn line_endings_and_a_missing_last_one_are_bytes_like_others() {
    let both = [Base::Current, Base::Unknown];
    for base in both {
        assert_eq!(text("a\r\nb\r\n", base, &[hunk(2, "b\r\n", "c\n")]).0, "a\r\nc\n");
        assert_eq!(text("a\nb", base, &[hunk(2, "b", "b\n")]).0, "a\nb\n");
        assert_eq!(text("a\nb\n", base, &[hunk(2, "b\n", "b")]).0, "a\nb");
        assert_eq!(text("a\nb", base, &[hunk(2, "b", "b\nc")]).0, "a\nb\nc");
        assert_eq!(text("a\nb", base, &[hunk(2, "b", "")]).0, "a\n");
        for (at, old, new) in [(1, "a\n", "c"), (1, "a\n", "a\nc")] {
            assert!(matches!(
                refused("a\nb", base, &[hunk(at, old, new)]),
                OperationOutcome::Malformed { what, .. } if what.contains("without terminator")
            ));
        }
    }
    assert!(matches!(
        refused("a\nb", Base::Current, &[hunk(3, "", "c\n")]),
        OperationOutcome::Malformed { .. }
    ));
}

#[test]
fn many_hunks_in_a_repetitive_file_take_linear_time() {
    let file = "a\nb\n".repeat(200_000);
    let hunks: Vec<Hunk> = (0..2_000).map(|n| hunk(1, &("a\nb\n".repeat(n % 50) + "c\n"), "x\n")).collect();
    assert!(matches!(refused(&file, Base::Unknown, &hunks), OperationOutcome::NoMatch { hunk: 0, .. }));
}

fn placed(file: &str, old: &str, new: &str) -> (String, PlacementStep) {
    let hunks = [hunk(1, old, new)];
    let placed = text(file, Base::Unknown, &hunks);
    // What was put in is known when it comes again.
    assert_eq!(place(&placed.0, Base::Unknown, &hunks), Ok(Placement::Landed), "{file:?} {old:?} {new:?}");
    placed
}

#[test]
fn each_rung_keeps_what_the_file_has() {
    assert_eq!(
        placed("x\r\na\r\ny", "x\na\n", "x\nb\nc\n"),
        ("x\r\nb\r\nc\r\ny".into(), PlacementStep::LineEndings)
    );
    assert_eq!(placed("x\r\ny", "x\ny\n", "x\ny\nz\n"), ("x\r\ny\r\nz".into(), PlacementStep::LineEndings));
    assert_eq!(
        placed("x  \na\ny\n", "x\na\ny\n", "x\nb\ny\n"),
        ("x  \nb\ny\n".into(), PlacementStep::TrailingSpace)
    );
    assert_eq!(
        placed("  if x {\n    a();\n  }\n", "if x {\n  a();\n}\n", "if x {\n  a();\n  b();\n}\n"),
        ("  if x {\n    a();\n    b();\n  }\n".into(), PlacementStep::Indentation)
    );
    assert_eq!(
        placed("say \u{201c}hi\u{201d}\nold\n", "say \"hi\"\nold\n", "say \"hi\"\nnew\n"),
        ("say \u{201c}hi\u{201d}\nnew\n".into(), PlacementStep::Punctuation)
    );
    // All at once.
    assert_eq!(
        placed(
            "\tsay(\"a\");  \r\n\told();\r\n",
            "say(\u{201c}a\u{201d});\nold();\n",
            "say(\u{201c}a\u{201d});\nnew();\n"
        ),
        ("\tsay(\"a\");  \r\n\tnew();\r\n".into(), PlacementStep::Punctuation)
    );
}

const CONTEXT: &str =
    "fn first_of_all() {\n    open_the_door();\n    old_line_here();\n    close_the_door();\n}\n";

#[test]
fn edited_context_is_found_and_edited_lines_are_not() {
    let new = CONTEXT.replace("old_line_here", "new_line_here");
    let edited = CONTEXT.replace("open_the_door()", "open_the_door(now)");
    let file = format!("// head\n{edited}// tail\n");
    let (result, step) = placed(&file, CONTEXT, &new);
    assert_eq!((result, step), (file.replace("old_line_here", "new_line_here"), PlacementStep::Partial));
    let conflict = format!("// head\n{}// tail\n", CONTEXT.replace("old_line_here", "other_line_here"));
    assert!(matches!(
        refused(&conflict, Base::Unknown, &[hunk(1, CONTEXT, &new)]),
        OperationOutcome::NoMatch { nearest: Some(_), .. }
    ));
    // A twin that is as near.
    let twins = format!("{edited}\n{}", CONTEXT.replace("close_the_door()", "close_the_door(now)"));
    assert!(!matches!(
        place(&twins, Base::Unknown, &[hunk(1, CONTEXT, &new)]),
        Ok(Placement::Changed { .. })
    ));
}

#[test]
fn lines_named_above_tell_twins_apart() {
    let file = "class A:\n    def run(self):\n        pass\n\nclass B:\n    def run(self):\n        pass\n";
    let within = |names: &[&str]| Hunk {
        within: names.iter().map(|name| (*name).to_owned()).collect(),
        old: "        pass\n".into(),
        new: "        return 1\n".into(),
        ..Hunk::default()
    };
    let (result, _) = text(file, Base::Unknown, &[within(&["class A:", "    def run(self):"])]);
    assert!(result.starts_with("class A:\n    def run(self):\n        return 1\n\nclass B"));
    let (result, _) = text(file, Base::Unknown, &[within(&["class B:"])]);
    assert!(result.ends_with("class B:\n    def run(self):\n        return 1\n"));
    assert!(matches!(
        refused(file, Base::Unknown, &[within(&["def run(self):"])]),
        OperationOutcome::Ambiguous { .. }
    ));
    let at_end = Hunk { at_end: true, ..within(&[]) };
    assert!(
        text(file, Base::Unknown, &[at_end]).0.ends_with("class B:\n    def run(self):\n        return 1\n")
    );
}

fn over(base: &str, file: &str, hunks: &[Hunk]) -> Result<Placement, OperationOutcome> {
    let (wanted, found) = (Sha256::of(base.as_bytes()), Sha256::of(file.as_bytes()));
    place(file, Base::Stale { wanted, found, text: Some(BaseText { text: base, untouched: None }) }, hunks)
}

#[test]
fn the_base_tells_twins_apart() {
    let base = "one\na\ntwo\na\nthree\n";
    let hunks = [hunk(4, "a\n", "b\n")];
    let Ok(Placement::Changed { text, step, .. }) = over(base, "zero\none\na\nTWO\na\nthree\n", &hunks)
    else {
        panic!()
    };
    assert_eq!((text.as_str(), step), ("zero\none\na\nTWO\nb\nthree\n", PlacementStep::Provenance));
    assert_eq!(over(base, "zero\none\na\ntwo\nb\nthree\n", &hunks), Ok(Placement::Landed));
    for changed in ["one\na\ntwo\nc\nthree\n", "one\na\nthree\n", "one\na\ntwo\na\na\nthree\n"] {
        assert!(over(base, changed, &hunks).is_err(), "{changed:?}");
    }
    // Both sides insert in one place.
    assert!(over("x\ny\n", "x\ntheirs\ny\n", &[hunk(1, "x\ny\n", "x\nours\ny\n")]).is_err());
}
