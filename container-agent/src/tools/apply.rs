//! `patchbay-agent apply`: a patch onto a workspace, planned and put in place by the code of `patchctl`. The answer is
//! for a model: each operation, what was found, and what to send instead.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use patch_engine::Rules;
use patchctl::disk::Tree;
use patchctl::failure::Failure;
use patchctl::local::{self, Job, Writing};
use patchctl::patch::{self, Base, Format};
use patchctl::report::{self, Mood};
use shared_contracts::patches::TreeReceipt;
use shared_contracts::problem::{Problem, ProblemKind};

use super::{DENIED_VARIABLE, WORKSPACE_VARIABLE};

/// For `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  everything is in place (what was there already counts)
  1  refused: the patch does not fit, nothing was changed; send all of it again, mended as the answer says
  2  the command line or the patch cannot be read; nothing was changed
  3  a file cannot be read or written; nothing was changed, unless the message says otherwise";
const MEND: &str = "Mend the refused operations as said, and send the whole patch again.";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Apply {
    /// Say what would happen; write nothing
    #[arg(long)]
    pub check: bool,
    /// What the patch is written in; told from the text unless given
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The text that PATH had when the patch was made: edits are placed by where its lines are now; may be repeated
    #[arg(long, value_name = "PATH=FILE")]
    pub base_file: Vec<String>,
    /// Print the receipt or the refusal as one JSON document
    #[arg(long)]
    pub json: bool,
    /// What the paths in the patch are below
    #[arg(long, env = WORKSPACE_VARIABLE, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
    /// Refuse a patch that touches a path like this; may be repeated
    #[arg(long, env = DENIED_VARIABLE, value_name = "GLOB", value_delimiter = '\n')]
    pub deny: Vec<String>,
    /// The patch's file, or the patch itself where this is more than one line; standard input unless given, or given as `-`
    #[arg(value_name = "PATCHFILE")]
    pub patch: Option<String>,
}

/// Has one thread: while the worker works in its memory, nobody else may.
pub fn run(arguments: &Apply) -> ExitCode {
    let (text, code) = match apply(arguments) {
        Ok(receipt) => {
            let mood = if arguments.check { Mood::Would } else { Mood::Done };
            (report::receipt(&receipt, mood, arguments.json), ExitCode::SUCCESS)
        }
        Err(failure) => {
            let problem = mendable(failure.problem());
            let text = if arguments.json { report::json(&problem) } else { report::refusal(&problem) };
            (text, failure.exit_code())
        }
    };
    print!("{text}");
    code
}

fn apply(arguments: &Apply) -> Result<TreeReceipt, Failure> {
    let source = patch::Source { format: arguments.format, patch: None };
    let read = match arguments.patch.as_deref() {
        Some(text) if text.contains('\n') => source.read_text(text)?,
        Some(file) => patch::Source { patch: Some(file.into()), ..source }.read()?,
        None => source.read()?,
    };
    let bases = arguments.base_file.iter().map(|text| Base::read(text)).collect::<Result<Vec<_>, _>>()?;
    let denied_paths = arguments.deny.iter().filter(|glob| !glob.is_empty()).cloned().collect();
    let mut job = Job::new(read, bases, Rules { denied_paths });
    let (tree, recovered) = Tree::open(&arguments.root)?;
    job.notes.extend(report::recovery(recovered).map(str::to_owned));
    let receipt = local::run(&tree, job, (!arguments.check).then(Writing::default))?;
    // None is kept that anyone could ask for.
    Ok(TreeReceipt { id: None, ..receipt })
}

/// The whole batch was refused, so all of it is sent again.
fn mendable(mut problem: Problem) -> Problem {
    if problem.kind == ProblemKind::PatchRefused || !problem.outcomes.is_empty() {
        problem.detail = format!("{}. {MEND}", problem.detail);
    }
    problem
}
