//! A real nginx as the data server: what comes through the proxy is what it gives.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{ALICE, BLOCK, BOB, alice, bytes, setup, until_kept};
use crate::support::{Client, until};

/// A running nginx with files in three folders: `public` for everybody, `lab` for alice and bob, `alice` for her alone.
pub(super) struct Nginx {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

const CONFIGURATION: &str = "
daemon off; master_process off; worker_processes 1; pid FOLDER/pid; error_log FOLDER/error.log;
events { worker_connections 256; }
http {
  default_type application/octet-stream;
  log_format plain '$request_method $status $request_uri';
  access_log FOLDER/access.log plain;
  client_body_temp_path FOLDER/tmp1; proxy_temp_path FOLDER/tmp2; fastcgi_temp_path FOLDER/tmp3;
  uwsgi_temp_path FOLDER/tmp4; scgi_temp_path FOLDER/tmp5;
  server {
    listen ADDRESS;
    root FOLDER/www;
    autoindex on;
    auth_basic data;
    auth_basic_user_file FOLDER/everybody;
    location /public/ { auth_basic off; }
    location /alice/ { auth_basic_user_file FOLDER/alice; }
  }
}
";

impl Nginx {
    pub(super) async fn start() -> Self {
        let folder = TempDir::with_prefix("alyx-proxy-nginx-").unwrap();
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for place in ["public/deep", "lab/Subjects", "alice"] {
            fs::create_dir_all(folder.path().join("www").join(place)).unwrap();
        }
        let (alice, bob) = ("alice:{PLAIN}wonder-land-1\n", "bob:{PLAIN}build-er-2\n");
        fs::write(folder.path().join("everybody"), [alice, bob].concat()).unwrap();
        fs::write(folder.path().join("alice"), alice).unwrap();
        let configuration = CONFIGURATION
            .replace("FOLDER", folder.path().to_str().unwrap())
            .replace("ADDRESS", &address.to_string());
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .args(["-c", file.to_str().unwrap(), "-p", folder.path().to_str().unwrap()])
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .expect("nginx: ./check --install installs it");
        let nginx = Self { folder, address, child };
        until("nginx listens", async || tokio::net::TcpStream::connect(address).await.is_ok()).await;
        nginx
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn put(&self, path: &str, bytes: &[u8]) {
        let place = self.folder.path().join("www").join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }

    /// Takes bob's right to `lab`; nginx reads who is who with each request.
    pub(super) fn let_in_only_alice(&self) {
        fs::copy(self.folder.path().join("alice"), self.folder.path().join("everybody")).unwrap();
    }

    /// What it was asked: method, status, path.
    pub(super) fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// A client of its own.
    pub(super) fn client(&self) -> Client {
        Client::new(self.address)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn every_read_is_answered_as_nginx_answers_it() {
    let nginx = Nginx::start().await;
    let file = bytes(2 * BLOCK + 12_345, 1);
    let path = "/lab/Subjects/spikes%20%23a.npy";
    nginx.put("/lab/Subjects/spikes #a.npy", &file);
    let proxy = setup(&nginx.url()).start().await;
    let direct = nginx.client().with_authorization(ALICE);
    let tag = direct.get(path).await.expect(200).header("etag").unwrap().to_owned();
    let date = direct.get(path).await.header("last-modified").unwrap().to_owned();
    let (whole, last) = (file.len(), file.len() - 1);
    let reads: Vec<Vec<(&str, String)>> = vec![
        vec![],
        vec![("range", "bytes=0-0".into())],
        vec![("range", "bytes=100-".into())],
        vec![("range", "bytes=-100".into())],
        vec![("range", format!("bytes={last}-{last}"))],
        vec![("range", format!("bytes=0-{}", 2 * whole))],
        vec![("range", format!("bytes={whole}-"))],
        vec![("range", format!("bytes={}-{}", BLOCK - 5, BLOCK + 5))],
        vec![("range", format!("bytes={}-{}", BLOCK, 2 * BLOCK - 1))],
        vec![("range", "lines=1-2".into())],
        vec![("range", "bytes=0-9".into()), ("if-range", tag.clone())],
        vec![("range", "bytes=0-9".into()), ("if-range", date.clone())],
        vec![("range", "bytes=0-9".into()), ("if-range", "\"other\"".into())],
        vec![("if-none-match", tag.clone())],
        vec![("if-none-match", "\"other\"".into())],
        vec![("if-modified-since", date.clone())],
        vec![("if-match", tag)],
        vec![("if-match", "\"other\"".into())],
        vec![("if-unmodified-since", date)],
        vec![("if-unmodified-since", "Thu, 18 Aug 2011 02:01:18 GMT".into())],
    ];
    for method in ["GET", "HEAD"] {
        for read in &reads {
            let ask = |client: &Client, target: &str| {
                let ask = client.ask(method, target);
                read.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send()
            };
            let (theirs, ours) =
                (ask(&direct, path).await, ask(&alice(&proxy), &format!("/-/data{path}")).await);
            let what = format!("{method} {read:?}: {:?}", ours.headers);
            // nginx heeds ranges in HEAD, which the standard gives to GET alone (RFC 9110 14.2).
            if method == "HEAD" && theirs.status != 304 && theirs.status != 412 {
                assert_eq!(
                    (ours.status.as_u16(), ours.header("content-length")),
                    (200, Some(&*whole.to_string())),
                    "{what}"
                );
                continue;
            }
            assert_eq!(ours.status, theirs.status, "{what}");
            for name in ["etag", "last-modified", "content-range"] {
                if theirs.status.is_success() || name == "content-range" {
                    assert_eq!(ours.header(name), theirs.header(name), "{name} of {what}");
                }
            }
            if theirs.status.is_success() {
                assert!(ours.body == theirs.body, "{what}");
                assert_eq!(ours.header("content-length"), theirs.header("content-length"), "{what}");
                assert_eq!(ours.header("content-type"), theirs.header("content-type"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_second_client_costs_nginx_no_bytes() {
    let nginx = Nginx::start().await;
    let file = bytes(2 * BLOCK + 1, 2);
    nginx.put("/lab/a.npy", &file);
    let proxy = setup(&nginx.url()).start().await;
    assert!(alice(&proxy).get("/-/data/lab/a.npy").await.expect(200).body == file);
    until_kept(&proxy, 3).await;
    let before = nginx.asked().len();
    let other = proxy.client().with_authorization(BOB);
    assert!(other.get("/-/data/lab/a.npy").await.expect(200).body == file);
    assert_eq!(nginx.asked()[before..], ["HEAD 200 /lab/a.npy"]);
}

#[tokio::test]
async fn listings_and_redirects_are_passed_on() {
    let nginx = Nginx::start().await;
    nginx.put("/public/a.txt", b"hello");
    let proxy = setup(&nginx.url()).start().await;
    let client = proxy.client().anonymous();
    let listing = client.get("/-/data/public/").await.expect(200);
    assert!(listing.text().contains("href=\"a.txt\""));
    assert_eq!(listing.cache().get("detail"), Some("not-kept"));
    assert_eq!(listing.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    let redirect = client.get("/-/data/public/deep").await.expect(301);
    assert_eq!(redirect.header("location"), Some(&*format!("{}/-/data/public/deep/", proxy.url())));
    client.get("/-/data/public/none").await.expect(404);
    assert_eq!(client.get("/-/data/public/a.txt").await.expect(200).text(), "hello");
}
