//! kill -9 at random moments, of everything that takes part in a sandbox: after the next start nothing is left. The
//! moments come from `PATCHBAY_SEED`; `PATCHBAY_KILLS` says how many, and 1000 is the long run. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not there is a failed test"
)]
#![allow(clippy::expect_used, reason = "what is not there is a failed test")]

mod processes;
mod remains;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use processes::{below, descendants, parents};
use remains::Ground;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

const KILLS_DEFAULT: usize = 40;
const END_SECONDS_MAX: u64 = 10;
/// Writes, moves, and leaves a process of its own session behind.
const SCRIPT: &str = "setsid sleep 600 & head -c 1000000 /dev/zero > zeros; mkdir -p a/b; mv start.txt a/b; \
                      echo x > /tmp/x; sleep 0.01; rm zeros; echo end >> a/b/start.txt";

#[derive(Debug, Clone, Copy)]
enum Victim {
    Payload,
    /// The sandbox's first process.
    Init,
    Helper,
    /// Of which helpers are forked.
    Template,
    Agent,
}

const VICTIMS: [Victim; 5] = [Victim::Payload, Victim::Init, Victim::Helper, Victim::Template, Victim::Agent];

#[test]
fn nothing_is_left_after_a_kill_and_the_next_start() {
    let number =
        |name: &str, default: usize| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (kills, seed) = (number("PATCHBAY_KILLS", KILLS_DEFAULT), number("PATCHBAY_SEED", 1));
    let mut random = Random(seed as u64);
    processes::adopt_orphans();
    let mut ground = Ground::new();
    let workspace = tempfile::tempdir().unwrap();
    std::fs::write(workspace.path().join("start.txt"), "start\n").unwrap();
    // How long it takes undisturbed: the moments fall anywhere in it.
    let whole_us = (0..3).map(|_| undisturbed(&ground, workspace.path())).max().unwrap();
    let (mut done, mut missed, mut left_by_kill) = ([0; VICTIMS.len()], 0, 0);
    while done.iter().sum::<usize>() < kills {
        // All as often, though some are there for less time than others.
        let which = done.iter().sum::<usize>() % VICTIMS.len();
        let moment = Duration::from_micros(random.below(whole_us));
        let what = format!("seed {seed}: {:?} killed after {moment:?}", VICTIMS[which]);
        // 1. Until the moment, then the kill. Early and late there may be nothing to kill.
        let mut agent = run(&ground, workspace.path(), SCRIPT);
        std::thread::sleep(moment);
        ground.look();
        match kill(VICTIMS[which], &mut agent) {
            true => done[which] += 1,
            false => missed += 1,
        }
        // 2. The agent's end, by itself unless it was the one.
        let ended = within(|| {
            ground.look();
            agent.try_wait().unwrap()
        });
        assert!(ended.is_some(), "{what}: the agent goes on");
        // 3. All processes end without anybody's help, and with them what they hold.
        let processes = within(|| descendants(&[]).is_empty().then_some(()));
        assert!(processes.is_some(), "{what}: {:?} go on", descendants(&[]));
        left_by_kill += usize::from(!everything_left(&ground).is_empty());
        // 4. The next start, and nothing is left.
        let next = run(&ground, workspace.path(), "true").wait_with_output().unwrap();
        assert!(next.status.success(), "{what}: {}", String::from_utf8_lossy(&next.stderr));
        let mut left = Vec::new();
        let clean = within(|| {
            left = everything_left(&ground);
            left.is_empty().then_some(())
        });
        assert!(clean.is_some(), "{what}: {left:#?}");
    }
    let counts: Vec<_> =
        VICTIMS.iter().zip(done).map(|(victim, count)| format!("{victim:?} {count}")).collect();
    println!(
        "{} kills ({}), {missed} moments without the victim; {left_by_kill} left something for the next start, none after it",
        done.iter().sum::<usize>(),
        counts.join(", ")
    );
    assert!(!ground.seen().is_empty(), "no run was seen in {}", ground.state().display());
}

fn everything_left(ground: &Ground) -> Vec<String> {
    [processes::remaining(&[]), ground.remains(0)].concat()
}

fn run(ground: &Ground, workspace: &Path, script: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_patchbay-agent"))
        .args(["try", "--workspace"])
        .arg(workspace)
        .args(["--", "sh", "-c", script])
        .env("TMPDIR", ground.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn undisturbed(ground: &Ground, workspace: &Path) -> u64 {
    let started = Instant::now();
    let output = run(ground, workspace, SCRIPT).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    started.elapsed().as_micros() as u64
}

/// Whether there was something to kill.
fn kill(victim: Victim, agent: &mut Child) -> bool {
    let steps_down = match victim {
        Victim::Agent => return agent.kill().is_ok(),
        Victim::Template => 1,
        Victim::Helper => 2,
        Victim::Init => 3,
        Victim::Payload => 4,
    };
    let find = || {
        let parents = parents();
        (0..steps_down).try_fold(agent.id(), |parent, _| {
            parents.iter().find(|(_, of)| **of == parent).map(|(pid, _)| *pid)
        })
    };
    let Some(pid) = find() else { return false };
    let Ok(held) = pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()) else { return false };
    // Held by its descriptor: still ours now means ours when it is killed.
    below(agent.id(), &parents()).contains(&pid) && pidfd_send_signal(held, Signal::KILL).is_ok()
}

/// What came of it as soon as there is something.
fn within<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(END_SECONDS_MAX);
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
