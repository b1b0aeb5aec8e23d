//! Whoever is slow to say something, or to take it, is cut off and holds up nobody.

use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slow_to_say_what_they_want_is_cut_off() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    // Nothing; what may become HTTP/2; half a head; a kept connection that says nothing more.
    let whole = format!(
        "GET /labs HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\n\r\n",
        users::ONEUSER.authorization()
    );
    for begun in ["", "P", "PRI * HT", "GET /labs HTTP/1.1\r\nHo", &whole] {
        let start = Instant::now();
        let address = proxy.address();
        let bytes = begun.to_owned();
        let (_, ended) =
            tokio::task::spawn_blocking(move || raw(address, bytes.as_bytes(), TIMEOUT * 4)).await.unwrap();
        assert!(ended, "{begun:?} was waited for for {:?}", start.elapsed());
        assert!(start.elapsed() >= TIMEOUT / 2, "{begun:?}: it has its time");
    }
    proxy.get("/labs").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_writers_hold_no_place_and_do_not_make_alyx_seem_away() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("upstream.concurrency", "2").start().await;
    let address = proxy.address();
    let head = |length: usize| {
        format!(
            "POST /notes HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{",
            users::ONEUSER.authorization()
        )
    };
    // Small bodies that never come, and large ones that come as good as never.
    let slow: Vec<_> = [10, 10, 10, 10, 1 << 20, 1 << 20, 1 << 20, 1 << 20]
        .map(|length| {
            let mut bytes = head(length).into_bytes();
            if length > 1000 {
                bytes.extend(vec![b' '; 70_000]);
            }
            tokio::task::spawn_blocking(move || raw(address, &bytes, Duration::from_secs(12)))
        })
        .into_iter()
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    for n in 0..10 {
        proxy.get(&format!("/subjects/while-{n}")).await.expect(200);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "others go on: {:?}", start.elapsed());
    for slow in slow {
        let (said, ended) = slow.await.unwrap();
        assert!(ended, "it is cut off: {said}");
        assert!(["503", "504", ""].contains(&status(&said)), "{said}");
    }
    assert_eq!(proxy.status().await["upstream"]["state"], "up", "{}", proxy.output());
    assert_eq!(lab.count("/notes"), 0, "nothing of it was taken for a request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_the_proxy_itself_must_be_here_in_time() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    let address = proxy.address();
    let slow = OF_THE_PROXY.map(|(path, kind, what)| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n\r\n{{",
            admin(&proxy)
        );
        let answer = tokio::task::spawn_blocking(move || raw(address, request.as_bytes(), TIMEOUT * 6));
        async move { (path, what, answer.await.unwrap()) }
    });
    for (path, what, (said, ended)) in join_all(slow).await {
        assert!(ended, "{path}: it is cut off");
        assert_eq!(status(&said), "408", "{path}: {said}");
        assert!(said.contains(what) && said.contains("server.client_timeout"), "{path}: {said}");
    }
    assert!(!lab.upstream.asked().iter().any(|asked| asked.method == "POST"), "Alyx saw nothing of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_are_cut_off() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    proxy.get("/cache.zip").await.expect(200);
    let address = proxy.address();
    let request = format!(
        "GET /cache.zip HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\n\r\n",
        users::ONEUSER.authorization()
    );
    let readers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            // Much more than what systems keep for a connection, in one go.
            stream.write_all(request.repeat(200).as_bytes()).unwrap();
            stream
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    proxy.get("/labs").await.expect(200);
    assert!(start.elapsed() < Duration::from_secs(1), "others go on");
    // Whoever takes nothing for longer than they may gets no more than what was on its way.
    tokio::time::sleep(TIMEOUT * 3).await;
    for mut reader in readers {
        let taken = tokio::task::spawn_blocking(move || {
            reader.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let (mut taken, mut buffer) = (0, vec![0; 1 << 20]);
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return Some(taken),
                    Ok(read) => taken += read,
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Some(taken),
                    Err(_) => return None,
                }
            }
        });
        let taken = taken.await.unwrap().expect("it was cut off");
        assert!(taken < 200 * lab::ZIP_LEN, "{taken} bytes");
    }
    let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
    assert!(metrics.text().contains("alyx_proxy_requests_in_flight 0"), "{}", metrics.text());
}

/// In HTTP/2 each answer waits in a window of its own, and the connection's time-out sees nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_opens_a_window_is_cut_off() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    proxy.get("/cache.zip").await.expect(200);
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut answers = Vec::new();
    for target in ["/labs", "/cache.zip", "/sessions"] {
        let request = hyper::Request::get(format!("http://lab{target}"))
            .header("authorization", users::ONEUSER.authorization())
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        answers.push(sender.send_request(request).await.unwrap());
        assert_eq!(answers.last().unwrap().status(), 200, "{target}");
    }
    until("the connection is ended", async || connection.is_finished()).await;
    until("nothing is under way", async || {
        let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
        metrics.text().contains("alyx_proxy_requests_in_flight 0")
    })
    .await;
}

/// What is taken slowly, but taken, comes whole.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_opens_windows_slowly_gets_all() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("server.client_timeout", "3s").start().await;
    let all = proxy.get("/cache.zip").await.expect(200).body;
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("http://lab/cache.zip")
        .header("authorization", users::ONEUSER.authorization())
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let (mut taken, start) = (Vec::new(), Instant::now());
    while let Some(frame) = body.frame().await {
        taken.extend_from_slice(&frame.unwrap().into_data().unwrap());
        // Longer in all than may pass without anything being taken.
        if start.elapsed() < TIMEOUT * 5 {
            tokio::time::sleep(TIMEOUT / 4).await;
        }
    }
    assert_eq!(taken, all);
}
