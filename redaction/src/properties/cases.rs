//! What chance would hardly ever try.

use super::{redacted, streamed};
use crate::{NAME_BYTES_MAX, Redactor, Refused, VALUES_BYTES_MAX};

fn redactor(values: &[(&str, &[u8])]) -> Redactor {
    Redactor::new(values.iter().copied()).unwrap()
}

/// Whole, and cut at every place.
fn assert_redacted(redactor: &Redactor, text: &[u8], expected: &str) {
    assert_eq!(String::from_utf8_lossy(&redacted(redactor, text)), expected);
    for cut in 0..=text.len() {
        let out = streamed(redactor, text, &[cut]);
        assert_eq!(String::from_utf8_lossy(&out), expected, "cut at {cut}");
    }
}

#[test]
fn a_gap_of_64_bytes_is_spanned_and_a_longer_one_is_not() {
    let redactor = redactor(&[("A", b"s3cr3t-value")]);
    assert_redacted(&redactor, format!("s3cr3t{}-value", " ".repeat(64)).as_bytes(), "[redacted:A]");
    let longer = format!("s3cr3t{}-value", " ".repeat(65));
    assert_redacted(&redactor, longer.as_bytes(), &longer);
}

#[test]
fn what_begins_after_a_long_gap_is_held_although_more_seems_to_have_begun() {
    let redactor = redactor(&[("A", b"ababcdef")]);
    let gap = " ".repeat(70);
    assert_redacted(&redactor, format!("ab{gap}ababcdef#").as_bytes(), &format!("ab{gap}[redacted:A]#"));
}

#[test]
fn the_longest_of_those_that_begin_together_gives_the_name() {
    let redactor = redactor(&[("SHORT", b"abcdefgh"), ("LONG", b"abcdefghijkl")]);
    assert_redacted(&redactor, b"this they say: abcdefghijkl.", "this they say: [redacted:LONG].");
}

#[test]
fn what_stands_beside_a_secret_may_make_an_escape_with_it() {
    assert_redacted(&redactor(&[("A", b"41b/cdefgh")]), br"%41b\u002fcdefgh#", "[redacted:A]#");
    // What is read as part of an escape that is not the secret's stays.
    assert_redacted(&redactor(&[("A", b"abc/defgh%4")]), br"abc\u002fdefgh%41#", "[redacted:A]%41#");
    assert_redacted(&redactor(&[("A", b"nbc/defgh")]), br"\nbc\u002fdefgh#", r"\n[redacted:A]#");
}

#[test]
fn a_byte_that_is_no_text_may_be_shown_as_the_character_of_that_number() {
    assert_redacted(&redactor(&[("A", b"caf\xe9-s3cr3t")]), br"caf\u00e9-s3cr3t", "[redacted:A]");
}

#[test]
fn a_character_that_a_secret_ends_in_goes_as_a_whole() {
    // The value is the first byte of `é` and the last of `è` beside other bytes.
    let redactor = redactor(&[("A", b"\xa9-s3cr3t-\xc3")]);
    assert_eq!(redactor.redact_text("né-s3cr3t-è!"), "n[redacted:A]!");
}

#[test]
fn what_was_flushed_and_goes_on_as_clean_text_is_given_out_once() {
    let redactor = redactor(&[("A", b"hunter2-hunter2")]);
    let mut out = Vec::new();
    let mut stream = redactor.stream();
    for chunk in ["see hun", "t", "ing"] {
        stream.feed(chunk.as_bytes(), &mut out);
        stream.flush(&mut out);
    }
    stream.finish(&mut out);
    assert_eq!(out, b"see hunting");
}

#[test]
fn what_cannot_be_redacted_is_refused() {
    let refused = |name: &str, value: &[u8]| Redactor::new([(name, value)]).err();
    assert_eq!(refused("A", b"abc: 'def'"), None);
    assert_eq!(refused("A", b"abc: 'de'"), Some(Refused::Short { name: "A".into(), symbols: 5 }));
    assert_eq!(refused(&"n".repeat(NAME_BYTES_MAX), b"s3cr3t"), None);
    for name in ["", "a b", &"n".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(refused(name, b"s3cr3t"), Some(Refused::Name { number: 1 }));
    }
    assert_eq!(refused("A", &vec![b'x'; VALUES_BYTES_MAX]), None);
    assert_eq!(refused("A", &vec![b'x'; VALUES_BYTES_MAX + 1]), Some(Refused::TooMuch));
    assert_eq!(refused("A", b"redacted"), Some(Refused::InReplacement { name: "A".into() }));
}
