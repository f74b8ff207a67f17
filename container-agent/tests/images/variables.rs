//! What an image says of its environment, as a command in it sees it. Needs root.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::archive::Tar;
use crate::registry::{Pushed, Registry, reference};

/// A program that says whose it is.
fn who(directory: &Path, whose: &str) -> String {
    let bin = directory.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("who"), format!("#!/bin/sh\necho {whose}\n")).unwrap();
    std::fs::set_permissions(bin.join("who"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bin.display().to_string()
}

#[tokio::test]
async fn its_path_comes_behind_the_operators_directories_and_before_the_default() {
    let registry = Registry::open();
    // Its programs are this machine's, bound in as a toolchain, and one of its own.
    let layer = Tar::default()
        .symlink("bin", "usr/bin")
        .symlink("lib", "usr/lib")
        .symlink("lib64", "usr/lib64")
        .mode_file("image/who", "#!/bin/sh\necho the image\n", 0o755);
    let mut image = Pushed::new().gzip(layer.end());
    image.process = json!({ "Env": ["PATH=/image:/usr/bin", "GREETING=hello", "HOME=/root"] });
    let image = reference(&registry.host, "base", registry.push("base", &image).await).to_string();
    // Not in /tmp, which is the sandbox's own.
    let machine = tempfile::Builder::new().prefix("patchbay-test-").tempdir_in("/opt").unwrap();
    std::fs::set_permissions(machine.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let operators = who(&machine.path().join("operator"), "the operator");
    let own = who(&machine.path().join("own"), "somebody");
    let says = |options: &[&str], more: &str| {
        let settings = machine.path().join("agent.toml");
        std::fs::write(&settings, format!("[registries.\"{}\"]\ninsecure = true\n{more}", registry.host))
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"))
            .args(["try", "--limits", "none", "--image", &image, "--toolchain", "/usr", "--config"])
            .arg(settings)
            .arg("--state-dir")
            .arg(machine.path().join("state"))
            .arg("--toolchain")
            .arg(machine.path())
            .args(options)
            .args(["--", "sh", "-c", "who; echo $GREETING $HOME; command -v apply_patch"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let rest = ["hello /home/agent", "/run/patchbay/bin/apply_patch"];
    assert_eq!(says(&[], ""), ["the image", rest[0], rest[1]]);
    assert_eq!(says(&["--path-prefix", &operators], ""), ["the operator", rest[0], rest[1]]);
    let own = format!("[environment]\nPATH = \"{own}:/run/patchbay/bin:/usr/bin\"\n");
    assert_eq!(says(&["--path-prefix", &operators], &own), ["somebody", rest[0], rest[1]]);
}
