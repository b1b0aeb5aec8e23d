//! TLS: a certificate for the proxy itself, exchanged while it runs.
//!
//! The pair of files is read again every few seconds, so that whatever renews it needs to tell nobody.
//! A new pair that can't be used is named in the log once, and the one in use stays. Connections that
//! are open go on with the pair they began with. Client certificates are not asked for: who may ask is
//! Alyx's business.

mod pair;
mod pin;
mod remarks;

pub use pair::TlsError;
pub use pin::only;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use crate::{
    clock,
    settings::{ServerSettings, Settings},
};
use pair::KeyPairFiles;
use remarks::CertificateFacts;

/// A client that takes longer to shake hands is sent away.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The certificate in use, and where the next one will be.
#[derive(Debug)]
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    /// What tells the pair that was read first from others.
    first: [u8; 32],
    /// When its certificate runs out.
    first_expires_at: Option<i64>,
    /// What clients look at in the certificate in use.
    facts: ArcSwapOption<CertificateFacts>,
    /// The names by which clients are to know the proxy.
    settings: Arc<ArcSwap<Settings>>,
}

impl Tls {
    /// Reads the pair that the settings name; none where they name none.
    pub(crate) async fn of(settings: Arc<ArcSwap<Settings>>) -> Result<Option<Arc<Self>>, TlsError> {
        let server = settings.load_full().server.clone();
        if !server.has_tls() {
            return Ok(None);
        }
        let (certificate, key) = (server.tls_certificate, server.tls_key);
        let found = read(certificate.clone(), key.clone(), None).await?;
        Ok(found.map(|found| {
            Arc::new(Self {
                certificate,
                key,
                config: ArcSwap::new(found.config),
                first: found.fingerprint,
                first_expires_at: found.expires_at,
                facts: ArcSwapOption::from(found.facts),
                settings,
            })
        }))
    }

    /// Shakes hands with a client, within a limit of time.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await?
    }

    /// What clients will not like of the certificate in use now.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let facts = self.facts.load_full();
        let names = names(&self.settings.load().server);
        facts.map(|facts| facts.remarks(&names, clock::now())).unwrap_or_default()
    }

    /// Tells it in the log where it is other than what was told last: a certificate grows old while it is served.
    fn tell_remarks(&self, told: &mut Vec<String>) {
        let remarks = self.remarks();
        for remark in remarks.iter().filter(|remark| !told.contains(remark)) {
            tracing::warn!(certificate = %self.certificate.display(), "the certificate that is served: {remark}");
        }
        *told = remarks;
    }

    /// Looks after the files for as long as it is let.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut seen = self.first;
        gauge_expiry(self.first_expires_at);
        let mut told_remarks = Vec::new();
        // What was said last, so that a fault that lasts is told once.
        let mut told = None;
        loop {
            self.tell_remarks(&mut told_remarks);
            tokio::time::sleep(LOOK).await;
            let fault = match read(self.certificate.clone(), self.key.clone(), Some(seen)).await {
                Ok(found) => {
                    told = None;
                    if let Some(found) = found {
                        self.config.store(found.config);
                        gauge_expiry(found.expires_at);
                        seen = found.fingerprint;
                        let certificate = self.certificate.display();
                        tracing::info!(%certificate, "a new certificate is in use");
                        self.facts.store(found.facts);
                    }
                    continue;
                }
                Err(error) => error.to_string(),
            };
            if told.as_ref() != Some(&fault) {
                tracing::error!("the certificate in use stays, as the new one can't be used: {fault}");
                told = Some(fault);
            }
        }
    }
}

/// Reads the pair that the settings name, as a start would; what clients will not like of it.
pub fn check(settings: &ServerSettings) -> Result<Vec<String>, TlsError> {
    if !settings.has_tls() {
        return Ok(Vec::new());
    }
    let (certificate, key) = (&settings.tls_certificate, &settings.tls_key);
    let pair = KeyPairFiles::read(certificate, key)?;
    pair.config(certificate, key)?;
    let facts = pair.facts(certificate);
    Ok(facts.map(|facts| facts.remarks(&names(settings), clock::now())).unwrap_or_default())
}

/// The names by which clients are to know this proxy.
fn names(settings: &ServerSettings) -> Vec<String> {
    let public = url::Url::parse(&settings.public_url).ok();
    let public = public.and_then(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    let named = settings.hosts.iter().filter(|name| !name.starts_with("*.")).cloned();
    public.into_iter().chain(named).collect()
}

/// A pair that was read and can be used.
struct Found {
    fingerprint: [u8; 32],
    config: Arc<ServerConfig>,
    /// In seconds since 1970; none where the certificate does not say so legibly.
    expires_at: Option<i64>,
    facts: Option<Arc<CertificateFacts>>,
}

/// Shows in `/-/metrics` when the certificate in use runs out.
#[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 52 bits")]
fn gauge_expiry(at: Option<i64>) {
    // Where it is not known the metric says 1970: a false alarm is better than none.
    let at = at.unwrap_or_default();
    metrics::gauge!("alyx_proxy_tls_certificate_expiry_timestamp_seconds").set(at as f64);
}

/// Reads both files; none if they are those that were `seen`.
async fn read(certificate: PathBuf, key: PathBuf, seen: Option<[u8; 32]>) -> Result<Option<Found>, TlsError> {
    let path = certificate.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let pair = KeyPairFiles::read(&certificate, &key)?;
        let fingerprint = pair.fingerprint();
        if seen == Some(fingerprint) {
            return Ok(None);
        }
        let (expires_at, facts) = (pair.expires_at(&certificate), pair.facts(&certificate).map(Arc::new));
        Ok(Some(Found { fingerprint, config: pair.config(&certificate, &key)?, expires_at, facts }))
    });
    reading.await.unwrap_or_else(|error| Err(TlsError::Io(path, io::Error::other(error))))
}
