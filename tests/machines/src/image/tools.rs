//! The host's own programs that it takes: QEMU, debootstrap, mkfs.

use std::path::Path;
use std::time::Duration;

use crate::host;

/// Programs, and Debian's packages of them.
const TOOLS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("debootstrap", "debootstrap"),
    ("mkfs.ext4", "e2fsprogs"),
    ("setpriv", "util-linux"),
    ("chroot", "coreutils"),
];

/// Longest that installing them may take.
const INSTALL: Duration = Duration::from_secs(300);

/// Sees to it that they are there. `Err` says why they are not.
pub fn ready(log: &Path) -> Result<(), String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("machines are emulated on x86-64 hosts only".to_owned());
    }
    installed(TOOLS, log)
}

/// Installs these programs where they are not and the caller may. `Err` says why they are not there.
pub fn installed(tools: &[(&str, &str)], log: &Path) -> Result<(), String> {
    let absent = missing(tools);
    if absent.is_empty() {
        return Ok(());
    }
    let names = absent.join(", ");
    if !nix::unistd::geteuid().is_root() || host::find("apt-get").is_none() {
        return Err(format!("not installed: {names}"));
    }
    let install = || -> anyhow::Result<()> {
        host::run("apt-get", &["update".to_owned()], log, INSTALL)?;
        let mut args = ["install", "--yes", "--no-install-recommends"]
            .map(str::to_owned)
            .to_vec();
        args.extend(absent.iter().map(|name| (*name).to_owned()));
        host::run("apt-get", &args, log, INSTALL)
    };
    match install() {
        Ok(()) if missing(tools).is_empty() => Ok(()),
        Ok(()) => Err(format!(
            "installed, and yet not there: {}",
            missing(tools).join(", ")
        )),
        Err(error) => Err(format!("cannot install {names}: {error:#}")),
    }
}

/// The packages of what is not there.
fn missing<'a>(tools: &[(&str, &'a str)]) -> Vec<&'a str> {
    tools
        .iter()
        .filter(|(program, _)| host::find(program).is_none())
        .map(|(_, package)| *package)
        .collect()
}
