//! How fast 50 secrets are taken out of a 64 MB log, beside GNU sed with the 50 values alone, in the same run:
//! `cargo run --profile native -p redaction --example speed`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redaction::Redactor;

const LOG_BYTES: usize = 64 * 1024 * 1024;
const SECRETS: usize = 50;
const CHUNK_BYTES: usize = 64 * 1024;
/// The fastest of so many tries counts, for both.
const TRIES: usize = 3;
/// One secret in so many lines.
const LINES_A_SECRET: u64 = 1000;

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

fn fastest(mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut fastest = Duration::MAX;
    for _ in 0..TRIES {
        #[expect(clippy::disallowed_methods, reason = "natively there is a clock")]
        let started = Instant::now();
        work()?;
        fastest = fastest.min(started.elapsed());
    }
    Ok(fastest)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut random = Random(1);
    let secrets: Vec<String> = (0..SECRETS).map(|_| random.token()).collect();
    let log = log(&mut random, &secrets)?;

    let redactor = Redactor::new(secrets.iter().enumerate().map(|(at, value)| (format!("S{at}"), value)))?;
    let mut out = Vec::with_capacity(log.len());
    let ours = fastest(|| {
        out.clear();
        let mut stream = redactor.stream();
        for chunk in log.as_bytes().chunks(CHUNK_BYTES) {
            stream.feed(chunk, &mut out);
        }
        stream.finish(&mut out);
        black_box(&out);
        Ok(())
    })?;

    let directory = std::env::temp_dir().join(format!("redaction-speed-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let (input, script) = (directory.join("log"), directory.join("script"));
    fs::write(&input, &log)?;
    let commands = secrets.iter().enumerate().map(|(at, value)| format!("s/{value}/[redacted:S{at}]/g\n"));
    fs::write(&script, commands.collect::<String>())?;
    let peer = fastest(|| {
        let mut sed = Command::new("sed");
        // Without a locale sed is at its fastest.
        let sed = sed.env("LC_ALL", "C").arg("-f").arg(&script).stdin(File::open(&input)?);
        let sed = sed.stdout(File::create(directory.join("out"))?).stderr(Stdio::inherit());
        if sed.status()?.success() { Ok(()) } else { Err("sed failed".into()) }
    })?;
    let same = fs::read(directory.join("out"))? == out;
    fs::remove_dir_all(&directory)?;

    let date = Command::new("date").arg("--utc").arg("--iso-8601=seconds").output()?.stdout;
    let speed = |took: Duration| log.len() as f64 / 1e6 / took.as_secs_f64();
    println!("{}", String::from_utf8_lossy(&date).trim());
    println!("redaction  {:7.1} MB/s  {SECRETS} secrets in all forms", speed(ours));
    println!("sed        {:7.1} MB/s  {SECRETS} values as they are", speed(peer));
    println!("ratio      {:7.1}       output the same: {same}", peer.as_secs_f64() / ours.as_secs_f64());
    Ok(())
}
