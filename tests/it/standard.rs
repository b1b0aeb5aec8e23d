//! The profile `rfc9111`: a shared cache by the standard alone. Public suites judge it in full (`bench/standard`);
//! here each rule once, so that no change breaks one unseen.

mod passing;
mod shared;

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{Answer, Fault, Proxy, Reply, Setup, Upstream, raw};

/// Fields of a request.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// An origin whose answers have the fields that the query names (`?h=Name:value&status=404`), and a body that counts.
async fn open() -> (Upstream, Proxy) {
    open_with(&[]).await
}

async fn open_with(settings: &[(&str, &str)]) -> (Upstream, Proxy) {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(Arc::new(move |asked| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let query = asked.query();
        let tag = query.iter().find_map(|(_, value)| value.strip_prefix("ETag:"));
        let status = if tag.is_some() && asked.header("if-none-match") == tag {
            304
        } else {
            asked.parameter("status").map_or(200, |status| status.parse().unwrap())
        };
        let body = if matches!(status, 204 | 304) { String::new() } else { format!("answer {number}") };
        query.iter().filter_map(|(_, value)| value.split_once(':')).fold(
            Reply::new(status, "text/plain", body).header("x-number", &number.to_string()),
            |reply, (name, value)| reply.header(name, value),
        )
    }))
    .await;
    let setup =
        settings.iter().fold(Setup::new(&upstream.url()), |setup, (name, value)| setup.set(name, value));
    let proxy = setup.set("cache.profile", "rfc9111").start().await;
    (upstream, proxy)
}

async fn get(proxy: &Proxy, target: &str, fields: &[(&str, &str)]) -> Answer {
    ask(proxy, "GET", target, fields).await
}

