//! What is passed through: pages that are not REST, and what Alyx or this proxy refuse.

use std::time::Duration;

use super::{
    LIST, open,
    support::{Lab, Setup, until, users},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_rest_is_passed_through_untouched() {
    let (lab, proxy) = open().await;
    let browser = proxy.client().anonymous();
    let to_log_in = browser.ask("GET", "/admin/").header("accept", "text/html").send().await.expect(302);
    let location = format!("{}/admin/login/?next=/admin/", proxy.url());
    assert_eq!(to_log_in.header("location"), Some(location.as_str()), "a redirect stays on the proxy");
    let cookies: Vec<&str> =
        to_log_in.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(cookies, ["csrftoken=c1; Path=/; SameSite=Lax", "sessionid=s1; HttpOnly; Path=/"]);

    let page = async || {
        let ask = browser.ask("GET", "/admin/page").header("accept", "text/html");
        ask.header("cookie", "sessionid=s1").send().await.expect(200)
    };
    assert_eq!(page().await.text(), "<html>cookies: sessionid=s1; version 1</html>");
    lab.renew();
    let second = page().await;
    assert_eq!(second.text(), "<html>cookies: sessionid=s1; version 2</html>");
    assert!(!second.cache().has("stored") && !second.cache().hit(), "{}", second.cache().text);
    browser.get("/static/style.css").await.expect(200);

    let body = "a=1&b=%20".repeat(1000);
    let form = browser.ask("POST", "/admin/add/").body("application/x-www-form-urlencoded", body.clone());
    form.header("cookie", "sessionid=s1")
        .header("x-csrftoken", "c1")
        .header("referer", &proxy.url())
        .send()
        .await;
    let sent = lab.upstream.asked().into_iter().find(|asked| asked.method == "POST").unwrap();
    assert_eq!(sent.body, body);
    assert_eq!(sent.header("x-csrftoken"), Some("c1"));
    assert_eq!(sent.header("cookie"), Some("sessionid=s1"));

    lab.upstream.cut().await;
    for target in ["/admin/", "/admin/page", "/static/style.css", "/uploaded/x.png"] {
        browser.ask("GET", target).header("accept", "text/html").send().await.expect(504);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_too_long_is_refused_here() {
    let (lab, proxy) = open().await;
    let of = |len: usize| format!("/sessions?subject={}", "a".repeat(len - "/sessions?subject=".len()));
    proxy.get(&of(30_000)).await.expect(200);
    assert_eq!(lab.count("/sessions"), 1);
    let answer = proxy.get(&of(33_000)).await.expect(414);
    assert_eq!(answer.json()["status_code"], 414, "Alyx's shape");
    assert_eq!(lab.count("/sessions"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_alyx_is_obeyed() {
    // Alyx's own 429 is told as it is, and not remembered.
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("upstream.retries", "0").start().await;
    proxy.get(LIST).await.expect(200);
    lab.throttle(Some(2));
    let start = std::time::Instant::now();
    let answer = proxy.get("/projects").await;
    assert!([200, 429].contains(&answer.status.as_u16()), "{}", answer.describe());
    if answer.status == 429 {
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert_eq!(answer.json()["status_code"], 429);
    }
    lab.throttle(None);
    // Until the time has passed, no request of this user goes upstream; stored answers come as ever.
    let before = lab.upstream.asked().len();
    assert!(proxy.get(LIST).await.expect(200).cache().hit());
    let other = proxy.get("/insertions").await;
    let waited = start.elapsed() >= Duration::from_millis(1800);
    assert!(waited || other.status == 429, "asked {:?} after a 429: {}", start.elapsed(), other.describe());
    assert!(waited || lab.upstream.asked().len() == before, "Retry-After was not obeyed");
    // Alyx counts each user by themselves.
    proxy.client().with(users::ADMIN).get("/trajectories").await.expect(200);
    until("it goes on", async || proxy.get("/projects").await.status == 200).await;
    assert_eq!(proxy.status().await["upstream"]["state"], "up", "throttled is not away");
}
