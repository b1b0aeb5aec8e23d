//! For commands that ask the proxy on this machine: it is the one that holds the key to the
//! certificate in the settings' own file, whatever name or authority that certificate has.
//!
//! The certificate itself is compared, so neither its issuer nor its name has to be known here; that
//! the other side holds the key is proved by the handshake as always.

use std::{fs, path::Path, sync::Arc};

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider},
};

use super::pair::{TlsError, chain};

/// How to shake hands with whoever holds the key to the certificate in this file, and nobody else.
pub fn only(certificate: &Path) -> Result<ClientConfig, TlsError> {
    let text = fs::read(certificate).map_err(|error| TlsError::Io(certificate.to_owned(), error))?;
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let expected = chain(certificate, &text)?.swap_remove(0);
    let verifier = Arc::new(Only { expected, provider: provider.clone() });
    let unfit = |reason| TlsError::Unfit { certificate: certificate.into(), key: certificate.into(), reason };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

#[derive(Debug)]
struct Only {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
