//! Rules for text that people write and others read.

/// Refuses control characters: a name is one line on every screen and in every log.
pub fn one_line(value: &str, _: &()) -> garde::Result {
    match value.chars().find(|c| c.is_control()) {
        Some(found) => Err(garde::Error::new(format!("contains the control character {found:?}; remove it"))),
        None if value.trim().is_empty() => {
            Err(garde::Error::new("is blank; give it at least one visible character"))
        }
        None => Ok(()),
    }
}

/// Like [`one_line`] for text with paragraphs: line feed, carriage return and tab are kept.
pub fn paragraphs(value: &str, _: &()) -> garde::Result {
    match value.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        Some(found) => Err(garde::Error::new(format!("contains the control character {found:?}; remove it"))),
        None => Ok(()),
    }
}

/// Refuses the byte that ends every argument and path in C.
pub fn no_nul(value: &str, _: &()) -> garde::Result {
    if value.contains('\0') { Err(garde::Error::new("contains a NUL character; remove it")) } else { Ok(()) }
}

/// The beginning of a text, at most so many bytes of it, with `…` where something was left out.
pub fn beginning(text: &str, bytes_max: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= bytes_max {
        return text.into();
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_beginning_ends_between_characters() {
        assert_eq!(beginning("äbc", 4), "äbc");
        assert_eq!(beginning("äbc", 3), "äb…");
        assert_eq!(beginning("äbc", 1), "…");
        assert_eq!(beginning("", 0), "");
    }
}
