//! HTTPS by a pair of files: by HTTP/1.1 and HTTP/2, with a certificate that can be exchanged at any time, and
//! never at the cost of those who are served.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use crate::support::{Lab, Proxy, Setup, until, users};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore},
};

/// A certificate of an authority that only the tests trust, in files.
struct Files {
    folder: TempDir,
    authority: (CertificateDer<'static>, rcgen::Issuer<'static, rcgen::KeyPair>),
}

impl Files {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: (certificate, rcgen::Issuer::new(parameters, key)),
        };
        files.renew();
        files
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// A new pair in place of the old one.
    fn renew(&self) -> CertificateDer<'static> {
        self.renew_until(2099)
    }

    /// The same, valid up to the first day of a year.
    fn renew_until(&self, year: i32) -> CertificateDer<'static> {
        let mut parameters = rcgen::CertificateParams::new(vec!["lab-server".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.authority.1).unwrap();
        put(&self.certificate(), &certificate.pem());
        put(&self.key(), &key.serialize_pem());
        private(&self.key(), "600");
        certificate.der().clone()
    }

    fn setup(&self, lab: &Lab) -> Setup {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        Setup::new(&lab.url())
            .set("server.tls_certificate", &text(self.certificate()))
            .set("server.tls_key", &text(self.key()))
            .set("server.hosts", "lab-server")
    }

    /// Shakes hands, and says which certificate was shown.
    async fn connect(&self, proxy: &Proxy, protocol: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let name = ServerName::try_from("lab-server").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        stream
    }

    async fn shown(&self, proxy: &Proxy) -> CertificateDer<'static> {
        let stream = self.connect(proxy, "http/1.1").await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn private(path: &Path, mode: &str) {
    assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
}

fn request(target: &str) -> Request<Empty<Bytes>> {
    Request::get(target)
        .header(header::HOST, "lab-server")
        .header(header::AUTHORIZATION, users::ONEUSER.authorization())
        .body(Empty::new())
        .unwrap()
}

