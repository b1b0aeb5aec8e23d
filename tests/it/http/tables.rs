//! ONE's cache tables: `cache.zip` in one piece and in ranges (RFC 9110 14), and where `cache/info` says it is.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    etag, get, open, open_with,
    support::{Asked, Fault, Reply, Setup, Upstream, lab, until, users},
};

#[tokio::test(flavor = "multi_thread")]
async fn cache_zip_is_kept_and_served_in_pieces() {
    const ZIP: &str = "/cache.zip";
    let (lab, proxy) = open().await;
    let zip = lab::zip(1);
    let len = zip.len();
    let whole = proxy.get(ZIP).await.expect(200);
    assert_eq!(whole.body, zip);
    // ONE refuses a download without it (ALYX.md 9.2).
    assert_eq!(whole.header("content-length"), Some(len.to_string().as_str()));
    assert_eq!(whole.header("content-type"), Some("application/zip"));
    assert_eq!(whole.header("content-disposition"), Some("inline; filename=\"cache.zip\""));
    let tag = etag(&whole);
    until("it is stored", async || proxy.get(ZIP).await.cache().hit()).await;
    let before = lab.count(ZIP);

    let last = len - 1;
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=99990-", 99_990, last),
        ("bytes=-5", len - 5, last),
        ("bytes=0-999999999", 0, last),
    ] {
        let answer = get(&proxy, ZIP, &[("range", range)]).await.expect(206);
        assert_eq!(answer.body, zip[from..=to], "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes {from}-{to}/{len}").as_str()),
            "{range}"
        );
        assert_eq!(answer.header("content-length"), Some((to - from + 1).to_string().as_str()), "{range}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{range}");
        assert_eq!(answer.header("content-encoding"), None, "{range}");
    }
    for range in ["bytes=100000-", "bytes=200000-300000", "bytes=-0"] {
        let answer = get(&proxy, ZIP, &[("range", range)]).await.expect(416);
        assert_eq!(answer.header("content-range"), Some(format!("bytes */{len}").as_str()), "{range}");
    }
    // What is no range of bytes is ignored (RFC 9110 14.2).
    for range in ["lines=1-2", "bytes=b-c", "bytes=5-3"] {
        assert_eq!(get(&proxy, ZIP, &[("range", range)]).await.expect(200).body, zip, "{range}");
    }
    for (if_range, status) in [(tag.as_str(), 206), ("\"another\"", 200), (&format!("W/{tag}"), 200)] {
        let answer = get(&proxy, ZIP, &[("range", "bytes=0-9"), ("if-range", if_range)]).await;
        assert_eq!(answer.status, status, "If-Range: {if_range}: {}", answer.describe());
    }
    get(&proxy, ZIP, &[("if-none-match", &tag)]).await.expect(304);
    let head = proxy.client().ask("HEAD", ZIP).send().await.expect(200);
    assert_eq!(head.header("content-length"), Some(len.to_string().as_str()));
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
    assert_eq!(lab.count(ZIP), before);

    lab.upstream.cut().await;
    let proxy = proxy.restart().await;
    assert_eq!(get(&proxy, ZIP, &[("range", "bytes=500-599")]).await.expect(206).body, zip[500..600]);
    assert_eq!(proxy.get(ZIP).await.expect(200).body, zip);
    proxy.client().anonymous().get(ZIP).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cache_zip_replaces_the_old_one_whole() {
    const ZIP: &str = "/cache.zip";
    let (lab, proxy) = open_with(&[("cache.stale_while_revalidate", "0s")]).await;
    let old = proxy.get(ZIP).await.expect(200);
    until("it is stored", async || proxy.get(ZIP).await.cache().hit()).await;
    lab.renew();
    let new = get(&proxy, ZIP, &[("cache-control", "no-cache")]).await.expect(200);
    assert_eq!(new.body, lab::zip(2));
    assert_ne!(etag(&new), etag(&old));
    // A download of the old one that goes on must not be continued with the new one.
    let etag = etag(&old);
    let rest = get(&proxy, ZIP, &[("range", "bytes=50000-"), ("if-range", &etag)]).await.expect(200);
    assert_eq!(rest.body, lab::zip(2));
    // One that breaks off replaces nothing.
    lab.renew();
    lab.upstream.break_down(Fault::Truncated).await;
    let _ = proxy.client().ask("GET", ZIP).header("cache-control", "no-cache").try_send().await;
    lab.upstream.cut().await;
    assert_eq!(proxy.get(ZIP).await.expect(200).body, lab::zip(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_how_fresh_a_cache_zip_must_be() {
    const ZIP: &str = "/cache.zip";
    for (lifetime, wish, asked) in [
        ("1h", "max-age=600", false),
        ("1h", "min-fresh=600", false),
        ("1h", "min-fresh=86400", true),
        ("1ms", "max-age=600", true),
        ("1ms", "max-stale", false),
        ("1ms", "max-stale=600", false),
    ] {
        let (lab, proxy) = open_with(&[("freshness.tables", lifetime)]).await;
        proxy.get(ZIP).await.expect(200);
        let kept = async || get(&proxy, ZIP, &[("cache-control", "max-stale")]).await.cache().hit();
        until("it is stored", kept).await;
        let before = lab.count(ZIP);
        get(&proxy, ZIP, &[("cache-control", wish)]).await.expect(200);
        assert_eq!(lab.count(ZIP) > before, asked, "{lifetime}, {wish}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whole_zip_replaces_none() {
    const ZIP: &str = "/cache.zip";
    let good = lab::zip(1);
    let tables = |kind: &str, bytes: &[u8]| Reply::new(200, kind, bytes.to_vec());
    let zip = "application/zip";
    let served = Arc::new(Mutex::new(tables(zip, &good)));
    let serving = served.clone();
    let upstream = Upstream::start(Arc::new(move |asked: &Asked| match asked.path().as_str() {
        ZIP => serving.lock().unwrap().clone(),
        _ => Reply::new(200, "application/json", "{}"),
    }))
    .await;
    let proxy = Setup::new(&upstream.url()).start().await;
    assert_eq!(proxy.get(ZIP).await.expect(200).body, good);
    let anew = async || proxy.client().ask("GET", ZIP).header("cache-control", "no-cache").try_send().await;
    // What shows at once is not given: what is kept stands in for it.
    for broken in [
        tables(zip, b""),
        tables("text/plain", b"Service temporarily overloaded"),
        tables("application/json", b"{\"detail\": \"busy\"}"),
        Reply::new(500, "application/json", "{}"),
    ] {
        *served.lock().unwrap() = broken.clone();
        let answer = anew().await.unwrap().expect(200);
        assert_eq!(answer.body, good, "{broken:?}");
        assert!(answer.cache().hit(), "{}", answer.cache().text);
    }
    // What shows only at the end does not come whole.
    for broken in [&good[..good.len() / 2], &good[..good.len() - 1], &[&good[..], b"more"].concat()] {
        *served.lock().unwrap() = tables(zip, broken);
        let answer = anew().await;
        assert!(answer.is_err(), "{} bytes: {answer:?}", broken.len());
    }
    upstream.cut().await;
    assert_eq!(proxy.get(ZIP).await.expect(200).body, good);
    let proxy = proxy.restart().await;
    assert_eq!(proxy.get(ZIP).await.expect(200).body, good);

    // Where nothing is kept, there is nothing to give.
    upstream.restore().await;
    let proxy = Setup::new(&upstream.url()).start().await;
    for none in [tables(zip, b""), tables("text/plain", b"Service temporarily overloaded")] {
        *served.lock().unwrap() = none;
        let answer = proxy.get(ZIP).await.expect(504);
        assert!(answer.text().contains("no zip"), "{}", answer.describe());
    }
    *served.lock().unwrap() = tables(zip, &good);
    assert_eq!(proxy.get(ZIP).await.expect(200).body, good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_alyx_asks_for_holds_for_its_tables_too() {
    const ZIP: &str = "/cache.zip";
    for kept in [true, false] {
        let (lab, proxy) = open().await;
        proxy.get("/labs").await.expect(200);
        if kept {
            proxy.get(ZIP).await.expect(200);
        }
        lab.throttle(Some(3_000));
        lab.upstream.forget();
        for _ in 0..3 {
            let answer = get(&proxy, ZIP, &[("cache-control", "no-cache")]).await;
            if kept {
                assert_eq!(answer.clone().expect(200).body, lab::zip(1), "what is kept stands in");
                assert!(answer.cache().hit(), "{}", answer.cache().text);
            } else {
                let pause: u64 = answer.clone().expect(429).header("retry-after").unwrap().parse().unwrap();
                assert!(pause > 2_000 && pause <= 3_000, "{}", answer.describe());
            }
        }
        assert_eq!(lab.count(ZIP), 1, "it was asked once, and not during the pause");
    }
}

/// Tables that never end come first, then good ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_without_end_ends_with_its_reader() {
    const ZIP: &str = "/cache.zip";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let end = ended.clone();
    let serve = move |stream: TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut line, mut target) = (String::new(), None);
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            target.get_or_insert_with(|| line.split(' ').nth(1).unwrap_or_default().to_owned());
            line.clear();
        }
        let (kind, body) = match target.as_deref() {
            Some(ZIP) => ("application/zip", lab::zip(1)),
            _ => ("application/json", "{}".into()),
        };
        let endless = target.as_deref() == Some(ZIP) && !begun.swap(true, Ordering::SeqCst);
        let stream = reader.get_mut();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n")?;
        stream.write_all(&body)?;
        if endless {
            loop {
                if let Err(error) = stream.write_all(&body) {
                    end.store(true, Ordering::SeqCst);
                    return Err(error);
                }
            }
        }
        Ok(())
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            // An error is a connection that its other end has closed.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    let proxy = Setup::new(&format!("http://{address}")).set("cache.max_file", "1 MiB").start().await;
    let mut reader = TcpStream::connect(proxy.address()).unwrap();
    let authorization = users::ONEUSER.authorization();
    write!(reader, "GET {ZIP} HTTP/1.1\r\nHost: lab\r\nAuthorization: {authorization}\r\n\r\n").unwrap();
    // More than is kept: what is no longer written down still comes.
    reader.read_exact(&mut vec![0; 4 << 20]).unwrap();
    // Meanwhile others have the tables kept.
    until("the tables are kept", async || {
        let answer = proxy.get(ZIP).await.expect(200);
        assert_eq!(answer.body, lab::zip(1));
        answer.cache().hit()
    })
    .await;
    assert!(!ended.load(Ordering::SeqCst), "it is still read");
    drop(reader);
    until("nobody reads on", async || ended.load(Ordering::SeqCst)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_location_of_the_cache_tables_is_this_proxy() {
    let (lab, proxy) = open().await;
    for offline in [false, true] {
        if offline {
            lab.upstream.cut().await;
        }
        let info = proxy.get("/cache/info/").await.expect(200).json();
        assert_eq!(info["location"], format!("{}/cache.zip", proxy.url()), "offline: {offline}");
        // ONE asks without the slash, and follows.
        let moved = proxy.get("/cache/info").await.expect(301);
        let to = moved.header("location").unwrap();
        assert!(to == "/cache/info/" || to == format!("{}/cache/info/", proxy.url()), "{to}");
    }
}
