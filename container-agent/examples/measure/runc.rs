//! runc, over the bundle that `runc spec` writes, with the machine's `/usr`, the workspace and our limits put in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::ours::limits;
use crate::peers::{timed, tried};
use crate::processes::{group, remove_group};

const MIB: u64 = 1024 * 1024;
const CPU_PERIOD_US: f64 = 100_000.0;
const NAME: &str = "measured";

pub struct Runc {
    bundle: PathBuf,
    /// What it knows of its containers.
    state: PathBuf,
}

impl Runc {
    pub fn new(directory: &Path, workspace: &Path) -> Result<Self> {
        let runc = Self { bundle: directory.join("bundle"), state: directory.join("runc") };
        let root = runc.bundle.join("rootfs");
        for name in ["usr", "proc", "dev", "sys", "tmp", "workspace"] {
            fs::create_dir_all(root.join(name))?;
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name))?;
        }
        tried(Command::new("runc").arg("spec").arg("--bundle").arg(&runc.bundle))?;
        let file = runc.bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
        configure(&mut config, workspace)?;
        fs::write(&file, config.to_string())?;
        tried(&mut runc.start())?;
        tried(&mut runc.delete())?;
        Ok(runc)
    }

    /// Kept after its exit, and removed untimed, as ours is.
    pub fn once(&self) -> Result<Duration> {
        let took = timed(&mut self.start())?;
        timed(&mut self.delete())?;
        Ok(took)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.state);
        command
    }

    fn start(&self) -> Command {
        let mut command = self.command();
        command.args(["run", "--keep", "--bundle"]).arg(&self.bundle).arg(NAME);
        command
    }

    fn delete(&self) -> Command {
        let mut command = self.command();
        command.args(["delete", NAME]);
        command
    }
}

impl Drop for Runc {
    fn drop(&mut self) {
        remove_group();
    }
}

fn configure(config: &mut Value, workspace: &Path) -> Result<()> {
    let limits = limits();
    let memory = u64::from(limits.memory_mb) * MIB;
    let put = [
        ("/process/terminal", json!(false)),
        ("/process/args", json!(["/bin/true"])),
        ("/process/cwd", json!("/workspace")),
    ];
    for (at, value) in put {
        *config.pointer_mut(at).ok_or_else(|| format!("`runc spec` wrote no {at}"))? = value;
    }
    let linux = config.pointer_mut("/linux").and_then(Value::as_object_mut).ok_or("no /linux")?;
    linux.insert("cgroupsPath".into(), json!(format!("{}/runc", group())));
    let resources = linux.get_mut("resources").and_then(Value::as_object_mut).ok_or("no /linux/resources")?;
    resources.insert("memory".into(), json!({"limit": memory, "swap": memory}));
    resources.insert("pids".into(), json!({"limit": limits.processes}));
    let quota = (limits.cpu_cores * CPU_PERIOD_US) as u64;
    resources.insert("cpu".into(), json!({"quota": quota, "period": CPU_PERIOD_US as u64}));
    let mounts = config.pointer_mut("/mounts").and_then(Value::as_array_mut).ok_or("no /mounts")?;
    mounts.extend([
        json!({"destination": "/usr", "type": "none", "source": "/usr", "options": ["bind", "ro", "nosuid", "nodev"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "size=64m"]}),
        json!({"destination": "/workspace", "type": "none", "source": workspace, "options": ["bind", "rw"]}),
    ]);
    Ok(())
}
