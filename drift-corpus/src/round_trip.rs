//! There and back: the engine's own difference of two contents leads from one to the other, its inverse back, and so
//! does every text that says the same in another format, whichever format it came from.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use patch_engine::{File, FileChange, diff, formats, plan};
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{PatchBatch, PatchFormat, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

const FAILURES_KEPT: usize = 20;

type Tree = BTreeMap<WorkspacePath, File>;

/// A file before and after; none where it does not exist.
#[derive(Debug, Clone)]
pub struct Pair {
    pub name: String,
    pub path: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Which of the ways through two formats a pair goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// Another one for each pair.
    One,
    All,
}

#[derive(Debug, Default)]
pub struct Trips {
    pub pairs: usize,
    /// Texts written in a format, read, and planned to the same tree.
    pub texts: usize,
    /// A format that has no way to say a change: search/replace cannot hold its own marks.
    pub unwritable: usize,
    pub failed: usize,
    pub failures: Vec<String>,
}

impl Trips {
    fn add(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.texts += other.texts;
        self.unwritable += other.unwritable;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_KEPT);
    }
}

/// Every pair, on all cores.
pub fn trips(count: usize, ways: Ways, pair: impl Fn(usize) -> Pair + Sync) -> Trips {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Trips::default()));
    let work = || {
        let mut trips = Trips::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let pair = pair(number);
            trips.pairs += 1;
            if let Err(what) = trip(&pair, number, ways, &mut trips) {
                trips.failed += 1;
                trips.failures.push(format!("{}: {what}", pair.name));
            }
        }
        all.lock().expect("no worker panics while it adds").add(trips);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    all.into_inner().expect("no worker panicked")
}

fn trip(pair: &Pair, number: usize, ways: Ways, trips: &mut Trips) -> Result<(), String> {
    let path = WorkspacePath::parse(&pair.path).map_err(|fault| format!("{fault:?}"))?;
    let file =
        |text: &Option<String>| text.clone().map(|text| File { bytes: text.into(), mode: FileMode::Regular });
    let change = FileChange { path, before: file(&pair.before), after: file(&pair.after) };
    if change.before == change.after {
        return Ok(());
    }
    let (before, after) = (tree(&change.path, &change.before), tree(&change.path, &change.after));
    let changes = [change];

    let batch = diff(&changes);
    let planned = plan(&batch, &before).map_err(|refusal| format!("its difference: {refusal:?}"))?;
    if planned.changes != changes {
        return Err("its difference leads elsewhere".into());
    }
    let back = plan(&planned.inverse(), &after).map_err(|refusal| format!("its inverse: {refusal:?}"))?;
    if back.changes != [changes[0].reversed()] {
        return Err("its inverse leads elsewhere".into());
    }
    for first in chosen(ways, number) {
        let Some(operations) = through(first, &batch.operations, &before, &changes, trips)? else { continue };
        for second in chosen(ways, number / PatchFormat::ALL.len()) {
            through(second, &operations, &before, &changes, trips)
                .map_err(|what| format!("{first:?}, {what}"))?;
        }
    }
    Ok(())
}

fn chosen(ways: Ways, number: usize) -> impl Iterator<Item = PatchFormat> {
    let is_chosen = move |index: usize| ways == Ways::All || index == number % PatchFormat::ALL.len();
    PatchFormat::ALL
        .into_iter()
        .enumerate()
        .filter(move |(index, _)| is_chosen(*index))
        .map(|(_, format)| format)
}

/// The operations written as text and read again. None where the format cannot say them.
fn through(
    format: PatchFormat,
    operations: &[PatchOperation],
    before: &Tree,
    changes: &[FileChange],
    trips: &mut Trips,
) -> Result<Option<Vec<PatchOperation>>, String> {
    let text = match formats::write(format, operations, before) {
        Ok(text) => text,
        Err(why) if matches!(format, PatchFormat::Json | PatchFormat::UnifiedDiff) => {
            return Err(format!("{format:?} can say everything: {why:?}"));
        }
        Err(_) => {
            trips.unwritable += 1;
            return Ok(None);
        }
    };
    let read =
        formats::read(&text, Some(format)).map_err(|fault| format!("{format:?}: {fault:?}\n{text}"))?;
    let operations: Result<Vec<PatchOperation>, _> = read.operations.into_iter().collect();
    let mut operations = operations.map_err(|(_, outcome)| format!("{format:?}: {outcome:?}\n{text}"))?;
    with_base(&mut operations, before);
    let planned = plan(&PatchBatch { operations: operations.clone() }, before)
        .map_err(|refusal| format!("{format:?}: {refusal:?}\n{text}"))?;
    if planned.changes != changes {
        return Err(format!("{format:?} leads elsewhere\n{text}"));
    }
    trips.texts += 1;
    Ok(Some(operations))
}

/// Texts do not carry the hash of their base; whoever sends one knows it. A second edit has the first one's result for
/// its base.
fn with_base(operations: &mut [PatchOperation], before: &Tree) {
    let mut seen = Vec::new();
    for operation in operations {
        if let PatchOperation::Edit { path, base_sha256, .. } = operation
            && !seen.contains(path)
        {
            *base_sha256 = before.get(path).map(|file| Sha256::of(&file.bytes));
            seen.push(path.clone());
        }
    }
}

fn tree(path: &WorkspacePath, file: &Option<File>) -> Tree {
    file.iter().map(|file| (path.clone(), file.clone())).collect()
}
