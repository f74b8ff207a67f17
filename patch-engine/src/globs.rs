//! Which paths a project denies to patches: `*` and `?` within a name, `**` for any directories, `{a,b}` for one of
//! several. Letters count alike in either case, as on the file systems that fold them.

use shared_contracts::paths::WorkspacePath;

/// Alternatives of one pattern; further ones are left as they are written.
const ALTERNATIVES_MAX: usize = 64;

/// What a caller allows beyond what is always refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Operations on paths that match one of these are refused. A pattern also covers everything below what it matches.
    pub denied_paths: Vec<String>,
}

impl Rules {
    /// The first pattern that denies the path.
    pub(crate) fn denies(&self, path: &WorkspacePath) -> Option<&str> {
        let path = path.as_str().to_lowercase();
        let denies = |pattern: &&String| {
            let pattern = pattern.to_lowercase();
            alternatives(pattern.trim_end_matches('/')).iter().any(|pattern| matches(pattern, &path))
        };
        self.denied_paths.iter().find(denies).map(String::as_str)
    }
}

/// Whether the pattern matches the path or a directory above it.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    // Which beginnings of the pattern match the names so far; `**` stays open.
    let mut open = vec![false; pattern.len() + 1];
    start(&mut open, 0, &pattern);
    for name in path {
        let mut next = vec![false; pattern.len() + 1];
        for (at, part) in pattern.iter().enumerate() {
            if !open.get(at).is_some_and(|open| *open) {
                continue;
            }
            if *part == "**" {
                start(&mut next, at, &pattern);
                start(&mut next, at + 1, &pattern);
            } else if name_matches(part, name) {
                start(&mut next, at + 1, &pattern);
            }
        }
        if next.last().is_some_and(|whole| *whole) {
            return true;
        }
        open = next;
    }
    false
}

/// Opens a position, and those behind it as long as `**` may stand for nothing.
fn start(open: &mut [bool], mut at: usize, pattern: &[&str]) {
    while let Some(slot) = open.get_mut(at) {
        *slot = true;
        // A last `**` stands for what is below, not for the directory itself.
        if pattern.get(at) != Some(&"**") || at + 1 == pattern.len() {
            break;
        }
        at += 1;
    }
}

/// A name against a pattern with `*` and `?`, in time linear in their product.
fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(letter) if *letter == '?' || name.get(here) == Some(letter) => {
                at += 1;
                here += 1;
            }
            _ => match star {
                Some((stood, taken)) => {
                    star = Some((stood, taken + 1));
                    at = stood + 1;
                    here = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == '*')
}

/// Every way to read `{a,b}`.
fn alternatives(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        let inner = pattern.rsplit_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
        match inner {
            Some((head, (choices, tail))) if done.len() + open.len() < ALTERNATIVES_MAX => {
                open.extend(choices.split(',').map(|choice| format!("{head}{choice}{tail}")));
            }
            _ => done.push(pattern),
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_directories_and_what_is_below() {
        for (pattern, path, denied) in [
            (".env", ".env", true),
            (".env", "a/.env", false),
            ("**/.env", ".env", true),
            ("**/.env", "a/b/.env", true),
            ("**/.env*", "a/.env.local", true),
            (".github", ".github/workflows/ci.yml", true),
            (".github/", ".github/workflows/ci.yml", true),
            (".github/**", ".github/workflows/ci.yml", true),
            (".github/**", ".github", false),
            ("src/**/secret.rs", "src/secret.rs", true),
            ("src/**/secret.rs", "src/a/b/secret.rs", true),
            ("src/*/x", "src/a/b/x", false),
            ("*.{pem,key}", "server.key", true),
            ("*.{pem,key}", "server.pub", false),
            ("**/*.{pem,{key,crt}}", "a/server.crt", true),
            ("?.rs", "a.rs", true),
            ("?.rs", "ab.rs", false),
            ("a*b*c", "axxbxxc", true),
            ("a*b*c", "axxbxx", false),
            ("Makefile", "makefile", true),
            ("**", "anything/at/all", true),
            ("a/{b,c}/d", "a/c/d/e", true),
            ("{", "{", true),
            ("", "a", false),
        ] {
            let rules = Rules { denied_paths: vec![pattern.to_owned()] };
            let path = WorkspacePath::parse(path).unwrap();
            assert_eq!(rules.denies(&path).is_some(), denied, "{pattern} {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let rules = Rules { denied_paths: vec!["**/".repeat(200) + &"*a".repeat(100) + &"{a,b}".repeat(50)] };
        assert!(
            rules.denies(&WorkspacePath::parse(&("a/".repeat(100) + &"a".repeat(200))).unwrap()).is_none()
        );
    }
}
