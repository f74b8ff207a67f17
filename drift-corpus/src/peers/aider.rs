//! aider, one Python process for all cases: starting it takes seconds.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::install::sources;
use crate::case::Case;
use crate::format::plain;
use crate::judge::Answer;

pub fn answers(python: &Path, cases: &[&Case]) -> Result<Vec<Answer>> {
    let mut child = Command::new(python)
        .arg(sources().join("aider_driver.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting aider's Python")?;
    let mut requests = child.stdin.take().context("the driver's standard input is piped")?;
    let mut answers = BufReader::new(child.stdout.take().context("its standard output is piped")?).lines();
    let mut out = Vec::with_capacity(cases.len());
    for case in cases {
        let blocks: Vec<[String; 2]> =
            case.hunks.iter().map(|hunk| [plain(&hunk.old_side()), plain(&hunk.new_side())]).collect();
        writeln!(requests, "{}", json!({ "current": case.current, "blocks": blocks }))?;
        let line = answers.next().context("aider's driver ended early")??;
        let answer: Value = serde_json::from_str(&line)?;
        let content = answer["content"].as_str().context("the driver answers with the content")?;
        out.push(Answer { is_done: answer["is_whole"] == true, content: content.to_owned() });
    }
    drop(requests);
    ensure!(child.wait()?.success(), "aider's driver failed");
    Ok(out)
}