async fn ask(proxy: &Proxy, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    let target = target.replace(' ', "%20").replace('"', "%22");
    let ask = proxy.client().anonymous().ask(method, &target);
    fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fresh_is_given_again_and_nothing_else() {
    let (_upstream, proxy) = open().await;
    // What the first request says, what the answer says, what the second request says, and whether it is given again.
    let auth = ("authorization", "Basic eDp5");
    let cases: &[(Fields<'_>, &str, Fields<'_>, bool)] = &[
        (&[], "h=Cache-Control:max-age=60", &[], true),
        (&[], "h=Cache-Control:max-age=60", &[("cookie", "a=b")], true),
        (&[], "h=Cache-Control:max-age=60&status=404", &[], true),
        (&[], "h=Cache-Control:max-age=60&status=302", &[], true),
        (&[], "h=Cache-Control:s-maxage=60,max-age=0", &[], true),
        (&[], "h=Expires:Thu, 18 Aug 2050 02:01:18 GMT", &[], true),
        (&[], "h=Cache-Control:max-age=60&h=Vary:Foo", &[], true),
        (&[("foo", "1")], "h=Cache-Control:max-age=60&h=Vary:Foo", &[("foo", "1")], true),
        (&[("foo", "1")], "h=Cache-Control:max-age=60&h=Vary:Foo", &[("foo", "2")], false),
        (&[], "h=Cache-Control:max-age=60&h=Vary:*", &[], false),
        (&[], "", &[], false),
        (&[], "h=Expires:0", &[], false),
        (&[], "h=Cache-Control:max-age=0", &[], false),
        (&[], "h=Cache-Control:max-age=60,no-store", &[], false),
        (&[], "h=Cache-Control:max-age=60,private", &[], false),
        (&[], "h=Cache-Control:max-age=60,no-cache", &[], false),
        (&[], "h=Cache-Control:max-age=60&h=Age:61", &[], false),
        (&[], "h=Cache-Control:max-age=60", &[("cache-control", "no-cache")], false),
        (&[], "h=Cache-Control:max-age=60", &[("cache-control", "min-fresh=90")], false),
        (&[("cache-control", "no-store")], "h=Cache-Control:max-age=60", &[], false),
        // Answers to the authorised are for them alone, unless they say otherwise (RFC 9111 3.5).
        (&[auth], "h=Cache-Control:max-age=60", &[auth], false),
        (&[auth], "h=Cache-Control:max-age=60,public", &[], true),
        (&[auth], "h=Cache-Control:s-maxage=60", &[auth], true),
        (&[auth], "h=Cache-Control:max-age=60,must-revalidate", &[auth], true),
    ];
    for (number, (first, says, second, again)) in cases.iter().enumerate() {
        let target = format!("/{number}?{says}");
        let one = get(&proxy, &target, first).await;
        let two = get(&proxy, &target, second).await;
        assert_eq!(one.body == two.body, *again, "{says} {first:?} {second:?}: {}", two.describe());
        assert_eq!(two.cache().hit(), *again, "{says}: {}", two.cache().text);
        assert_eq!(two.age().is_some() && two.cache().hit(), *again, "{says}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_asked_whether_it_still_holds() {
    let (upstream, proxy) = open().await;
    let target = "/?h=ETag:\"a\"&h=Cache-Control:no-cache";
    let first = get(&proxy, target, &[]).await;
    let second = get(&proxy, target, &[]).await;
    assert_eq!(second.body, first.body, "the same body");
    // It was forwarded, so it is no hit (RFC 9211 2.1).
    assert_eq!(second.cache().text, "alyx-proxy; fwd=stale; fwd-status=304");
    assert_eq!(upstream.asked()[1].header("if-none-match"), Some("\"a\""));
    assert_eq!(second.header("x-number"), Some("2"), "fields of the 304 are taken over");
    // The client's own conditions are judged here.
    let third = get(&proxy, target, &[("if-none-match", "\"x\", \"a\"")]).await;
    assert_eq!((third.status.as_u16(), third.body.len()), (304, 0));
    assert_eq!(upstream.asked()[2].header("if-none-match"), Some("\"a\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_what_is_stored_and_heads_are_given() {
    let (upstream, proxy) = open().await;
    let target = "/?h=Cache-Control:max-age=60&h=ETag:\"a\"";
    let whole = get(&proxy, target, &[]).await;
    let part = get(&proxy, target, &[("range", "bytes=0-1")]).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &b"an"[..]));
    assert_eq!(part.header("content-range"), Some("bytes 0-1/8"));
    let other = get(&proxy, target, &[("range", "bytes=0-1"), ("if-range", "\"b\"")]).await;
    assert_eq!((other.status.as_u16(), &other.body), (200, &whole.body));
    let beyond = get(&proxy, target, &[("range", "bytes=99-")]).await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, Some("bytes */8")));
    let head = ask(&proxy, "HEAD", target, &[]).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, Some("8"), 0));
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_takes_away_what_it_changed() {
    let (upstream, proxy) = open().await;
    let fresh = "/a?h=Cache-Control:max-age=60";
    let first = get(&proxy, fresh, &[]).await;
    ask(&proxy, "POST", &format!("{fresh}&status=500"), &[]).await.expect(500);
    assert_eq!(get(&proxy, fresh, &[]).await.body, first.body, "a write that failed changed nothing");
    ask(&proxy, "M-SEARCH", fresh, &[]).await.expect(200);
    let second = get(&proxy, fresh, &[]).await;
    assert_ne!(second.body, first.body);
    // By whichever name: a place that is named, but not one on another host.
    for (location, gone) in [
        ("/a?h=Cache-Control:max-age=60", true),
        (&format!("{}/a?h=Cache-Control:max-age=60", upstream.url()), true),
        (&format!("{}/a?h=Cache-Control:max-age=60", proxy.url()), true),
        ("http://elsewhere.invalid/a?h=Cache-Control:max-age=60", false),
    ] {
        let before = get(&proxy, fresh, &[]).await;
        let location: String = form_urlencoded::byte_serialize(location.as_bytes()).collect();
        ask(&proxy, "PUT", &format!("/b?h=Location:{location}"), &[]).await.expect(200);
        assert_eq!(get(&proxy, fresh, &[]).await.body != before.body, gone, "{location}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_answers_stand_in_only_where_they_may() {
    let (upstream, proxy) = open_with(&[("upstream.timeout", "2s")]).await;
    let may = [
        ("max-age=1", true, false),
        ("max-age=1, stale-if-error=60", true, true),
        ("max-age=1, must-revalidate, stale-if-error=60", false, false),
        ("max-age=1, proxy-revalidate", false, false),
        ("s-maxage=1", false, false),
        ("max-age=0, stale-if-error=0", false, false),
    ];
    let target = |says: &str| format!("/?h=Cache-Control:{says}&h=ETag:\"a\"");
    let mut first = Vec::new();
    for (says, ..) in may {
        first.push(get(&proxy, &target(says), &[]).await.expect(200));
    }
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for (fault, answered) in [(Fault::Gateway(503), true), (Fault::Reset, false), (Fault::Refuse, false)] {
        upstream.break_down(fault).await;
        for ((says, silent, failing), first) in may.iter().zip(&first) {
            let answer = get(&proxy, &target(says), &[]).await;
            let given = answer.status == 200 && answer.body == first.body;
            assert_eq!(
                given,
                if answered { *failing } else { *silent },
                "{says}, {fault:?}: {}",
                answer.describe()
            );
            assert!(!answer.cache().hit(), "{says}, {fault:?}: it was forwarded: {}", answer.cache().text);
            assert_eq!(answer.cache().fwd() == Some("stale"), given, "{says}, {fault:?}");
            assert!(given || answer.status.is_server_error(), "{says}, {fault:?}: {}", answer.describe());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_answer_is_refreshed_behind_its_back() {
    let (upstream, proxy) = open().await;
    let target = "/?h=Cache-Control:max-age=1,stale-while-revalidate=60";
    let first = get(&proxy, target, &[]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(get(&proxy, target, &[]).await.body, first.body);
    crate::support::until("it was refreshed", async || get(&proxy, target, &[]).await.body != first.body)
        .await;
    assert!(upstream.asked().len() <= 3, "refreshed once, not for each request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_is_neither_given_nor_stored() {
    let (upstream, proxy) = open().await;
    let target = "/?h=Cache-Control:max-age=60";
    for fault in [Fault::Truncated, Fault::ChunksCut] {
        upstream.break_down(fault).await;
        assert_eq!(get(&proxy, target, &[]).await.status, 502, "{fault:?}");
    }
    upstream.restore().await;
    let answer = get(&proxy, target, &[]).await.expect(200);
    assert!(!answer.cache().hit(), "{}", answer.cache().text);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_the_proxys_own_pages_are_there() {
    let (_upstream, proxy) = open_with(&[("storage.max_memory", "64 kB"), ("server.max_body", "10 B")]).await;
    let body = "x".repeat(8_000);
    for number in 0..64 {
        get(&proxy, &format!("/{number}?h=Cache-Control:max-age=60&h=X:{body}"), &[]).await.expect(200);
    }
    let hits = futures_util::future::join_all((0..64).map(|number| {
        let target = format!("/{number}?h=Cache-Control:max-age=60&h=X:{body}");
        let proxy = &proxy;
        async move { get(proxy, &target, &[]).await.cache().hit() }
    }));
    assert!(hits.await.iter().filter(|hit| **hit).count() < 20, "64 kB hold no more");
    let upload = proxy.client().ask("POST", "/").body("text/plain", "more than ten bytes");
    upload.send().await.expect(413);
    get(&proxy, "/-/health", &[]).await.expect(200);
    assert!(proxy.output().contains("knows no Alyx"), "it says what it is");
}

/// Reads the head of a request; the path that it asks for, or none at the end of the connection.
fn path_of_next(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let (mut line, mut path) = (String::new(), None);
    while reader.read_line(&mut line)? > 0 && line != "\r\n" {
        path.get_or_insert_with(|| line.split(' ').nth(1).unwrap_or_default().to_owned());
        line.clear();
    }
    Ok(path)
}

/// An origin that serves each connection in this way.
fn origin(
    serve: impl Fn(BufReader<TcpStream>) -> std::io::Result<()> + Clone + Send + 'static,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            // An error is a connection that its other end has closed.
            std::thread::spawn(move || drop(serve(BufReader::new(stream))));
        }
    });
    address
}

/// An origin that says something before each answer: so many hints, and what only this connection is meant to hear.
fn hinting(hints: usize) -> std::net::SocketAddr {
    origin(move |mut reader| {
        while let Some(path) = path_of_next(&mut reader)? {
            let stream = reader.get_mut();
            for number in 0..hints {
                let hint = "Link: </style.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n";
                write!(stream, "HTTP/1.1 103 Early Hints\r\nX-Number: {number}\r\n{hint}\r\n")?;
            }
            std::thread::sleep(Duration::from_millis(20));
            let length = path.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {length}\r\n\r\n{path}"
            )?;
        }
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_answer_is_passed_on_and_not_stored() {
    let open = async |hints| {
        let setup = Setup::new(&format!("http://{}", hinting(hints)));
        setup.set("cache.profile", "rfc9111").start().await
    };
    let proxy = open(2).await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    let heads = |said: &str| -> Vec<String> {
        let words = ["HTTP/1.1 ", "HTTP/1.0 "];
        let line =
            |line: &str| words.iter().find_map(|word| line.split_once(word).map(|(_, rest)| rest.to_owned()));
        said.lines().filter_map(line).collect()
    };
    let hint = "103 Early Hints";
    let said = raw(proxy.address(), ask("/one").as_bytes());
    assert_eq!(heads(&said), [hint, hint, "200 OK"], "{said}");
    assert!(said.contains("link: </style.css>; rel=preload\r\n") && !said.contains("x-hop"), "{said}");
    assert!(said.ends_with("\r\n\r\n/one"), "{said}");
    let said = raw(proxy.address(), ask("/one").as_bytes());
    assert_eq!(heads(&said), ["200 OK"], "what is stored is the answer: {said}");
    assert!(said.contains("hit") && !said.contains("x-number"), "{said}");

    // Several requests at once keep their order, and each its own.
    let pipelined = [ask("/two"), ask("/one"), ask("/three")].concat();
    let said = raw(proxy.address(), pipelined.as_bytes());
    assert_eq!(heads(&said), [hint, hint, "200 OK", "200 OK", hint, hint, "200 OK"], "{said}");
    let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("no {words}: {said}"));
    assert!(at("\r\n\r\n/two") < at("\r\n\r\n/one") && at("\r\n\r\n/one") < at("\r\n\r\n/three"), "{said}");

    // HTTP/1.0 knows of no such thing (RFC 9110 15.2).
    let said = raw(proxy.address(), b"GET /four HTTP/1.0\r\nHost: here\r\n\r\n");
    assert_eq!(heads(&said), ["200 OK"], "{said}");

    // As many as the origin likes take no more room than there is.
    let proxy = open(5_000).await;
    let said = raw(proxy.address(), ask("/many").as_bytes());
    assert!(said.ends_with("\r\n\r\n/many"), "{}", &said[said.len() - 200..]);
    let passed = heads(&said);
    assert_eq!(passed.last().unwrap(), "200 OK");
    assert!(passed[..passed.len() - 1].iter().all(|head| head == hint), "none is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_request_that_met_a_closing_connection_is_sent_once_more() {
    // Something that both profiles pass on.
    const PATH: &str = "/static/style.css";
    for profile in ["rfc9111", "alyx"] {
        // It answers the first request of each connection, and closes it when the second one comes.
        let count = Arc::new(AtomicUsize::new(0));
        let seen = count.clone();
        let address = origin(move |mut reader| {
            for answered in [false, true] {
                let path = path_of_next(&mut reader)?;
                seen.fetch_add(usize::from(path.as_deref() == Some(PATH)), Ordering::SeqCst);
                if !answered {
                    let fields =
                        "Cache-Control: no-store\r\nContent-Type: application/json\r\nContent-Length: 2";
                    let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{{}}");
                    reader.get_mut().write_all(answer.as_bytes())?;
                }
            }
            Ok(())
        });
        let proxy = Setup::new(&format!("http://{address}")).set("cache.profile", profile).start().await;
        let sent = || count.load(Ordering::SeqCst);
        // A connection is used again as soon as it is free.
        let mut asked = 0;
        while sent() == asked {
            assert_eq!(get(&proxy, PATH, &[]).await.expect(200).text(), "{}", "{profile}");
            asked += 1;
            assert!(asked < 100, "{profile}: no connection was used again");
        }
        // What may change something is not sent twice.
        let (before, mut asked) = (sent(), 0);
        loop {
            let answer = ask(&proxy, "POST", PATH, &[]).await;
            asked += 1;
            assert_eq!(sent(), before + asked, "{profile}: {}", answer.describe());
            if answer.status != 200 {
                assert!(answer.status.is_server_error(), "{profile}: {}", answer.describe());
                break;
            }
            assert!(asked < 100, "{profile}: no connection was used again");
        }
    }
}
