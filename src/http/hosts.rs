//! By which names a proxy may be called. A page on the web can have a name of its own lead to any address, that of this
//! machine too ("DNS rebinding"), and then read what is given to everybody there. A browser says that name in `Host`.

use std::net::{IpAddr, Ipv6Addr};

use crate::settings::{ServerSettings, value::is_host_name};

/// Where names of this machine besides its own stand.
const HOSTS: &str = "/etc/hosts";

/// Whether a text can be a host, with or without a port: letters, digits, `-`, `.`, and IPv6 in brackets.
pub(crate) fn is_sound(host: &str) -> bool {
    let (name, port) = split(host);
    let port_is_sound = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
    });
    let name_is_sound = match name.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(address) => address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => is_host_name(name),
    };
    port_is_sound && name_is_sound
}

/// A host's name (or address, in its brackets) and its port.
fn split(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// The names of the machine that this runs on.
#[derive(Debug, Default)]
pub(crate) struct MachineNames(Vec<String>);

impl MachineNames {
    /// Its host name, with and without its domain, those that stand beside it in `/etc/hosts`, and its name in the local
    /// network (mDNS, RFC 6762). Reads a file.
    pub(crate) fn read() -> Self {
        Self::of(&host_name(), &std::fs::read_to_string(HOSTS).unwrap_or_default())
    }

    fn of(host_name: &str, hosts: &str) -> Self {
        let host_name = host_name.trim().trim_end_matches('.').to_ascii_lowercase();
        if !is_host_name(&host_name) {
            return Self::default();
        }
        let short = host_name.split('.').next().unwrap_or_default();
        let mut names = vec![format!("{short}.local"), short.to_owned(), host_name.clone()];
        for line in hosts.lines() {
            let line = line.split('#').next().unwrap_or_default().to_ascii_lowercase();
            let beside: Vec<&str> = line.split_whitespace().skip(1).collect();
            if beside.iter().any(|name| *name == host_name || *name == short) {
                names.extend(beside.into_iter().map(str::to_owned));
            }
        }
        Self(names)
    }
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Whether this proxy may be called by a host, which is sound: addresses, which no name leads to; this machine's own
/// names; those that the settings say.
pub(crate) fn is_known(host: &str, machine: &MachineNames, settings: &ServerSettings) -> bool {
    let name = split(host).0.trim_end_matches('.').to_ascii_lowercase();
    if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
        return true;
    }
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let by_pattern = |pattern: &String| match pattern.to_ascii_lowercase().strip_prefix('*') {
        Some(end) => name.len() > end.len() && name.ends_with(end),
        None => name.eq_ignore_ascii_case(pattern.trim_end_matches('.')),
    };
    let of_url = |url: &String| url::Url::parse(url).is_ok_and(|url| url.host_str() == Some(&name));
    is_local
        || machine.0.contains(&name)
        || settings.hosts.iter().any(by_pattern)
        || [&settings.public_url, &settings.alyx_pages_url].into_iter().any(of_url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_few_characters() {
        for host in
            ["lab", "lab:8040", "a-b.c.", "1.2.3.4:80", "[::1]", "[fe80::1]:8040", "LAB:", "xn--bcher-kva.ch"]
        {
            assert!(is_sound(host), "{host}");
        }
        let long = "a".repeat(254);
        for host in [
            "", ":80", "a'b", "a$(id)b", "a b", "a_b", "a/b", "u@h", "a\"b", "ü", "a:b", "a:1:2", "a:99999",
            "[::1", "::1", "[a]", "[::1]x", "[::1]:x", "-a", ".a", "a%20b", "a,b", &long,
        ] {
            assert!(!is_sound(host), "{host}");
        }
    }

    #[test]
    fn it_is_known_by_addresses_the_machines_names_and_the_settings() {
        let machine =
            MachineNames::of("Rig3.lab.example.org", "127.0.1.1 rig3.other rig3 # rig3\n10.0.0.9 else\n");
        let settings = ServerSettings {
            public_url: "https://alyx.lab.example.org/x".to_owned(),
            hosts: vec!["proxy".to_owned(), "*.Svc.cluster.local".to_owned()],
            ..ServerSettings::default()
        };
        for host in [
            "127.0.0.1:8040",
            "[::1]:8040",
            "192.168.1.7",
            "localhost",
            "LocalHost:1",
            "a.localhost",
            "rig3",
            "RIG3:8040",
            "rig3.lab.example.org.",
            "rig3.other",
            "rig3.local",
            "alyx.lab.example.org",
            "proxy:8040",
            "alyx.svc.cluster.local",
        ] {
            assert!(is_known(host, &machine, &settings), "{host}");
        }
        for host in [
            "rebind.evil.example:8321",
            "else",
            "rig4",
            "localhost.evil.example",
            "evil-localhost",
            "svc.cluster.local",
            "xsvc.cluster.local",
            "proxy.evil.example",
            "127.0.0.1.evil.example",
            "0x7f.1",
            "2130706433",
        ] {
            assert!(!is_known(host, &machine, &settings), "{host}");
        }
        assert!(!is_known("", &MachineNames::of("(none)", ""), &ServerSettings::default()));
    }
}
