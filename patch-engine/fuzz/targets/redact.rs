#![no_main]
//! How long the secret is and how long the chunks are, a byte each; the secret; a text, in whose middle it is put.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use libfuzzer_sys::fuzz_target;
use patch_engine_fuzz::in_time;
use redaction::{Redactor, SYMBOLS_MIN};

const SECRET_BYTES_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let [length, chunk, rest @ ..] = input else { return };
    let Some((secret, text)) = rest.split_at_checked(usize::from(*length) % SECRET_BYTES_MAX) else { return };
    let Ok(redactor) = Redactor::new([("NAME", secret)]) else { return };
    leaves_nothing(&redactor, secret, text, usize::from(*chunk) + 1);

    // These are found beside and between anything.
    let (before, after) = text.split_at(text.len() / 2);
    for form in [secret, hex::encode(secret).as_bytes(), BASE64_STANDARD.encode(secret).as_bytes()] {
        let planted = [before, form, after].concat();
        assert!(!redactor.find(&planted).is_empty(), "it is not found");
        leaves_nothing(&redactor, secret, &planted, usize::from(*chunk) + 1);
    }
});

/// What a stream gives out is the text without what was found; in that is no secret, and every finding has one's length.
fn leaves_nothing(redactor: &Redactor, secret: &[u8], text: &[u8], chunk_bytes: usize) {
    let findings = in_time(text.len(), || redactor.find(text));
    let mut expected = Vec::new();
    let mut from = 0;
    for finding in findings {
        assert!(finding.at.len() >= SYMBOLS_MIN, "a short finding: {finding:?}");
        let kept = &text[from..finding.at.start];
        assert!(!kept.windows(secret.len()).any(|window| window == secret), "it is left before {finding:?}");
        expected.extend_from_slice(kept);
        expected.extend_from_slice(b"[redacted:NAME]");
        from = finding.at.end;
    }
    let kept = &text[from..];
    assert!(!kept.windows(secret.len()).any(|window| window == secret), "it is left at the end");
    expected.extend_from_slice(kept);

    let mut out = Vec::new();
    let mut stream = redactor.stream();
    for chunk in text.chunks(chunk_bytes) {
        stream.feed(chunk, &mut out);
    }
    stream.finish(&mut out);
    assert!(out == expected, "a stream gives out something else");
}
