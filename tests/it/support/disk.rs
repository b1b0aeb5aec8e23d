//! What a proxy under test sees of the disk: mounts of its own.

use std::{fs::File, path::Path, process::Command};

/// The disk of a proxy's own, beyond that proxy's end.
#[derive(Debug)]
pub struct Disk {
    pub(super) mounts: File,
    /// Whose mounts they are, where they are not root's.
    pub(super) user: Option<File>,
}

impl Disk {
    /// A program that sees this disk.
    pub(super) fn command(&self, program: &str) -> Command {
        let place = |file: &File| {
            format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(file))
        };
        let mut command = Command::new("nsenter");
        if let Some(user) = &self.user {
            command.args(["--preserve-credentials", &format!("--user={}", place(user))]);
        }
        command.arg(format!("--mount={}", place(&self.mounts))).arg(program);
        command
    }

    /// Fills it with a file, until nothing more fits.
    pub fn fill(&self, file: &Path) {
        let script = "for size in 1M 4k 1; do dd if=/dev/zero bs=$size >> \"$0\" 2>/dev/null; done; \
                      ! echo x >> \"$0\" 2>/dev/null";
        let filled = self.command("sh").args(["-c", script]).arg(file).status().unwrap();
        assert!(filled.success(), "there is still room");
    }
}

/// A program with mounts of its own, which a script makes of a folder.
pub(super) fn with_mounts(script: &str, folder: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", script]).arg(folder).arg(program);
    command
}

pub(super) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}
