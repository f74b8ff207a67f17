//! How programs write text down.

/// Encodings of text byte by byte. In those that are mixed, `chosen` says which bytes are escaped that need not be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Escaping {
    None,
    Lines,
    SingleQuotes,
    SingleInDoubleQuotes,
    DoubleQuotes,
    Backslashes,
    AnsiC,
    AnsiCOctal,
    Json,
    JsonUpper,
    JsonInJson,
    PercentLower,
    PercentUpper,
    PercentAll,
    PercentTwice,
    Form,
    JsonInPercent,
    PercentInJson,
}

pub(super) const ESCAPINGS: [Escaping; 18] = [
    Escaping::None,
    Escaping::Lines,
    Escaping::SingleQuotes,
    Escaping::SingleInDoubleQuotes,
    Escaping::DoubleQuotes,
    Escaping::Backslashes,
    Escaping::AnsiC,
    Escaping::AnsiCOctal,
    Escaping::Json,
    Escaping::JsonUpper,
    Escaping::JsonInJson,
    Escaping::PercentLower,
    Escaping::PercentUpper,
    Escaping::PercentAll,
    Escaping::PercentTwice,
    Escaping::Form,
    Escaping::JsonInPercent,
    Escaping::PercentInJson,
];

pub(super) type Chosen<'a> = &'a dyn Fn(usize) -> bool;

fn json(text: &[u8], chosen: Chosen<'_>, upper: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut out = String::new();
    for (at, char) in text.chars().enumerate() {
        match char {
            '"' if !chosen(at) => out.push_str(r#"\""#),
            '\\' if !chosen(at) => out.push_str(r"\\"),
            '\n' if !chosen(at) => out.push_str(r"\n"),
            '\t' if !chosen(at) => out.push_str(r"\t"),
            '/' if !chosen(at) => out.push_str(r"\/"),
            char if chosen(at) || char < ' ' || char == '"' || char == '\\' => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    out += &if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                }
            }
            char => out.push(char),
        }
    }
    out.into_bytes()
}

fn percent(text: &[u8], chosen: Chosen<'_>, upper: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        if chosen(at) || !(byte.is_ascii_alphanumeric() || b"-_.~".contains(byte)) {
            let escaped = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
            out.extend(escaped.into_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

fn each(text: &[u8], escape: impl Fn(usize, u8) -> Option<String>) -> Vec<u8> {
    let escaped =
        |(at, byte): (usize, &u8)| escape(at, *byte).map_or_else(|| vec![*byte], String::into_bytes);
    text.iter().enumerate().flat_map(escaped).collect()
}

pub(super) fn escape(text: &[u8], escaping: Escaping, chosen: Chosen<'_>) -> Vec<u8> {
    let never: Chosen<'_> = &|_| false;
    let quoted =
        |quote: &str, body: Vec<u8>| [quote.as_bytes(), &body, &quote.as_bytes()[quote.len() - 1..]].concat();
    let ansi_c = |octal: bool| {
        let body = each(text, |at, byte| match byte {
            b'\n' if !chosen(at) => Some(r"\n".into()),
            b'\'' | b'\\' if !chosen(at) => Some(format!("\\{}", char::from(byte))),
            _ if (chosen(at) || !(b' '..0x7f).contains(&byte) || b"'\\".contains(&byte)) && octal => {
                Some(format!("\\{byte:03o}"))
            }
            _ if chosen(at) || !(b' '..0x7f).contains(&byte) || b"'\\".contains(&byte) => {
                Some(format!("\\x{byte:02x}"))
            }
            _ => None,
        });
        quoted("$'", body)
    };
    match escaping {
        Escaping::None => text.to_vec(),
        Escaping::Lines => {
            let broken = text.iter().enumerate().map(|(at, byte)| {
                if at > 0 && chosen(at) { (&b"\r\n  "[..], byte) } else { (&b""[..], byte) }
            });
            broken.flat_map(|(end, byte)| end.iter().chain([byte])).copied().collect()
        }
        Escaping::SingleQuotes => quoted("'", each(text, |_, byte| (byte == b'\'').then(|| r"'\''".into()))),
        Escaping::SingleInDoubleQuotes => {
            quoted("'", each(text, |_, byte| (byte == b'\'').then(|| r#"'"'"'"#.into())))
        }
        Escaping::DoubleQuotes => quoted(
            "\"",
            each(text, |_, byte| b"\"\\$`!".contains(&byte).then(|| format!("\\{}", char::from(byte)))),
        ),
        Escaping::Backslashes => each(text, |_, byte| {
            let plain = byte.is_ascii_alphanumeric() || !byte.is_ascii() || byte == b'\n';
            (!plain).then(|| format!("\\{}", char::from(byte)))
        }),
        Escaping::AnsiC => ansi_c(false),
        Escaping::AnsiCOctal => ansi_c(true),
        Escaping::Json => json(text, chosen, false),
        Escaping::JsonUpper => json(text, chosen, true),
        Escaping::JsonInJson => json(&json(text, chosen, false), never, false),
        Escaping::PercentLower => percent(text, chosen, false),
        Escaping::PercentUpper => percent(text, chosen, true),
        Escaping::PercentAll => percent(text, &|_| true, true),
        Escaping::PercentTwice => percent(&percent(text, chosen, true), never, true),
        Escaping::Form => {
            let spaces: Vec<u8> = text.iter().map(|byte| if *byte == b' ' { 0 } else { *byte }).collect();
            let encoded = String::from_utf8(percent(&spaces, never, true)).unwrap();
            encoded.replace("%00", "+").into_bytes()
        }
        Escaping::JsonInPercent => percent(&json(text, chosen, false), never, true),
        Escaping::PercentInJson => json(&percent(text, chosen, true), never, false),
    }
}