async fn json(response: Response<hyper::body::Incoming>) -> Value {
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn get(stream: TlsStream<TcpStream>) -> Value {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    json(sender.send_request(request("/sessions?limit=2")).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_spoken_by_both_versions_and_links_lead_to_it() {
    let (lab, files) = (Lab::open().await, Files::new());
    let proxy = files.setup(&lab).start().await;
    assert!(proxy.output().contains(&format!("Listening on https://{}", proxy.address())));

    let first = get(files.connect(&proxy, "http/1.1").await).await;
    let next = first["next"].as_str().unwrap();
    assert!(next.starts_with("https://lab-server/sessions?"), "{next}");

    let stream = files.connect(&proxy, "h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request("https://lab-server/sessions?limit=2")).await.unwrap();
    assert_eq!(json(response).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart_and_a_bad_one_is_not() {
    let (lab, files) = (Lab::open().await, Files::new());
    let proxy = files.setup(&lab).start().await;
    let old = files.connect(&proxy, "http/1.1").await;
    let first = old.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();

    let second = files.renew();
    until("the new certificate is shown", async || files.shown(&proxy).await == second).await;
    assert_ne!(first, second);
    get(old).await; // Whoever was connected before goes on.

    let fault = "the certificate in use stays";
    let faults = || proxy.output().matches(fault).count();
    // A renewal may have been seen between its two files.
    let before = faults();
    put(&files.certificate(), "not a certificate\n");
    until("the fault is told", async || faults() > before).await;
    assert!(proxy.output().contains(&files.certificate().display().to_string()));
    assert_eq!(files.shown(&proxy).await, second);

    let (before, strange) = (faults(), rcgen::KeyPair::generate().unwrap().serialize_pem());
    files.renew();
    put(&files.key(), &strange);
    private(&files.key(), "600");
    until("that they don't fit is told", async || faults() > before).await;
    assert!(!proxy.output().contains(strange.lines().nth(1).unwrap()), "a key in the log");
    assert_eq!(files.shown(&proxy).await, second);

    let third = files.renew();
    until("the next good one is shown", async || files.shown(&proxy).await == third).await;
    get(files.connect(&proxy, "http/1.1").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_when_the_certificate_in_use_runs_out() {
    let (lab, files) = (Lab::open().await, Files::new());
    files.renew_until(2035);
    let proxy = files.setup(&lab).start().await;
    let ends = async |at: i64| {
        let stream = files.connect(&proxy, "http/1.1").await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request("/-/metrics")).await.unwrap();
        let said = response.into_body().collect().await.unwrap().to_bytes();
        let said = String::from_utf8(said.to_vec()).unwrap();
        assert!(said.contains("# HELP alyx_proxy_tls_certificate_expiry_timestamp_seconds "));
        said.lines().any(|line| line == format!("alyx_proxy_tls_certificate_expiry_timestamp_seconds {at}"))
    };
    until("the first one's end is shown", async || ends(2_051_222_400).await).await;
    files.renew_until(2036);
    until("the next one's end is shown", async || ends(2_082_758_400).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_shakes_hands_holds_up_nobody() {
    let (lab, files) = (Lab::open().await, Files::new());
    let mut proxy = files.setup(&lab).set("server.shutdown_timeout", "1s").start().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(proxy.address()).await.unwrap());
    }
    // They came first, and wait for nothing.
    get(files.connect(&proxy, "http/1.1").await).await;
    proxy.terminate().await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_know_the_proxy_of_this_machine_by_its_certificate() {
    let (lab, files) = (Lab::open().await, Files::new());
    let proxy = files.setup(&lab).start().await;
    let status = |certificate: &Path| {
        Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .args(["status", "--config", "/dev/null", "--set"])
            .arg(format!("server.tls_certificate={}", certificate.display()))
            .args(["--set", &format!("server.tls_key={}", files.key().display())])
            .args(["--set", &format!("server.listen={}", proxy.address())])
            .output()
            .unwrap()
    };
    let found = status(&files.certificate());
    let text = String::from_utf8_lossy(&found.stdout);
    assert!(found.status.success() && text.contains("listening on"), "{found:?}");

    let other = Files::new();
    let refused = status(&other.certificate());
    assert_eq!(refused.status.code(), Some(3), "another certificate is somebody else's: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_cannot_be_used_is_named_at_the_start() {
    let (lab, files) = (Lab::open().await, Files::new());
    let start = |certificate: &Path, key: &Path| -> Output {
        let data = tempfile::tempdir().unwrap();
        Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .args(["serve", "--config", "/dev/null", "--listen", "127.0.0.1:0", "--upstream", &lab.url()])
            .args(["--data-dir", data.path().to_str().unwrap()])
            .args(["--set", &format!("server.tls_certificate={}", certificate.display())])
            .args(["--set", &format!("server.tls_key={}", key.display())])
            .output()
            .unwrap()
    };
    let refused = |output: Output, status: i32, words: &[&str]| {
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().find(|line| line.starts_with("alyx-proxy: ")).expect("one line says why");
        assert_eq!(output.status.code(), Some(status), "{said}");
        for word in words {
            assert!(line.contains(word), "{word}: {line}");
        }
    };
    let (certificate, key) = (files.certificate(), files.key());
    refused(start(&certificate, Path::new("")), 2, &["server.tls_certificate", "server.tls_key is not"]);
    refused(start(Path::new(""), &key), 2, &["server.tls_key", "server.tls_certificate is not"]);
    refused(start(Path::new("/nowhere.pem"), &key), 1, &["/nowhere.pem", "No such file"]);
    refused(start(&key, &key), 1, &[key.to_str().unwrap(), "no certificate"]);
    private(&certificate, "600");
    refused(start(&certificate, &certificate), 1, &["no private key"]);
    let other = Files::new();
    refused(start(&certificate, &other.key()), 1, &["don't go together"]);
    private(&key, "604");
    refused(start(&certificate, &key), 1, &["may be read by everybody", "chmod o="]);
}
