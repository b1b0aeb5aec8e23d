//! What is passed on, and what is not: responses that there is no room for, requests that end here.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{ask, get, open, origin, path_of_next};
use crate::support::{Setup, raw, until};

/// More than room is left for at once are asked for: those beyond it come as the origin sends them.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_passed_on_as_it_comes() {
    const LENGTH: usize = 512 << 10;
    const REQUESTS: usize = 12;
    // Twice the memory is four bodies.
    const ROOM: usize = 4;
    for field in [&format!("Content-Length: {LENGTH}"), "Connection: close"] {
        let open = Arc::new(AtomicBool::new(false));
        let gate = open.clone();
        let length = field.to_owned();
        let address = origin(move |mut reader| {
            while path_of_next(&mut reader)?.is_some() {
                let stream = reader.get_mut();
                write!(stream, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{length}\r\n\r\n")?;
                stream.write_all(&vec![b'x'; LENGTH - 1])?;
                while !gate.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                stream.write_all(b"Z")?;
                if length.starts_with("Connection") {
                    break;
                }
            }
            Ok(())
        });
        let setup = Setup::new(&format!("http://{address}")).set("cache.profile", "rfc9111");
        let proxy = setup.set("storage.max_memory", "1 MiB").start().await;
        let begun = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let (address, begun) = (proxy.address(), begun.clone());
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream
                        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                        .await
                        .unwrap();
                    let mut said = vec![0];
                    stream.read_exact(&mut said).await.unwrap();
                    begun.fetch_add(1, Ordering::SeqCst);
                    stream.read_to_end(&mut said).await.unwrap();
                    said
                })
            })
            .collect();
        let beyond = async || begun.load(Ordering::SeqCst) >= REQUESTS - ROOM;
        until("those beyond the room are passed on", beyond).await;
        assert!(begun.load(Ordering::SeqCst) < REQUESTS, "{field}: some are read whole first");
        open.store(true, Ordering::SeqCst);
        for reader in readers {
            let said = reader.await.unwrap();
            let count = said.split(|byte| *byte == b'x').count() - 1;
            assert!(count >= LENGTH - 1 && said.contains(&b'Z'), "{field}: {} bytes", said.len());
        }
        // Their room is free again.
        until("it is stored", async || get(&proxy, "/", &[]).await.expect(200).cache().hit()).await;
        for number in 0..3 * ROOM {
            let target = format!("/{number}");
            get(&proxy, &target, &[]).await.expect(200);
            until("what comes later is stored", async || get(&proxy, &target, &[]).await.cache().hit()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_that_nobody_asked_for_is_no_answer() {
    let address = origin(|mut reader| {
        while path_of_next(&mut reader)?.is_some() {
            let switched =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n";
            reader.get_mut().write_all(switched.as_bytes())?;
        }
        Ok(())
    });
    let proxy = Setup::new(&format!("http://{address}")).set("cache.profile", "rfc9111").start().await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: other\r\n\r\n";
    let said = raw(proxy.address(), request.as_bytes());
    assert!(said.starts_with("HTTP/1.1 502 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_as_far_as_it_may() {
    let (upstream, proxy) = open().await;
    let secret = ("cookie", "secret");
    for method in ["TRACE", "OPTIONS"] {
        let last = ask(&proxy, method, "/here?a=b", &[("max-forwards", "0"), secret]).await.expect(200);
        assert!(upstream.asked().is_empty(), "{method} ends here");
        if method == "TRACE" {
            assert_eq!(last.header("content-type"), Some("message/http"));
            assert!(last.text().starts_with("TRACE /here?a=b HTTP/1.1\r\n"), "{}", last.text());
            assert!(last.text().contains("\r\nmax-forwards: 0\r\n"), "{}", last.text());
            assert!(!last.text().contains("secret"), "{}", last.text());
        }
        for (sent, arrives) in [("3", "2"), ("1", "0"), ("x", "x")] {
            ask(&proxy, method, "/there", &[("max-forwards", sent)]).await.expect(200);
            assert_eq!(upstream.asked()[0].header("max-forwards"), Some(arrives), "{method}");
            upstream.forget();
        }
    }
    // It means nothing for others.
    get(&proxy, "/there", &[("max-forwards", "0")]).await.expect(200);
    assert_eq!(upstream.asked()[0].header("max-forwards"), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_path_is_no_part_of_the_origins_address() {
    let (upstream, proxy) = open().await;
    let said = raw(proxy.address(), b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    assert!(upstream.asked().is_empty());
}
