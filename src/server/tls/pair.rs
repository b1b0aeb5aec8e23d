//! A certificate and its key, read from two PEM files and checked against each other.
//!
//! Whether the certificate is out of date, or fits the name that clients use, is theirs to judge:
//! a laboratory's own authority is as welcome as a public one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use tokio_rustls::rustls::{self, ServerConfig, crypto};
use zeroize::Zeroizing;

use super::remarks::CertificateFacts;

/// Why a pair can't be used. Names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is another user's.
    #[error("{0} can't be read by the user who runs the proxy (uid {1}): `chown {1} {0}`")]
    Denied(PathBuf, u32),
    /// Everybody on this machine could read the key.
    #[error("{0} holds a private key and may be read by everybody (mode {1:04o}): `chmod o= {0}`")]
    Open(PathBuf, u32),
    /// Not what PEM looks like, or of another kind.
    #[error("{0}: no {1} in PEM form: {2}")]
    Pem(PathBuf, &'static str, pem::Error),
    /// There is no certificate in the file.
    #[error("{0}: no certificate in PEM form")]
    Empty(PathBuf),
    /// The key is not the certificate's, or of a kind that is not known.
    #[error("{certificate} and {key} don't go together: {reason}")]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library says.
        reason: rustls::Error,
    },
}

impl TlsError {
    fn of(path: &Path, error: io::Error) -> Self {
        #[cfg(unix)]
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Self::Denied(path.to_owned(), rustix::process::geteuid().as_raw());
        }
        Self::Io(path.to_owned(), error)
    }
}

/// Two files, as they were read.
pub(super) struct KeyPairFiles {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl KeyPairFiles {
    /// Reads both files.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| fs::read(path).map_err(|error| TlsError::of(path, error));
        let pair = Self { certificate: read(certificate)?, key: Zeroizing::new(read(key)?) };
        not_for_everybody(key)?;
        Ok(pair)
    }

    /// By what a change is noticed, whatever way the files were exchanged.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.certificate.len() as u64).to_le_bytes());
        hasher.update(&self.certificate).update(&self.key);
        *hasher.finalize().as_bytes()
    }

    /// When the first certificate of the chain runs out, in seconds since 1970; none where that can't be read.
    pub(super) fn expires_at(&self, certificate: &Path) -> Option<i64> {
        let chain = chain(certificate, &self.certificate).ok()?;
        let ends = |certificate: &CertificateDer<'_>| {
            let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
            Some(certificate.validity().not_after.timestamp())
        };
        chain.iter().filter_map(ends).min()
    }

    /// What clients look at in its certificate.
    pub(super) fn facts(&self, certificate: &Path) -> Option<CertificateFacts> {
        CertificateFacts::of(&chain(certificate, &self.certificate).ok()?)
    }

    /// How to shake hands with this pair; the names of the files are for messages.
    pub(super) fn config(&self, certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = chain(certificate, &self.certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| TlsError::Pem(key.to_owned(), "private key", error))?;
        let unfit = |reason| TlsError::Unfit { certificate: certificate.into(), key: key.into(), reason };
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The certificates in the text of a PEM file, the server's own first.
pub(super) fn chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem(path.to_owned(), "certificate", error))?;
    if chain.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(chain) }
}

/// A group may read a key (Debian's `ssl-cert` does); everybody may not.
#[cfg(unix)]
fn not_for_everybody(key: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(key).map_err(|error| TlsError::Io(key.to_owned(), error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode.trailing_zeros() >= 3 { Ok(()) } else { Err(TlsError::Open(key.to_owned(), mode)) }
}

/// Other systems have other means.
#[cfg(not(unix))]
fn not_for_everybody(_: &Path) -> Result<(), TlsError> {
    Ok(())
}
