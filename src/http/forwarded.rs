//! The base URL under which a client knows this proxy: where links in its answers lead.
//!
//! A configured `server.public_url` wins; then `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Port`, from
//! reverse proxies that are trusted by name only; then the request's own `Host`, and whether it came
//! by TLS.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, Uri, header, request::Parts, uri::Authority};

use super::hosts;
use crate::settings;

/// A request that does not say where it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The Host of this request is missing or can't be one.")]
pub(crate) struct NoHost;

/// The base URL of a request, without a trailing slash.
pub(crate) fn of(
    request: &Parts,
    peer: IpAddr,
    settings: &settings::ServerSettings,
) -> Result<String, NoHost> {
    if !settings.public_url.is_empty() {
        return Ok(settings.public_url.clone());
    }
    let trusted = settings.trusted_proxies.contains(&peer.to_canonical());
    let forwarded = |name: &str| if trusted { first(&request.headers, name) } else { None };
    let host = host(&request.uri, &request.headers, peer, settings)?.ok_or(NoHost)?;
    let scheme = match forwarded("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        None if settings.has_tls() => "https",
        _ => "http",
    };
    let authority: Authority = host.parse().map_err(|_| NoHost)?;
    let default = if scheme == "https" { 443 } else { 80 };
    let port = forwarded("x-forwarded-port").and_then(|port| port.parse::<u16>().ok());
    match port.filter(|port| authority.port().is_none() && *port != default) {
        Some(port) => Ok(format!("{scheme}://{authority}:{port}")),
        None => Ok(format!("{scheme}://{authority}")),
    }
}

/// The address of the client: the other end of the connection or, behind trusted reverse proxies,
/// the last address before them. What stands further to the front the client may have made up.
pub(crate) fn client(headers: &HeaderMap, peer: IpAddr, settings: &settings::ServerSettings) -> IpAddr {
    let trusted = |ip: &IpAddr| settings.trusted_proxies.contains(&ip.to_canonical());
    if !trusted(&peer) {
        return peer;
    }
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
    let hops: Vec<IpAddr> =
        lines.flat_map(|line| line.split(',')).filter_map(|hop| hop.trim().parse().ok()).collect();
    hops.into_iter().rev().find(|hop| !trusted(hop)).unwrap_or(peer)
}

/// The network that an address counts for: whoever has one address of IPv6 has as many as they like (a /64).
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

/// The host that a client has called this proxy by, which is sound; none where it says none.
pub(crate) fn host<'r>(
    uri: &'r Uri,
    headers: &'r HeaderMap,
    peer: IpAddr,
    settings: &settings::ServerSettings,
) -> Result<Option<&'r str>, NoHost> {
    let trusted = settings.trusted_proxies.contains(&peer.to_canonical());
    let forwarded = if trusted { first(headers, "x-forwarded-host") } else { None };
    let host = match forwarded {
        Some(host) => Some(host),
        None => said(uri, headers)?,
    };
    if host.is_some_and(|host| !hosts::is_sound(host)) { Err(NoHost) } else { Ok(host) }
}

/// HTTP/2 says it in the request line, HTTP/1.1 in one `Host` field, unless its request line says it, too (RFC 9112 3.2.2).
fn said<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Result<Option<&'r str>, NoHost> {
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map(Some).map_err(|_| NoHost),
        (None, _) => Ok(None),
        _ => Err(NoHost),
    }
}

fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    let first = value.split(',').next()?.trim();
    (!first.is_empty()).then_some(first)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn base(fields: &[(&str, &str)], settings: &settings::ServerSettings) -> Result<String, NoHost> {
        let mut request = Request::builder().uri("/sessions");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        of(&parts, IpAddr::from([10, 0, 0, 1]), settings)
    }

    #[test]
    fn host_unless_told_otherwise() {
        let mut settings = settings::ServerSettings::default();
        let forwarded =
            [("host", "lab:8040"), ("x-forwarded-host", "alyx.lab"), ("x-forwarded-proto", "https")];
        assert_eq!(base(&forwarded, &settings).unwrap(), "http://lab:8040");
        settings.trusted_proxies = vec![IpAddr::from([10, 0, 0, 1])];
        assert_eq!(base(&forwarded, &settings).unwrap(), "https://alyx.lab");
        let with_port = |host, proto, port| {
            let fields =
                [("x-forwarded-host", host), ("x-forwarded-proto", proto), ("x-forwarded-port", port)];
            base(&fields, &settings).unwrap()
        };
        assert_eq!(with_port("alyx.lab", "https", "8443"), "https://alyx.lab:8443");
        assert_eq!(with_port("alyx.lab", "https", "443"), "https://alyx.lab");
        assert_eq!(with_port("alyx.lab:8040", "http", "80"), "http://alyx.lab:8040", "the host says it");
        assert_eq!(with_port("alyx.lab", "http", "many"), "http://alyx.lab");
        let through = [("host", "lab:8040"), ("x-forwarded-proto", "http")];
        settings.tls_certificate = "certificate.pem".into();
        assert_eq!(base(&through[..1], &settings).unwrap(), "https://lab:8040");
        assert_eq!(base(&through, &settings).unwrap(), "http://lab:8040", "by TLS from the proxy only");
        settings.public_url = "https://public".to_owned();
        assert_eq!(base(&forwarded, &settings).unwrap(), "https://public");
    }

    #[test]
    fn the_last_hop_before_trusted_proxies_is_the_client() {
        let (proxy, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 9]));
        let settings =
            settings::ServerSettings { trusted_proxies: vec![proxy], ..settings::ServerSettings::default() };
        let client = |forwarded: &str, peer| {
            let request = Request::builder().uri("/").header("x-forwarded-for", forwarded);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            client(&parts.headers, peer, &settings).to_string()
        };
        assert_eq!(client("1.1.1.1, 2.2.2.2", proxy), "2.2.2.2");
        assert_eq!(client("2.2.2.2, 10.0.0.1", proxy), "2.2.2.2");
        assert_eq!(client("nobody", proxy), "10.0.0.1");
        assert_eq!(client("2.2.2.2", other), "10.0.0.9");
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        let settings = settings::ServerSettings::default();
        for fields in [
            &[][..],
            &[("host", "")],
            &[("host", "a\"b")],
            &[("host", "a/b")],
            &[("host", "u@h")],
            &[("host", "a'b")],
            &[("host", "a$(id)b")],
            &[("host", "a"), ("host", "b")],
        ] {
            assert_eq!(base(fields, &settings), Err(NoHost), "{fields:?}");
        }
    }
}
