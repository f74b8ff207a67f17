//! A machine whose disk is full: what it cannot log it gives back, with the reason; with room it works again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use acceptance::agents::{Job, Log, Machine, SOON, Tenant, eventually, lab, soon, unique};
use shared_contracts::events::EventBody;
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::limits::LOST_RETRIES_MAX;
use shared_contracts::tasks::TaskState;
use xtask::plane::AgentOptions;

/// A disk of its own for a folder, unmounted however the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf, megabytes: u32) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let options = format!("size={megabytes}m,mode=0711");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).status();
        assert!(mounted.unwrap().success(), "these tests need root");
        Self(folder)
    }

    /// Takes every byte that there is and every one that is freed.
    fn fill(&self) -> Ballast {
        let stop = Arc::new(AtomicBool::new(false));
        let path = self.0.join("ballast");
        let thread = std::thread::spawn({
            let (path, stop) = (path.clone(), Arc::clone(&stop));
            move || keep_full(&path, &stop)
        });
        Ballast { path, stop, thread: Some(thread) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a container agent that a failed test left running keeps it busy for a moment.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn keep_full(path: &Path, stop: &AtomicBool) {
    let mut file = File::create(path).unwrap();
    let mut bytes = vec![0; 1024 * 1024];
    while !stop.load(Ordering::Relaxed) {
        match file.write(&bytes) {
            Ok(_) => {}
            Err(_) if bytes.len() > 4096 => bytes.truncate(4096),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Dropped, it gives the room back.
struct Ballast {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = fs::remove_file(&self.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_cannot_log_ends_with_the_reason() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let options = AgentOptions { capacity: 1, ..AgentOptions::named(&unique("machine")) };
    let disk = SmallDisk::mount(lab().state_folder().join("agents").join(&options.name), 48);
    let machine = Machine::with(lab(), &tenant, options).await;
    // It would go on for an hour.
    let script = "n=1; while :; do seq -f 'line %.0f' $n $((n+99)); n=$((n+100)); sleep 0.02; done";
    let job = Job::script(&project, script).await;
    let watcher = tokio::spawn(job.client.watch(job.id, 0).collect());
    job.prints("line 500").await;

    // 1. The disk takes no more: at once nothing runs any more, and the plane hears why.
    let ballast = disk.fill();
    let record = soon("it ends", SOON, job.ends()).await;
    eventually("nothing runs there", SOON, async || machine.processes().is_empty().then_some(())).await;
    assert_eq!((record.state, record.lost_count), (ExecutionState::Failed, LOST_RETRIES_MAX));
    assert_eq!(job.task().await.state, TaskState::Todo);
    let log = job.log().await;
    let end = log.end();
    assert_eq!(end.outcome, Outcome::Failed);
    assert!(end.reason.contains("No space left on device"), "{}", end.reason);
    let losses = log.0.iter().filter(|event| matches!(event.body, EventBody::Lost { .. })).count();
    assert_eq!(losses as u32, LOST_RETRIES_MAX + 1);

    // 2. What a watcher had seen is what the log says, without a gap up to where it broke off.
    let seen = watcher.await.unwrap().unwrap();
    assert!(Log::whole(seen) == log, "a watcher saw another log");
    let printed = log.printed_under(1);
    assert!(printed.len() >= 500);
    Log::assert_numbered(&printed, printed.len());

    // 3. The container agent lives; with room it works as before.
    drop(ballast);
    let job = Job::script(&project, "echo fine; echo x > new").await;
    let log = job.log().await;
    assert_eq!(log.end().outcome, Outcome::Succeeded, "{:?}", log.end());
    assert!(job.record().await.patch_batch_id.is_some());
    machine.stop().await;
}
