//! Which addresses a description or a redirect of Alyx's may lead to: none that only this machine, or this network, reaches,
//! unless Alyx itself is there. Else a hostile Alyx, or bucket, would look through the proxy into the lab.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// From where an address is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// From everywhere.
    Public,
    /// From the same network.
    Private,
    /// From the same machine.
    Loopback,
    /// No server of files has it: addresses of a link (clouds tell their secrets there), of groups, of nobody.
    Never,
}

impl Reach {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        if address.is_link_local() || address.is_multicast() || first == 0 || first >= 240 {
            Self::Never
        } else if address.is_loopback() {
            Self::Loopback
        } else if address.is_private()
            || (first == 100 && second & 0xC0 == 64)
            || (first == 198 && second & 0xFE == 18)
        {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let segments = address.segments();
        // The same hosts by other names: mapped addresses, and those of translators (RFC 6052).
        let translated = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
        if let Some(address) = address.to_ipv4_mapped() {
            return Self::of_v4(address);
        }
        if translated || segments[0] == 0x2002 {
            let at = if translated { 6 } else { 1 };
            let [a, b] = segments[at].to_be_bytes();
            let [c, d] = segments[at + 1].to_be_bytes();
            return Self::of_v4(Ipv4Addr::new(a, b, c, d));
        }
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_unspecified() || address.is_multicast() || segments[0] & 0xFFC0 == 0xFE80 {
            Self::Never
        } else if segments[0] & 0xFE00 == 0xFC00 || segments[0] & 0xFFC0 == 0xFEC0 {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// Whether it may be asked on the word of an Alyx that is reached from here.
    fn is_open_to(self, alyx: Self) -> bool {
        self == Self::Public || self != Self::Never && self <= alyx && alyx != Self::Never
    }
}

/// Alyx's own place, and whose names are resolved whatever they lead to.
#[derive(Debug)]
pub(super) struct InsideGuard {
    alyx: Host<String>,
    /// Alyx's name, and those of the proxies that the environment names.
    own: HashSet<String>,
}

impl InsideGuard {
    /// For the Alyx at this URL.
    pub(super) fn of(alyx: &Url) -> Self {
        let proxies = ["http_proxy", "https_proxy", "all_proxy"].into_iter().flat_map(|name| {
            [std::env::var(name).ok(), std::env::var(name.to_uppercase()).ok()].into_iter().flatten()
        });
        let proxies = proxies.filter_map(|text| {
            let url = Url::parse(&text).or_else(|_| Url::parse(&format!("http://{text}"))).ok()?;
            url.host_str().map(str::to_ascii_lowercase)
        });
        let host = alyx.host().map_or_else(|| Host::Domain(String::new()), |host| host.to_owned());
        let own = proxies.chain(alyx.host_str().map(str::to_ascii_lowercase)).collect();
        Self { alyx: host, own }
    }

    /// From where Alyx is reached; of several addresses the innermost counts.
    async fn alyx(&self) -> Reach {
        match &self.alyx {
            Host::Ipv4(address) => Reach::of_v4(*address),
            Host::Ipv6(address) => Reach::of_v6(*address),
            Host::Domain(name) => {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await;
                let reach = found.into_iter().flatten().map(|address| Reach::of(address.ip()));
                reach.max().unwrap_or(Reach::Public)
            }
        }
    }

    /// Whether a URL that names an address may be asked. Names are judged when they are resolved.
    pub(super) async fn allows(&self, url: &Url) -> bool {
        let reach = match url.host() {
            Some(Host::Ipv4(address)) => Reach::of_v4(address),
            Some(Host::Ipv6(address)) => Reach::of_v6(address),
            _ => return true,
        };
        reach.is_open_to(self.alyx().await)
    }

    async fn resolved(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
        if self.own.contains(&name.to_ascii_lowercase()) {
            return Ok(found);
        }
        let alyx = self.alyx().await;
        let open: Vec<_> =
            found.into_iter().filter(|address| Reach::of(address.ip()).is_open_to(alyx)).collect();
        if open.is_empty() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "its address is one of the inside"));
        }
        Ok(open)
    }
}

/// Resolves names for a client that follows where Alyx leads.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver(pub(super) std::sync::Arc<InsideGuard>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = guard.resolved(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(address: &str) -> Reach {
        Reach::of(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_known_by_whatever_name() {
        for (address, of) in [
            ("8.8.8.8", Reach::Public),
            ("2001:4860:4860::8888", Reach::Public),
            ("10.1.2.3", Reach::Private),
            ("172.31.0.1", Reach::Private),
            ("192.168.0.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd00::1", Reach::Private),
            ("127.0.0.1", Reach::Loopback),
            ("127.9.9.9", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("64:ff9b::7f00:1", Reach::Loopback),
            ("2002:7f00:1::", Reach::Loopback),
            ("169.254.169.254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("fe80::1", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("::", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("ff02::1", Reach::Never),
            ("255.255.255.255", Reach::Never),
        ] {
            assert_eq!(reach(address), of, "{address}");
        }
    }

    #[tokio::test]
    async fn an_alyx_leads_no_further_inside_than_it_is() {
        for (alyx, place, may) in [
            ("https://8.8.8.8", "https://1.1.1.1/cache.zip", true),
            ("https://8.8.8.8", "https://bucket.example.org/cache.zip", true),
            ("https://8.8.8.8", "http://10.0.0.1/", false),
            ("https://8.8.8.8", "http://127.0.0.1:8399/internal", false),
            ("https://8.8.8.8", "http://[::1]/", false),
            ("https://8.8.8.8", "http://169.254.169.254/", false),
            ("http://10.0.0.5", "http://10.0.0.6/cache.zip", true),
            ("http://10.0.0.5", "http://127.0.0.1/", false),
            ("http://localhost:8000", "http://127.0.0.1:9000/cache.zip", true),
            ("http://127.0.0.1:8000", "http://127.0.0.1:9000/cache.zip", true),
            ("http://127.0.0.1:8000", "http://10.0.0.1/cache.zip", true),
            ("http://127.0.0.1:8000", "http://169.254.169.254/", false),
            ("http://127.0.0.1:8000", "http://0.0.0.0:8399/", false),
        ] {
            let guard = InsideGuard::of(&Url::parse(alyx).unwrap());
            assert_eq!(guard.allows(&Url::parse(place).unwrap()).await, may, "{place} of {alyx}");
        }
        let guard = InsideGuard::of(&Url::parse("https://8.8.8.8").unwrap());
        assert!(guard.resolved("localhost").await.is_err(), "names lead there no more than addresses do");
        let guard = InsideGuard::of(&Url::parse("http://localhost:8000").unwrap());
        assert!(guard.resolved("localhost").await.is_ok());
    }
}
