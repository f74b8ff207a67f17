//! Which field a JSON error is about. serde_json says where in the text it stopped; a deserializer that kept the path
//! as it goes would be compiled again for every request type.

enum Level {
    Object { key: String, is_key_next: bool },
    Array { index: usize },
}

/// The path of the value that ends, or is open, at this line and column as serde_json counts them: `batch.operations[2]`,
/// or `.` for the whole.
pub fn path_at(json: &[u8], line: usize, column: usize) -> String {
    let lines_before = json.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    let line_start: usize = lines_before.map(<[u8]>::len).sum();
    let mut levels: Vec<Level> = Vec::new();
    let mut string: Option<Vec<u8>> = None;
    let mut is_escaped = false;
    for byte in json.iter().copied().take(line_start + column) {
        if let Some(text) = &mut string {
            if byte == b'"' && !is_escaped {
                if let Some(Level::Object { key, is_key_next: is_key_next @ true }) = levels.last_mut() {
                    *key = unescaped(text);
                    *is_key_next = false;
                }
                string = None;
            } else {
                text.push(byte);
            }
            is_escaped = byte == b'\\' && !is_escaped;
            continue;
        }
        match (byte, levels.last_mut()) {
            (b'"', _) => string = Some(Vec::new()),
            (b'{', _) => levels.push(Level::Object { key: String::new(), is_key_next: true }),
            (b'[', _) => levels.push(Level::Array { index: 0 }),
            (b'}' | b']', _) => drop(levels.pop()),
            (b',', Some(Level::Object { is_key_next, .. })) => *is_key_next = true,
            (b',', Some(Level::Array { index })) => *index += 1,
            _ => {}
        }
    }
    shown(&levels)
}

fn unescaped(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| text.into_owned())
}

fn shown(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object { key, .. } if key.is_empty() => {}
            Level::Object { key, .. } if path.is_empty() => path.push_str(key),
            Level::Object { key, .. } => path.extend([".", key]),
            Level::Array { index } => path.extend(["[", &index.to_string(), "]"]),
        }
    }
    if path.is_empty() { ".".into() } else { path }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Outer {
        name: String,
        #[serde(default)]
        items: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Inner {
        size: u32,
        label: Option<String>,
    }

    fn path(json: &str) -> String {
        let error = serde_json::from_slice::<Outer>(json.as_bytes()).unwrap_err();
        path_at(json.as_bytes(), error.line(), error.column())
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (json, wanted) in [
            (r#"{"name": 7}"#, "name"),
            (r#"{"name": "a", "items": [{"size": 1}, {"size": "x"}]}"#, "items[1].size"),
            ("{\"name\": \"a\",\n \"items\": [\n  {\"size\": 1},\n  {\"size\": -1}\n ]}", "items[1].size"),
            (r#"{"name": "a", "items": [{"size": 1}, {"label": "b"}]}"#, "items[1]"),
            (r#"{"name": "a", "items": [{"size": 1, "label": 5}]}"#, "items[0].label"),
            (r#"{"name": "a", "items": 5}"#, "items"),
            (r#"{"name": "a", "nme": 5}"#, "nme"),
            (r#"{"name": "\"{[,", "items": [{"size": true}]}"#, "items[0].size"),
            (r#"{"n\u0061me": []}"#, "name"),
            (r#"{}"#, "."),
            (r#"[]"#, "."),
            (r#""text""#, "."),
        ] {
            assert_eq!(path(json), wanted, "{json}");
        }
    }
}
