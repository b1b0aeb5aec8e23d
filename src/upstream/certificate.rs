//! What is wrong with Alyx's certificate, in words: of times the library tells seconds since 1970.

use std::{error::Error, io};

use rustls_pki_types::UnixTime;
use tokio_rustls::rustls::{self, CertificateError};

use crate::clock::{self, Millis};

/// What a failed handshake says of the certificate's times; none where it is about something else.
pub(super) fn times(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(said) = of(cause) {
            return Some(said);
        }
        next = cause.source();
    }
    None
}

/// An error of TLS comes wrapped in errors of I/O, which don't name it as their source.
fn of(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return of(inner);
    }
    let day =
        |at: UnixTime| clock::for_people(Millis::try_from(at.as_secs()).map_or(Millis::MAX, |at| at * 1000));
    match error.downcast_ref()? {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(format!("its certificate expired on {}", day(*not_after)))
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, time }) => {
            let (from, now) = (day(*not_before), day(*time));
            Some(format!("its certificate is valid from {from} on, and the clock here says {now}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_of_certificates_are_told_in_words() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let told = |wrong| {
            let inner = io::Error::other(rustls::Error::InvalidCertificate(wrong));
            times(&io::Error::other(inner))
        };
        let expired =
            CertificateError::ExpiredContext { time: at(1_800_000_000), not_after: at(1_700_000_000) };
        assert_eq!(told(expired).unwrap(), "its certificate expired on 2023-11-14 22:13 UTC");
        let early = CertificateError::NotValidYetContext { time: at(0), not_before: at(1_700_000_000) };
        assert_eq!(
            told(early).unwrap(),
            "its certificate is valid from 2023-11-14 22:13 UTC on, and the clock here says 1970-01-01 00:00 UTC"
        );
        assert_eq!(told(CertificateError::UnknownIssuer), None);
    }
}
