//! What is to be said of a certificate that is served: clients will refuse one that is out of date or of another name, and
//! whoever runs the proxy learns of it here first.

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use crate::clock::{self, Millis};

/// It is told beforehand.
const SOON: Millis = 14 * 24 * 3_600_000;

/// What clients look at in a certificate: when it counts, and for whom.
#[derive(Debug)]
pub(super) struct CertificateFacts {
    from: Millis,
    until: Millis,
    names: Vec<String>,
}

impl CertificateFacts {
    /// Those of the first certificate of a chain; none where it can't be read.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
        Some(Self {
            from: from.timestamp().saturating_mul(1000),
            until: until.timestamp().saturating_mul(1000),
            names: names_of(&certificate),
        })
    }

    /// What clients by these names will not like of it.
    pub(super) fn remarks(&self, names: &[String], now: Millis) -> Vec<String> {
        let mut remarks = Vec::new();
        let (from, until) = (clock::for_people(self.from), clock::for_people(self.until));
        if self.until <= now {
            remarks.push(format!("it expired on {until}: clients refuse it"));
        } else if self.until - now <= SOON {
            remarks.push(format!("it expires on {until}: renew it"));
        }
        if self.from > now {
            remarks.push(format!("it is valid from {from} on: clients refuse it until then"));
        }
        let own = &self.names;
        let missing: Vec<&str> = names
            .iter()
            .filter(|name| !own.iter().any(|own| covers(own, name)))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            let own = if own.is_empty() { "no name".to_owned() } else { own.join(", ") };
            remarks.push(format!(
                "it is for {own}, and not for {}, as the settings call this proxy: clients refuse it by that name",
                missing.join(", ")
            ));
        }
        remarks
    }
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let ip = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let ip = ip.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
            ip.ok().map(|ip| ip.to_string())
        }
        _ => None,
    };
    names.map(|names| names.value.general_names.iter().filter_map(name).collect()).unwrap_or_default()
}

fn covers(own: &str, name: &str) -> bool {
    let (own, name) = (own.to_lowercase(), name.to_lowercase());
    let beyond = |parent: &str| name.split_once('.').is_some_and(|(_, rest)| rest == parent);
    own == name || own.strip_prefix("*.").is_some_and(beyond)
}
