//! How long it takes to take 50 secrets out of a 64 MB log, beside GNU sed with the 50 values alone, in the same run;
//! both as processor time, which what else the machine does changes less. Prints one figure as `cargo xtask bench`
//! reads it, which builds and runs this.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};

use redaction::Redactor;

const LOG_BYTES: usize = 64 * 1024 * 1024;
const SECRETS: usize = 50;
const CHUNK_BYTES: usize = 64 * 1024;
/// Of so many pairs of runs, the fastest of each side counts.
const PAIRS: usize = 5;
/// Ours is over before the clock of processor time has ticked often.
const OUR_RUNS: u32 = 10;
/// One secret in so many lines.
const LINES_A_SECRET: u64 = 1000;
/// How many times as long sed should take.
const BAR: f64 = 30.0;

/// Splitmix: the log is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all.get(self.next() as usize % all.len()).copied().unwrap_or_default()
    }

    fn token(&mut self) -> String {
        format!("sk-{:016x}{:016X}", self.next(), self.next())
    }
}

fn log(random: &mut Random, secrets: &[String]) -> Result<String, Box<dyn Error>> {
    let mut log = String::with_capacity(LOG_BYTES + 1024);
    let mut line = 0;
    while log.len() < LOG_BYTES {
        line += 1;
        let level = random.of(&["INFO", "WARN", "DEBUG", "ERROR"]);
        let module = random.of(&["http::server", "db.pool", "worker", "agent::output", "cargo"]);
        write!(
            log,
            "2026-01-02T03:04:{:02}.{:06}Z {level} {module}: ",
            line % 60,
            random.next() % 1_000_000
        )?;
        let (id, count) = (random.next(), random.next() % 5000);
        match random.next() % 5 {
            0 => writeln!(log, "GET /api/projects/{id:x}/tasks?limit={count}&q=a%20b 200 in {count} ms")?,
            1 => writeln!(log, "   Compiling serde_json v1.0.{count} (/home/build/.cargo/registry/src)")?,
            2 => writeln!(log, r#"{{"id":"{id:x}","message":"it\"s done\nnext","count":{count}}}"#)?,
            3 => writeln!(log, "test executions::queue::tests::an_owner_waits_{count} ... ok")?,
            _ => writeln!(log, "commit {id:016x}{:016x}, {count} files changed, +{count} -3", random.next())?,
        }
        if line % LINES_A_SECRET == 0 {
            let secret = secrets.get(random.next() as usize % SECRETS).map_or("", String::as_str);
            writeln!(log, "Authorization: Bearer {secret}")?;
        }
    }
    Ok(log)
}

/// The log, chunk by chunk through a stream; what comes out is handed on at once.
fn redact(redactor: &Redactor, log: &[u8], mut hand_on: impl FnMut(&[u8])) {
    let mut stream = redactor.stream();
    let mut out = Vec::new();
    for chunk in log.chunks(CHUNK_BYTES) {
        stream.feed(chunk, &mut out);
        hand_on(&out);
        out.clear();
    }
    stream.finish(&mut out);
    hand_on(&out);
}

/// Processor seconds of this process, and of its children that have ended, after `work`.
fn processor_seconds(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let read = || -> Result<f64, Box<dyn Error>> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        // After the name, which may have blanks: `utime stime cutime cstime` are the 12th to the 15th field.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
        let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<u64>);
        // Linux shows every clock in hundredths of a second.
        Ok(ticks.sum::<Result<u64, _>>()? as f64 / 100.0)
    };
    let before = read()?;
    work()?;
    Ok(read()? - before)
}

fn run_sed(folder: &Path, out: Stdio) -> Result<(), Box<dyn Error>> {
    let mut sed = Command::new("sed");
    // Without a locale sed is at its fastest.
    sed.env("LC_ALL", "C").arg("-f").arg(folder.join("script")).stdin(File::open(folder.join("log"))?);
    sed.stdout(out).stderr(Stdio::inherit());
    if sed.status()?.success() { Ok(()) } else { Err("sed failed".into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut random = Random(1);
    let secrets: Vec<String> = (0..SECRETS).map(|_| random.token()).collect();
    let log = log(&mut random, &secrets)?;
    let redactor = Redactor::new(secrets.iter().enumerate().map(|(at, value)| (format!("S{at}"), value)))?;
    let folder = std::env::temp_dir().join(format!("redaction-speed-{}", std::process::id()));
    fs::create_dir(&folder)?;
    fs::write(folder.join("log"), &log)?;
    let commands = secrets.iter().enumerate().map(|(at, value)| format!("s/{value}/[redacted:S{at}]/g\n"));
    fs::write(folder.join("script"), commands.collect::<String>())?;

    let (mut ours, mut sed) = (f64::MAX, f64::MAX);
    for _ in 0..PAIRS {
        let runs = processor_seconds(|| {
            for _ in 0..OUR_RUNS {
                redact(&redactor, log.as_bytes(), |out| {
                    black_box(out);
                });
            }
            Ok(())
        })?;
        ours = ours.min(runs / f64::from(OUR_RUNS));
        sed = sed.min(processor_seconds(|| run_sed(&folder, Stdio::null()))?);
    }
    run_sed(&folder, File::create(folder.join("out"))?.into())?;
    let mut out = Vec::with_capacity(log.len());
    redact(&redactor, log.as_bytes(), |more| out.extend_from_slice(more));
    let is_same = fs::read(folder.join("out"))? == out;
    fs::remove_dir_all(&folder)?;

    let speed = |seconds: f64| log.len() as f64 / 1e6 / seconds;
    println!(
        r#"{{"what":"redaction, {SECRETS} secrets, 64 MB","seconds":{ours},"beside":"sed, as they are","beside_seconds":{sed},"bar":{BAR},"note":"processor time; {:.0} MB/s beside {:.1}; output {}the same"}}"#,
        speed(ours),
        speed(sed),
        if is_same { "" } else { "not " },
    );
    Ok(())
}
