//! Who is busy: CPU time and memory of this process and of workerd, from `/proc` (proc(5)).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Clock ticks a second in `/proc/PID/stat`; every Linux this runs on says 100 (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// CPU used between two moments; 100 % is one core.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub client_percent: f64,
    pub worker_percent: f64,
}

impl std::fmt::Display for Load {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CPU: workerd {:.0} %, client {:.0} %", self.worker_percent, self.client_percent)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Meter {
    worker_pid: u32,
    started: Instant,
    client: Duration,
    worker: Duration,
}

impl Meter {
    pub fn start(worker_pid: u32) -> Self {
        let (client, worker) = (cpu(std::process::id()), cpu(worker_pid));
        Self { worker_pid, started: Instant::now(), client, worker }
    }

    pub fn load(&self) -> Load {
        let wall = self.started.elapsed().as_secs_f64().max(0.001);
        let percent =
            |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() / wall * 100.0;
        Load {
            client_percent: percent(cpu(std::process::id()), self.client),
            worker_percent: percent(cpu(self.worker_pid), self.worker),
        }
    }

    pub fn worker_cpu(&self) -> Duration {
        cpu(self.worker_pid).saturating_sub(self.worker)
    }
}

/// Fields after the name, which may hold anything but ends at the last bracket.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// User and system time of a process; nothing once it is gone.
fn cpu(pid: u32) -> Duration {
    let ticks =
        |fields: &Vec<String>, index| fields.get(index).and_then(|field: &String| field.parse::<u64>().ok());
    let fields = stat(pid).unwrap_or_default();
    let total = ticks(&fields, 11).unwrap_or(0) + ticks(&fields, 12).unwrap_or(0);
    Duration::from_millis(total * 1_000 / TICKS_PER_SECOND)
}

/// The workerd that this process started.
pub fn workerd_below(parent: u32) -> Result<u32> {
    let entries = fs::read_dir("/proc").context("cannot list /proc")?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let its_parent = stat(*pid).and_then(|fields| fields.get(1)?.parse().ok());
            name.trim() == "workerd" && its_parent == Some(parent)
        })
        .context("miniflare has started no workerd")
}

/// The most memory a process had since [`forget_peak_memory`].
pub fn peak_memory_bytes(pid: u32) -> u64 {
    memory_kb(pid, "VmHWM:") * 1_024
}

fn memory_kb(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Where this is not allowed, the peak is that of the process's whole life.
pub fn forget_peak_memory(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}
