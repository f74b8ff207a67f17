//! What happens in the guest, and what must come of it. The scripts are for busybox's shell.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use shared_contracts::sandboxes::{OfferedSandbox, SandboxProvider, SandboxTier, Verdict};

/// As whom, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Before there is a root directory that can be left.
    Ramdisk,
    Root,
    /// An ordinary user with a group of its own, delegated to it.
    User,
    /// An ordinary user without one.
    Stranger,
}

impl By {
    pub const ALL: [Self; 4] = [Self::Ramdisk, Self::Root, Self::User, Self::Stranger];

    pub fn word(self) -> &'static str {
        match self {
            Self::Ramdisk => "ramdisk",
            Self::Root => "root",
            Self::User => "user",
            Self::Stranger => "stranger",
        }
    }

    /// What every call of the agent is given. This kernel's memory file system is no place for a user's overlay.
    pub fn options(self) -> &'static str {
        if self == Self::User { "--workspace-disk directory" } else { "" }
    }
}

#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub by: &'static [By],
    pub script: &'static str,
    expected: Expected,
}

/// What doctor finds out by running a sandbox.
const SHOWN: [&str; 3] = ["sandbox", "limits in force", "pause"];

#[derive(Debug, Deserialize)]
struct Report {
    sandboxes: Vec<OfferedSandbox>,
}

