//! Row 15: secrets taken out of a log, beside GNU sed. The redaction's example `beside_sed` measures, built as the container
//! agent's machine would have it; this runs it and reads its figure.

use std::process::Command;

use anyhow::Result;

use super::patches::figures;
use super::table::Row;
use crate::build;

pub fn rows(row: u32) -> Result<Vec<Row>> {
    build::native(&["--package", "redaction", "--example", "beside_sed"])?;
    figures(row, &mut Command::new(build::native_folder().join("examples").join("beside_sed")))
}
