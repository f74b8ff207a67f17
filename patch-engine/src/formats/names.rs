//! File names as models write them: in backticks, bold, as headings, with a label or a colon.

/// Names without a dot or slash that are nothing but files.
const BARE_NAMES: [&str; 20] = [
    "Makefile",
    "makefile",
    "GNUmakefile",
    "Dockerfile",
    "Containerfile",
    "Justfile",
    "justfile",
    "Gemfile",
    "Pipfile",
    "Rakefile",
    "Procfile",
    "Jenkinsfile",
    "Vagrantfile",
    "Kconfig",
    "AUTHORS",
    "CHANGELOG",
    "CODEOWNERS",
    "MAINTAINERS",
    "NOTICE",
    "VERSION",
];
/// What may follow these is a licence's or language's name.
const BARE_BEGINNINGS: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "README"];
const LABELS: [&str; 6] = ["file", "filename", "file name", "filepath", "file path", "path"];

/// The file's name, where the line is a name and nothing else.
pub(super) fn alone(line: &str) -> Option<&str> {
    let mut name = line.trim();
    let mut in_backticks = false;
    loop {
        let before = name.len();
        name = without_leader(name);
        name = name.trim_end_matches(':').trim_end();
        name = without_label(name);
        name = without_remark(name);
        if let Some(inner) = between(name, "`").or_else(|| between(name, "\"")) {
            (name, in_backticks) = (inner, true);
        }
        for mark in ["**", "__", "*"] {
            name = between(name, mark).unwrap_or(name);
        }
        name = name.trim();
        if name.len() == before {
            break;
        }
    }
    let is_name = if in_backticks { is_quoted_name(name) } else { is_plain_name(name) };
    is_name.then_some(name)
}

/// The one path that a sentence has in backticks, as in "Now change `src/main.rs`:".
pub(super) fn in_sentence(line: &str) -> Option<&str> {
    let mut spans = line.split('`').skip(1).step_by(2);
    let (first, more) = (spans.next()?, spans.next());
    (more.is_none() && is_plain_name(first)).then_some(first)
}

/// Headings, list marks and the openings of comments.
fn without_leader(name: &str) -> &str {
    let name = name.trim_start_matches('#').trim_start();
    for (open, close) in [("<!-- ", "-->"), ("/* ", "*/")] {
        if let Some(inner) = name.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            return inner.trim();
        }
    }
    if let Some(rest) = ["// ", "- ", "* ", "> ", "-- "].iter().find_map(|mark| name.strip_prefix(mark)) {
        return rest.trim_start();
    }
    let digits = name.trim_start_matches(|c: char| c.is_ascii_digit());
    match digits.strip_prefix(". ").or_else(|| digits.strip_prefix(") ")) {
        Some(rest) if digits.len() < name.len() => rest.trim_start(),
        _ => name,
    }
}

fn without_label(name: &str) -> &str {
    // `**File:** x` and `**File**: x` have their marks around the label.
    let Some((label, rest)) = name.split_once(':') else { return name };
    let label = label.trim_matches(['*', ' ']);
    let is_label = LABELS.iter().any(|known| label.eq_ignore_ascii_case(known));
    if is_label { rest.trim_start_matches(['*', ' ']) } else { name }
}

/// `x.rs (new file)`
fn without_remark(name: &str) -> &str {
    match name.strip_suffix(')').and_then(|rest| rest.split_once(" (")) {
        Some((before, _)) => before.trim_end(),
        None => name,
    }
}

fn between<'name>(name: &'name str, mark: &str) -> Option<&'name str> {
    let inner = name.strip_prefix(mark)?.strip_suffix(mark)?;
    (!inner.is_empty() && !inner.contains(mark)).then_some(inner)
}

/// A name without dot or slash, or a word of the text.
pub(super) fn is_word(line: &str) -> bool {
    !line.is_empty() && line.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+'))
}

fn is_quoted_name(name: &str) -> bool {
    let is_word = !name.contains(char::is_whitespace);
    name.contains(char::is_alphanumeric)
        && (is_word || name.contains(['.', '/']))
        && !name.contains(['<', '>'])
}

/// One word that no prose has: with a dot or slash inside, or a name that is known.
pub(super) fn is_plain_name(name: &str) -> bool {
    let is_shouted = |rest: &str| {
        rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
    };
    if BARE_NAMES.contains(&name)
        || BARE_BEGINNINGS.iter().any(|begin| name.strip_prefix(begin).is_some_and(is_shouted))
    {
        return true;
    }
    let has_letters = name.contains(char::is_alphabetic);
    let is_word =
        !name.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '`' | '"' | '|' | '=' | ';'));
    let is_call = name.contains('(') && !name.contains('/');
    let ends_well = !name.ends_with(['.', ',', '!', '?', ':', '/', '\'']);
    has_letters && is_word && !is_call && ends_well && name.contains(['.', '/']) && !name.contains("://")
}