#[derive(Debug)]
enum Expected {
    /// Exit code, and texts that must be printed. `BROKEN` and `NOT REACHED` never may.
    Says(i32, &'static [&'static str]),
    /// `try --stats` says at most and at least so many milliseconds of CPU.
    CpuMs(u64, u64),
    /// The tier of namespaces; the rows that are not good, for each of [`By`] that runs it.
    Tier(SandboxTier, &'static [(By, &'static [&'static str])]),
    /// That tier is `none`: for this row, with this in its text or its fix.
    Missing(&'static str, &'static str),
}

use By::{Ramdisk, Root, Stranger, User};
use Expected::{CpuMs, Missing, Says, Tier};

pub static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a-ramdisk-is-no-root",
        by: &[Ramdisk],
        script: "patchbay-agent doctor --json --state-dir /new/var/state",
        expected: Missing("root directory", "switch_root"),
    },
    Scenario {
        name: "doctor",
        by: &[Root, User],
        script: "alone patchbay-agent doctor --json $OPTIONS --state-dir $HOME/state; [ ! -e $HOME/state ] || echo BROKEN",
        expected: Tier(
            SandboxTier::Limited,
            &[(Root, &["Landlock"]), (User, &["Landlock", "disk limit", "privilege"])],
        ),
    },
    Scenario {
        name: "controllers-are-v2",
        by: &[Root, User],
        script: "alone patchbay-agent doctor $OPTIONS --state-dir $HOME/state | grep -c 'v2 at /sys/fs/cgroup'",
        expected: Says(0, &["4\n"]),
    },
    Scenario {
        name: "a-state-directory-in-memory",
        by: &[Root],
        script: "patchbay-agent doctor --json --state-dir /memory/state",
        expected: Missing("id-mapped workspace", "6.3"),
    },
    Scenario {
        name: "a-workspace-in-memory",
        by: &[User],
        script: "alone patchbay-agent doctor --json --state-dir /home/user/state",
        expected: Missing("workspace in memory", "workspace_disk = \"directory\""),
    },
    Scenario {
        name: "no-delegation",
        by: &[Stranger],
        script: "patchbay-agent try --workspace-disk directory -- true",
        expected: Says(1, &["Delegate=yes", "limits = \"none\""]),
    },
    Scenario {
        name: "not-alone-in-its-group",
        by: &[User],
        script: "group=$(mktemp -d $PARENT/run-XXXXXX); echo 0 > $group/cgroup.procs; patchbay-agent try $OPTIONS -- true",
        expected: Says(1, &["alone in its control group", "systemd-run"]),
    },
    Scenario {
        name: "walls",
        by: &[Root, User],
        script: "attempt -- sh -c 'id -u; hostname; cat /proc/self/cgroup
            grep -E \"Cap(Eff|Bnd|Amb):.0{16}$|NoNewPrivs:.1$|Seccomp:.2$\" /proc/self/status | wc -l
            [ $(ls /proc | grep -c \"^[0-9]\") -le 5 ] || echo BROKEN processes
            for path in / /usr /bin /etc /proc/sys/kernel /dev; do touch $path/x 2> /dev/null && echo BROKEN $path; done
            for path in /proc/1/environ /sys/kernel /scenarios /home/user; do cat $path/* $path 2> /dev/null && echo BROKEN $path; done
            mkdir /sys/fs/cgroup/x 2> /dev/null && echo BROKEN; unshare -U true 2> /dev/null && echo BROKEN; true'",
        expected: Says(0, &["1000\nsandbox\n0::/\n5\n"]),
    },
    Scenario {
        name: "memory-limit",
        by: &[Root, User],
        script: "attempt --memory-mb 24 -- sh -c 'head -c 100m /dev/zero | tail | wc -c; exit 5'",
        expected: Says(5, &["memory limit of 24 MB"]),
    },
    Scenario {
        name: "process-limit",
        by: &[Root, User],
        script: "attempt --processes 16 -- sh -c 'for i in $(seq 30); do sleep 5 & done; echo BROKEN'",
        expected: Says(2, &["the limit of 16 was reached"]),
    },
    Scenario {
        name: "cpu-limit",
        by: &[Root, User],
        script: "attempt --cpu-cores 0.2 --wall-seconds 3 --stats -- sh -c 'while :; do :; done'",
        expected: CpuMs(100, 1_200),
    },
    Scenario {
        name: "disk-limit",
        by: &[Root],
        script: "attempt --disk-mb 8 -- sh -c 'dd if=/dev/zero of=big bs=1M count=20 || exit 6'",
        expected: Says(6, &["No space left", "disk limit of 8 MB"]),
    },
    Scenario {
        name: "exit-codes",
        by: &[Root, User],
        script: "attempt -- sh -c 'exit 3'; echo =$?; attempt -- sh -c 'kill -9 $$'; echo =$?; attempt -- nothing-like-it",
        expected: Says(1, &["=3\n", "=137\n", "not found in the sandbox's PATH"]),
    },
    Scenario {
        name: "changed-files",
        by: &[Root, User],
        script: "cd $HOME; mkdir -p w/old w/gone; printf 'one\\ntwo\\n' > w/edit; echo gone > w/gone/file
            printf 'a file that moves\\nwith its directory\\n' > w/old/moved
            attempt --workspace w -- sh -c 'sed -i s/two/2/ edit; rm -r gone; mkdir gone; echo n > gone/new; mv old new; exit 4'
            code=$?; cat w/edit w/gone/file w/old/moved > /dev/null || echo BROKEN; rm -r w; exit $code",
        expected: Says(4, &["+2", "b/gone/new", "deleted file mode 100644", "rename to new/moved"]),
    },
    Scenario {
        name: "nothing-goes-on",
        by: &[Root, User],
        script: "attempt --wall-seconds 2 -- sh -c '(sleep 98761 &); (setsid sleep 98761 &); sleep 98762'; code=$?
            runs 9876 && echo BROKEN; clean; exit $code",
        expected: Says(124, &["stopped after 2 s"]),
    },
    Scenario {
        name: "kill-9",
        by: &[Root],
        script: "patchbay-agent try -- sleep 98763 & await runs 98763
            kill -9 $!; await gone 98763; groups > /dev/null && echo left
            attempt -- true && clean",
        expected: Says(0, &["left"]),
    },
    Scenario {
        // Started again in the group that the dead one left, as a service is.
        name: "kill-9-of-a-service",
        by: &[User],
        script: "service() { echo 0 > $1/cgroup.procs && exec patchbay-agent try $OPTIONS -- $2; }
            mkdir $PARENT/service; service $PARENT/service 'sleep 98764' & await runs 98764
            kill -9 $!; await gone 98764; groups > /dev/null && echo left
            (service $PARENT/service/patchbay-agent true) && clean",
        expected: Says(0, &["left"]),
    },
    Scenario {
        name: "users-do-not-meet-in-tmp",
        by: &[Root],
        script: "mkdir /tmp/patchbay-try
            su user -c 'patchbay-agent try --limits none --workspace-disk directory -- true' || echo BROKEN
            chown user /tmp/patchbay-try; patchbay-agent try -- true; code=$?; rmdir /tmp/patchbay-try; clean; exit $code",
        expected: Says(1, &["/tmp/patchbay-try belongs to another user"]),
    },
    Scenario {
        name: "a-closed-directory-is-removed",
        by: &[Root, User],
        script: "attempt -- sh -c 'mkdir -p /tmp/a/b /home/agent/c; chmod 0 /tmp/a/b /tmp/a /home/agent/c' && clean",
        expected: Says(0, &[]),
    },
];

impl Scenario {
    /// Whether this is what must come of it.
    pub fn judge(&self, by: By, exit: i32, said: &str) -> Result<()> {
        for word in ["BROKEN", "NOT REACHED"] {
            ensure!(!said.contains(word), "it says {word}");
        }
        match self.expected {
            Says(code, texts) => {
                for text in texts {
                    ensure!(said.contains(text), "it does not say `{}`", text.trim());
                }
                ensure!(exit == code, "exit code {exit} instead of {code}");
            }
            CpuMs(least, most) => {
                let used = said.split_once(" ms of CPU").and_then(|(before, _)| before.rsplit(' ').next());
                let used: u64 = used.context("it says nothing of CPU time")?.parse()?;
                ensure!((least..=most).contains(&used), "{used} ms of CPU, not {least} to {most}");
            }
            Tier(tier, rows) => {
                let report = report(said)?;
                let wanted = rows.iter().find(|(of, _)| *of == by).map(|(_, rows)| rows.iter().copied());
                let wanted: BTreeSet<_> = wanted.into_iter().flatten().collect();
                let bad = report.findings.iter().filter(|row| row.verdict != Verdict::Good);
                let bad: BTreeSet<_> = bad.map(|row| row.what.as_str()).collect();
                ensure!(bad == wanted, "not good: {bad:?} instead of {wanted:?}");
                for what in SHOWN {
                    ensure!(report.findings.iter().any(|row| row.what == what), "no row `{what}`");
                }
                ensure!(report.tier == tier, "tier {} instead of {}", report.tier.as_str(), tier.as_str());
            }
            Missing(what, text) => {
                let report = report(said)?;
                ensure!(report.tier == SandboxTier::None, "tier {} instead of none", report.tier.as_str());
                let mut rows = report.findings.iter().filter(|row| row.verdict == Verdict::Missing);
                let row = rows.find(|row| row.what == what);
                let row = row.with_context(|| format!("no row `{what}` is missing"))?;
                let says = row.found.contains(text) || row.fix.contains(text);
                ensure!(says, "it does not say `{text}`: {}; {}", row.found, row.fix);
            }
        }
        Ok(())
    }
}

/// What doctor says of the agent's own kind of sandbox; there is no engine in the guest.
fn report(said: &str) -> Result<OfferedSandbox> {
    let line = said.lines().find(|line| line.starts_with('{')).context("doctor printed no report")?;
    let report: Report = serde_json::from_str(line)?;
    let mut own = report.sandboxes.into_iter().filter(|kind| kind.provider == SandboxProvider::Namespaces);
    own.next().context("doctor says nothing of namespaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_not_be_said_is_a_failure() {
        let walls = SCENARIOS.iter().find(|scenario| scenario.name == "walls").unwrap();
        assert!(walls.judge(Root, 0, "1000\nsandbox\n0::/\n5\n").is_ok());
        for (exit, said) in [(1, "1000\nsandbox\n0::/\n5\n"), (0, "1000\nsandbox\n0::/\n5\nBROKEN"), (0, "")]
        {
            assert!(walls.judge(Root, exit, said).is_err(), "{exit} {said}");
        }
    }

    #[test]
    fn a_row_of_doctor_that_is_less_or_more_than_expected_is_a_failure() {
        let doctor = SCENARIOS.iter().find(|scenario| scenario.name == "doctor").unwrap();
        let said = |rows: &[&str]| {
            let row = |what: &&str, verdict| serde_json::json!({"what": what, "verdict": verdict, "found": "", "meaning": "", "fix": ""});
            let limited = rows.iter().map(|what| row(what, "limited"));
            let rows: Vec<_> = SHOWN.iter().map(|what| row(what, "good")).chain(limited).collect();
            let own = serde_json::json!({
                "provider": "namespaces", "tier": "limited", "reason": "", "images": [], "findings": rows
            });
            serde_json::json!({"tier": "limited", "sandboxes": [own]}).to_string()
        };
        assert!(doctor.judge(Root, 0, &said(&["Landlock"])).is_ok());
        assert!(doctor.judge(Root, 0, &said(&["Landlock", "CPU limit"])).is_err());
        assert!(doctor.judge(Root, 0, &said(&[])).is_err());
    }
}
