//! A workspace of 500 MB attached: start to exit over it, beside the same over an empty one, run by run in turn; and
//! once `cp -a` of it, which gives an execution a copy of its own too.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::ours::{Kind, Ours};
use crate::peers::timed;
use crate::{PAUSE, Result, say};

const FOLDERS: u32 = 230;
const FILES_A_FOLDER: u32 = 100;
const FILE_BYTES: usize = 500_000_000 / (FOLDERS * FILES_A_FOLDER) as usize;
/// In both: the payload looks for it, and fails where no workspace is.
const MARKER: &str = "marker";
const COMMAND: [&str; 3] = ["/usr/bin/test", "-e", "/workspace/marker"];

pub async fn measure(directory: &Path, runs: usize) -> Result<()> {
    let (empty, tree) = (directory.join("empty"), directory.join("tree"));
    for workspace in [&empty, &tree] {
        fs::create_dir(workspace)?;
        fs::write(workspace.join(MARKER), "")?;
    }
    fill(&tree)?;
    let ours = Ours::new(directory, 1)?;
    let measured = take_turns(&ours, &empty, &tree, runs).await;
    ours.end().await;
    measured?;
    say("cp -a", timed(Command::new("cp").arg("-a").arg(&tree).arg(directory.join("copy")))?);
    Ok(())
}

async fn take_turns(ours: &Ours, empty: &Path, tree: &Path, runs: usize) -> Result<()> {
    for _ in 0..runs {
        for (kind, workspace, name) in [
            (Kind::Cold, empty, "cold, empty"),
            (Kind::Cold, tree, "cold, tree"),
            (Kind::Warm, empty, "warm, empty"),
            (Kind::Warm, tree, "warm, tree"),
        ] {
            tokio::time::sleep(PAUSE).await;
            say(name, ours.once(kind, workspace, &COMMAND).await?);
        }
    }
    Ok(())
}

fn fill(tree: &Path) -> Result<()> {
    let mut content = vec![b'x'; FILE_BYTES];
    for folder in 0..FOLDERS {
        let folder_path = tree.join(format!("folder-{folder:03}"));
        fs::create_dir(&folder_path)?;
        for file in 0..FILES_A_FOLDER {
            let name = format!("file-{folder:03}-{file:03}.txt\n");
            content.splice(..name.len(), name.bytes());
            fs::write(folder_path.join(name.trim_end()), &content)?;
        }
    }
    Ok(())
}
