//! What a client already has, or wants only the head of, in the encoding it asks for: validators, HEAD, gzip and zstd
//! (RFC 9110 8.8, 12.5.3, 13).

use std::io::Read;

use super::{LIST, etag, get, open, support::Answer, varies, version};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let (lab, proxy) = open().await;
    let tag = etag(&proxy.get(LIST).await.expect(200));
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong ETag: {tag}");
    let lists =
        [tag.clone(), "*".to_owned(), format!("W/{tag}"), format!("\"x\", {tag}"), format!("{tag},\"y\"")];
    for list in &lists {
        let answer = get(&proxy, LIST, &[("if-none-match", list)]).await.expect(304);
        assert!(answer.body.is_empty(), "{list}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{list}");
        assert!(
            answer.cache().hit() && answer.age().is_some() && varies(&answer, "accept-encoding"),
            "{list}"
        );
    }
    for list in ["\"x\"", "W/\"x\"", "\"x\", \"y\"", tag.trim_matches('"')] {
        get(&proxy, LIST, &[("if-none-match", list)]).await.expect(200);
    }
    assert_eq!(lab.count("/sessions"), 1);
    assert!(lab.upstream.asked().iter().all(|asked| asked.header("if-none-match").is_none()));

    // The tag is the content's: the same from memory and disk, and another for other content.
    let host = proxy.url().trim_start_matches("http://").to_owned();
    let proxy = proxy.restart().await;
    get(&proxy, LIST, &[("if-none-match", &tag), ("host", &host)]).await.expect(304);
    lab.renew();
    let answer =
        get(&proxy, LIST, &[("if-none-match", &tag), ("cache-control", "no-cache")]).await.expect(200);
    assert_ne!(etag(&answer), tag);
    assert_eq!(version(&answer), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_also_met_by_an_answer_that_comes_from_upstream() {
    let (_lab, proxy) = open().await;
    let tag = etag(&proxy.get(LIST).await.expect(200));
    let answer =
        get(&proxy, LIST, &[("if-none-match", &tag), ("cache-control", "no-cache")]).await.expect(304);
    assert!(!answer.cache().hit(), "{}", answer.cache().text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_an_answer_is_the_tag_of_its_bytes() {
    // Two names of the proxy make two bodies, for their links differ. One tag for both would mix them up.
    let (_lab, proxy) = open().await;
    let one = get(&proxy, LIST, &[("host", "one.lab:8040")]).await.expect(200);
    let two = get(&proxy, LIST, &[("host", "two.lab:8040")]).await.expect(200);
    assert_ne!(one.body, two.body);
    assert_ne!(etag(&one), etag(&two));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_from_the_stored_get() {
    let (lab, proxy) = open().await;
    let got = proxy.get(LIST).await.expect(200);
    let head = proxy.client().ask("HEAD", LIST).send().await.expect(200);
    assert!(head.body.is_empty());
    for name in ["content-type", "content-length", "etag", "allow", "vary"] {
        assert_eq!(head.header(name), got.header(name), "{name}");
    }
    assert_eq!(head.header("content-length"), Some(got.body.len().to_string().as_str()));
    assert!(head.cache().hit(), "{}", head.cache().text);
    assert_eq!(lab.count("/sessions"), 1);
    // Also where Alyx is away.
    lab.upstream.cut().await;
    proxy.client().ask("HEAD", LIST).send().await.expect(200);
    proxy.client().ask("HEAD", "/projects").send().await.expect(504);
}

fn decode(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    match answer.header("content-encoding") {
        None => body.extend_from_slice(&answer.body),
        Some("gzip") => {
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut body).unwrap();
        }
        Some("zstd") => body = zstd::decode_all(&answer.body[..]).unwrap(),
        Some(other) => panic!("an encoding nobody asked for: {other}"),
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_zstd_go_to_those_who_ask() {
    const LARGE: &str = "/sessions";
    let (lab, proxy) = open().await;
    let plain = proxy.get(LARGE).await.expect(200);
    assert_eq!(plain.header("content-encoding"), None);
    let mut tags = vec![etag(&plain)];
    for (accept, encoding) in [
        ("gzip", Some("gzip")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br", Some("gzip")),
        ("gzip;q=0", None),
        ("zstd;q=0, gzip;q=0.1", Some("gzip")),
        ("identity", None),
        ("br", None),
        ("", None),
    ] {
        let answer = get(&proxy, LARGE, &[("accept-encoding", accept)]).await.expect(200);
        assert_eq!(answer.header("content-encoding"), encoding, "{accept}");
        assert_eq!(decode(&answer), plain.body, "{accept}");
        let length = answer.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()), "{accept}");
        assert!(varies(&answer, "accept-encoding"), "{accept}: {}", answer.describe());
        let tag = etag(&answer);
        get(&proxy, LARGE, &[("accept-encoding", accept), ("if-none-match", &tag)]).await.expect(304);
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "a tag for each encoding, and no more");
    assert_eq!(lab.count(LARGE), 1, "one entry serves all encodings");
}
