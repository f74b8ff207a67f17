//! The tables in the repository's documents, between marks that a reader does not see: `<!-- corpus: NAME -->` and
//! `<!-- corpus end -->`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const END: &str = "<!-- corpus end -->";

/// A document of the repository, by its path from the root.
pub fn document(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

pub fn put(path: &str, name: &str, table: &str) -> Result<()> {
    let file = document(path);
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let text = with_table(&text, name, table)
        .with_context(|| format!("{path} has no place for the table `{name}`"))?;
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}

fn with_table(text: &str, name: &str, table: &str) -> Option<String> {
    let mark = format!("<!-- corpus: {name} -->\n");
    let (above, rest) = text.split_once(&mark)?;
    let (_, below) = rest.split_once(END)?;
    Some(format!("{above}{mark}\n{}\n\n{END}{below}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let text = "above\n<!-- corpus: a -->\n\nold\n\n<!-- corpus end -->\nbelow\n";
        let wanted = "above\n<!-- corpus: a -->\n\nnew\n\n<!-- corpus end -->\nbelow\n";
        assert_eq!(with_table(text, "a", "new\n").as_deref(), Some(wanted));
        assert_eq!(with_table(wanted, "a", "new\n").as_deref(), Some(wanted));
        assert_eq!(with_table(text, "b", "new"), None);
    }
}
