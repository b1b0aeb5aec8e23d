//! The program in the surroundings that a test wants: its disk, its clock, its number of files.

use super::*;
use crate::support::disk::with_mounts;

impl Setup {
    /// The program, on the disk and with the clock that it shall have.
    pub(super) fn program(&self) -> Command {
        const PROGRAM: &str = env!("CARGO_BIN_EXE_alyx-proxy");
        let mut command = match (self.disk, &self.kept) {
            (_, Some(disk)) => disk.command(PROGRAM),
            (None, None) if self.read_only => {
                // Those that are mounts of their own as well.
                let mount = "mount --bind \"$0\" \"$0\" && for place in / /tmp /var/tmp; do \
                             ! mountpoint -q $place || mount -o remount,bind,ro $place || exit; done && cd / && exec \"$@\"";
                with_mounts(mount, self.home.path(), PROGRAM)
            }
            (None, None) => match self.files {
                None => Command::new(PROGRAM),
                Some(most) => {
                    let mut command = Command::new("prlimit");
                    command.arg(format!("--nofile={most}:{most}")).arg(PROGRAM);
                    command
                }
            },
            (Some(size), None) => {
                let mount = format!("mount -t tmpfs -o mode=0700,size={size} none \"$0\" && exec \"$@\"");
                with_mounts(&mount, &self.data_dir(), PROGRAM)
            }
        };
        if self.clock {
            command
                .env("LD_PRELOAD", faketime())
                .env("FAKETIME_TIMESTAMP_FILE", self.home.path().join("clock"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
    }
}

/// What sets a program's clock.
fn faketime() -> PathBuf {
    let library = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(library);
    folders.into_iter().find(|file| file.exists()).expect("libfaketime; sudo apt install faketime")
}
