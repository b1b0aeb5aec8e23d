//! The program's commands, run to their end.

use std::process::{Command, Output, Stdio};

use super::Proxy;

/// Runs `alyx-proxy` with these arguments, with no settings but those.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ALYX_PROXY_")) {
        command.env_remove(name);
    }
    command.args(arguments).env("ALYX_PROXY_CONFIG", "/dev/null").stdin(Stdio::null()).output().unwrap()
}

/// The same for a proxy that is running, by whoever may control it.
pub fn run_for(proxy: &Proxy, arguments: &[&str]) -> Output {
    let (url, data_dir) = (proxy.url(), proxy.data_dir());
    run(&[arguments, &["--url", &url, "--data-dir", data_dir.to_str().unwrap()]].concat())
}

/// What it printed, if it ended well.
pub fn done(output: &Output) -> String {
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}{failed}", output.status);
    said.into_owned()
}

/// What it says of why it failed, if it ended with this status.
pub fn failed(output: &Output, status: i32) -> String {
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}{failed}");
    failed.into_owned()
}
