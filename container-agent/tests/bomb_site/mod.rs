//! Payloads that use up all they can get, beside one that works. Each ends as its limit says, the neighbour's results stay
//! right, nothing stays behind. `PATCHBAY_BOMBS` says how often; 100 is the long run.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::probe_program;

/// What an agent may need whatever its payload writes.
const AGENT_MB_MAX: u64 = 64;
/// What memory files of others may change while a bomb goes off.
const SHARED_MB_MAX: u64 = 48;

struct Bomb {
    name: &'static str,
    options: &'static [&'static str],
    /// How the agent ends.
    code: i32,
    /// What it says.
    report: &'static str,
}

const BOMBS: [Bomb; 6] = [
    Bomb {
        name: "fork",
        options: &["--processes", "64", "--wall-seconds", "1", "--cpu-cores", "1"],
        code: 124,
        report: "a new process was refused: the limit of 64 was reached",
    },
    Bomb {
        name: "memory",
        options: &["--memory-mb", "64", "--wall-seconds", "60"],
        code: 7,
        report: "the memory limit of 64 MB was reached",
    },
    Bomb {
        name: "disk",
        options: &["--disk-mb", "64", "--wall-seconds", "60"],
        code: libc::ENOSPC,
        report: "",
    },
    Bomb {
        name: "files",
        options: &["--disk-mb", "16", "--wall-seconds", "60"],
        code: libc::ENOSPC,
        report: "",
    },
    Bomb {
        name: "changes",
        options: &["--disk-mb", "16", "--wall-seconds", "60"],
        code: 1,
        report: "files changed; ignore build output in .gitignore",
    },
    Bomb {
        name: "log",
        options: &["--wall-seconds", "1", "--cpu-cores", "1"],
        code: 124,
        report: "stopped after 1 s",
    },
];

/// Where bombs go off.
pub trait Site {
    /// What else may be busy with what has just ended, at most.
    const TIDY: Duration;

    /// `patchbay-agent try` with what makes the sandbox.
    fn agent(&self) -> Command;
    /// Called while a run is there, and once after its end.
    fn look(&mut self);
    /// How many runs were seen.
    fn seen(&self) -> usize;
    /// What is there of all runs that were seen, but for those whose agents are named.
    fn remains(&self, going_on: &[u32]) -> Vec<String>;
}

/// Every bomb as often as the environment says.
pub fn assert_contained(site: &mut impl Site, rounds_default: usize) {
    let rounds = std::env::var("PATCHBAY_BOMBS").map_or(rounds_default, |text| text.parse().unwrap());
    let workspace = probe_program::workspace();
    let mut neighbour = Neighbour::start(site, workspace.path());
    site.look();
    assert!(
        site.remains(&[]).iter().any(|left| left.starts_with("control group")),
        "the neighbour's control groups are not where this test looks"
    );
    let (mut right, started) = (0, Instant::now());
    for round in 0..rounds {
        for bomb in &BOMBS {
            let what = format!("{} bomb, round {round}", bomb.name);
            let shared_before = shared_memory_mb();
            let end = explode(bomb, site, workspace.path());
            // 1. It ends as it should, and says why.
            assert_eq!(end.code, Some(bomb.code), "{what}: {}", end.text);
            assert!(end.text.contains(bomb.report), "{what}: {}", end.text);
            assert!(end.agent_mb < AGENT_MB_MAX, "{what}: the agent needed {} MB", end.agent_mb);
            // 2. The neighbour got on meanwhile, and goes on.
            right += neighbour.results(&what);
            // 3. Nothing of it is left.
            assert_clean(site, &[neighbour.agent.id()], &what);
            let shared = shared_memory_mb();
            assert!(
                shared < shared_before + SHARED_MB_MAX,
                "{what}: {shared_before} MB of files in memory, now {shared}"
            );
        }
    }
    let runs = rounds * BOMBS.len();
    assert!(site.seen() > runs, "only {} runs were seen", site.seen());
    println!(
        "{runs} bombs contained in {} s; {right} results of the neighbour, all right",
        started.elapsed().as_secs()
    );
    drop(neighbour);
    assert_clean(site, &[], "the neighbour");
}

fn assert_clean<S: Site>(site: &S, going_on: &[u32], what: &str) {
    let deadline = Instant::now() + S::TIDY;
    let mut left = site.remains(going_on);
    while !left.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        left = site.remains(going_on);
    }
    assert!(left.is_empty(), "{what} left {left:#?}");
}

struct End {
    code: Option<i32>,
    text: String,
    agent_mb: u64,
}

fn payload(site: &impl Site, workspace: &Path, options: &[&str], arguments: &[&str]) -> Command {
    let mut agent = site.agent();
    agent
        .args(options)
        .arg("--workspace")
        .arg(workspace)
        .args(["--", probe_program::INSIDE])
        .args(arguments)
        .stdout(Stdio::piped());
    agent
}

fn explode(bomb: &Bomb, site: &mut impl Site, workspace: &Path) -> End {
    let mut agent = payload(site, workspace, bomb.options, &["--bomb", bomb.name])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, stderr) = (agent.stdout.take().unwrap(), agent.stderr.take().unwrap());
    let read = [std::thread::spawn(move || ends(stdout)), std::thread::spawn(move || ends(stderr))];
    let status = format!("/proc/{}/status", agent.id());
    let mut agent_mb = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    let code = loop {
        site.look();
        agent_mb = agent_mb.max(number_in(&status, "VmHWM:") / 1_024);
        match agent.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if Instant::now() > deadline => {
                agent.kill().unwrap();
                panic!("the {} bomb goes on after a minute", bomb.name);
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    site.look();
    let text = read.map(|reader| reader.join().unwrap()).concat();
    End { code, text, agent_mb }
}

/// The first and the last of what was written.
fn ends(mut from: impl Read) -> String {
    const KEPT: usize = 4_096;
    let (mut kept, mut block) = (Vec::new(), vec![0; 1 << 20]);
    while let Ok(count @ 1..) = from.read(&mut block) {
        kept.extend_from_slice(&block[..count]);
        if kept.len() > 2 * KEPT {
            kept.drain(KEPT..kept.len() - KEPT);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// In kB, as the kernel says it.
fn number_in(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// What sandboxes write is memory of this kind.
fn shared_memory_mb() -> u64 {
    number_in("/proc/meminfo", "Shmem:") / 1_024
}

/// An execution that computes the same number over and over, through a process and a file each time.
struct Neighbour {
    agent: Child,
    lines: BufReader<ChildStdout>,
}

impl Neighbour {
    fn start(site: &impl Site, workspace: &Path) -> Self {
        let mut agent =
            payload(site, workspace, &["--processes", "8", "--disk-mb", "4"], &["--work"]).spawn().unwrap();
        let lines = BufReader::new(agent.stdout.take().unwrap());
        let mut neighbour = Self { agent, lines };
        neighbour.results("before any bomb");
        neighbour
    }

    /// All that it said since, and one line more: it still works.
    fn results(&mut self, when: &str) -> usize {
        let wanted =
            (0..3_000_000_u64).fold(0_u64, |sum, number| sum.wrapping_mul(31).wrapping_add(number * number));
        let (mut count, mut line) = (0, String::new());
        while count == 0 || !self.lines.buffer().is_empty() {
            line.clear();
            self.lines.read_line(&mut line).unwrap();
            assert_eq!(line, format!("{wanted} exit status: 0\n"), "{when}");
            count += 1;
        }
        count
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        probe_program::interrupt(&mut self.agent);
    }
}
