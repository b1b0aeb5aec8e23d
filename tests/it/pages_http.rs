//! The pages' doors, without a browser: what is hidden without a log-in, and what other sites can't do.

use crate::support::{Answer, Client, Lab, Proxy, Setup, users};

const ADMIN_TOKEN: &str = "the-token-of-the-administrator";

async fn proxy(lab: &Lab) -> Proxy {
    Setup::new(&lab.url()).set("access.admin_token", ADMIN_TOKEN).start().await
}

/// Logs in as a browser does; the cookie.
async fn log_in(client: &Client) -> String {
    let user = users::ONEUSER;
    let form = [("username", user.name), ("password", user.password), ("next", "https://elsewhere.example")];
    let answer = client.ask("POST", "/-/login").form(&form).send().await.expect(303);
    assert_eq!(answer.header("location"), Some("/-/explore"), "it leads to our own pages only");
    cookie(&answer)
}

fn cookie(answer: &Answer) -> String {
    let field = answer.header("set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/-/"] {
        assert!(field.contains(part), "{field}");
    }
    field.split(';').next().unwrap().to_owned()
}

fn csrf(page: &Answer) -> String {
    let (_, rest) = page.text().split_once("name=\"csrf\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_reverse_proxy_its_clients_are_counted() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("server.trusted_proxies", "127.0.0.1").start().await;
    for _ in 0..4 {
        let ask = proxy.client().ask("GET", "/labs").header("x-forwarded-for", "192.0.2.7");
        ask.send().await.expect(200);
    }
    let guest = proxy.client().anonymous();
    let cookie = log_in(&guest).await;
    let page = guest.ask("GET", "/-/status").header("cookie", &cookie).send().await.expect(200);
    let (_, row) = page.text().split_once("<th scope=\"row\">192.0.2.7</th>").expect("the client");
    assert!(
        row.contains("<td class=\"n\" data-label=\"Requests\">4</td>")
            && !page.text().contains("127.0.0.1</th>"),
        "{row}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_alyx_is_shown_without_a_log_in() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    proxy.get("/sessions?lab=a-secret-lab").await.expect(200);
    let guest = proxy.client().anonymous();
    for path in ["/-/explore", "/-/explore/sessions", "/-/explore/sessions.json", "/-/explore/labs/one"] {
        let answer = guest.get(path).await.expect(303);
        assert!(answer.header("location").unwrap().starts_with("/-/login?next=%2F-%2Fexplore"), "{path}");
        assert!(answer.body.is_empty());
    }
    for path in ["/-/status", "/-/status.json", "/-/mirror", "/-/mirror.json", "/-/answers", "/-/docs"] {
        let page = guest.get(path).await.expect(200);
        assert!(!page.text().contains("a-secret-lab"), "{path} tells what was asked");
        assert!(path.ends_with("json") || !page.text().contains("127.0.0.1</th>"), "{path} tells who asked");
    }
    // A guessed cookie is nobody's.
    let guessed = guest.ask("GET", "/-/explore").header("cookie", "alyx_proxy_session=0123456789abcdef");
    guessed.send().await.expect(303);
    let cookie = log_in(&guest).await;
    let page = guest.ask("GET", "/-/status").header("cookie", &cookie).send().await.expect(200);
    assert!(page.text().contains("a-secret-lab"));
    guest.ask("GET", "/-/explore/sessions").header("cookie", &cookie).send().await.expect(200);
    // The session is the pages' own: it opens nothing of Alyx's.
    guest.ask("GET", "/sessions").header("cookie", &cookie).send().await.expect(403);
    // A log-in through the pages leaves no trace of its secrets.
    for secret in [users::ONEUSER.password, users::ONEUSER.token, cookie.split('=').nth(1).unwrap()] {
        assert!(!proxy.output().contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_can_do_nothing_in_a_browser_that_is_logged_in() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    let guest = proxy.client().anonymous();
    let cookie = log_in(&guest).await;
    let post =
        |path: &str, form: &[(&str, &str)]| guest.ask("POST", path).form(form).header("cookie", &cookie);
    post("/-/admin", &[("token", "not the token of the administrator")]).send().await.expect(403);
    post("/-/admin", &[("token", ADMIN_TOKEN)])
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .expect(403);
    let entered = post("/-/admin", &[("token", ADMIN_TOKEN)]).send().await.expect(303);
    let cookie = self::cookie(&entered);
    let post =
        |path: &str, form: &[(&str, &str)]| guest.ask("POST", path).form(form).header("cookie", &cookie);
    let mirror = guest.ask("GET", "/-/mirror").header("cookie", &cookie).send().await.expect(200);
    let csrf = csrf(&mirror);
    let offline = ("action", "offline");
    for (form, field, value) in [
        (&[offline, ("csrf", "")][..], "accept", "*/*"),
        (&[offline, ("csrf", "0123456789")][..], "accept", "*/*"),
        (&[offline, ("csrf", &csrf)][..], "sec-fetch-site", "cross-site"),
        (&[offline, ("csrf", &csrf)][..], "origin", "http://elsewhere.example"),
    ] {
        post("/-/mirror", form).header(field, value).send().await.expect(403);
    }
    assert_ne!(proxy.status().await["upstream"]["forced_offline"], true);
    post("/-/mirror", &[offline, ("csrf", &csrf)]).send().await.expect(200);
    assert_eq!(proxy.status().await["upstream"]["forced_offline"], true);
    post("/-/logout", &[("csrf", "0123456789")]).send().await.expect(403);
    post("/-/logout", &[("csrf", &csrf)]).send().await.expect(303);
    guest.ask("GET", "/-/explore").header("cookie", &cookie).send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_take_nothing_from_elsewhere() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    let guest = proxy.client().anonymous();
    for path in ["/-/status", "/-/login", "/-/mirror", "/-/answers", "/-/docs/start", "/-/admin"] {
        let page = guest.get(path).await.expect(200);
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let text = page.text();
        assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains("onclick"), "{path}");
        assert!(!text.contains("src=\"http"), "{path}");
    }
    guest.get("/-/nothing").await.expect(404);
    guest.get("/-").await.expect(303);
    guest.ask("PUT", "/-/status").send().await.expect(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_records_is_text_and_nothing_else() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    let guest = proxy.client().anonymous();
    let cookie = log_in(&guest).await;
    let hostile = "/-/explore/sessions?lab=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let page = guest.ask("GET", hostile).header("cookie", &cookie).send().await;
    assert!(!page.text().contains("<script>alert"), "{}", page.text());
    assert!(page.text().contains("&#60;script&#62;alert(1)"), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_plants_a_cookie_gets_no_rights_with_it() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    let browser = proxy.client().anonymous();
    // A student's, which another service on this host has set in the administrator's browser.
    let planted = log_in(&browser).await;
    let form = [("token", ADMIN_TOKEN)];
    let answer =
        browser.ask("POST", "/-/admin").form(&form).header("cookie", &planted).send().await.expect(303);
    let own = cookie(&answer);
    assert_ne!(own, planted);
    let buttons = async |cookie: &str| {
        let page = browser.ask("GET", "/-/mirror").header("cookie", cookie).send().await.expect(200);
        page.text().contains("value=\"offline\"")
    };
    assert!(buttons(&own).await && !buttons(&planted).await);
    browser.ask("GET", "/-/explore").header("cookie", &planted).send().await.expect(303);
    // Whoever logs in is no administrator by the session before.
    let user = users::ONEUSER;
    let form = [("username", user.name), ("password", user.password)];
    let answer = browser.ask("POST", "/-/login").form(&form).header("cookie", &own).send().await.expect(303);
    let later = cookie(&answer);
    assert!(!buttons(&later).await && !buttons(&own).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_logs_nobody_else_out() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    let browser = proxy.client().anonymous();
    let enter = async |token: &str| {
        let form = [("token", token)];
        cookie(&browser.ask("POST", "/-/login").form(&form).send().await.expect(303))
    };
    let other = enter(users::ADMIN.token).await;
    let mut own = Vec::new();
    for _ in 0..20 {
        own.push(enter(users::ONEUSER.token).await);
    }
    let is_in = async |cookie: &str| {
        browser.ask("GET", "/-/explore").header("cookie", cookie).send().await.status == 200
    };
    assert!(is_in(&other).await && is_in(own.last().unwrap()).await);
    assert!(!is_in(&own[0]).await, "their oldest one has gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_administrators_token_are_few_and_told() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    let guest = proxy.client().anonymous();
    let begun = std::time::Instant::now();
    let mut looked_at = 0;
    for n in 0..60 {
        let wrong = format!("guess-number-{n}-0123456789");
        let status = if n % 2 == 0 {
            guest.ask("POST", "/-/admin").form(&[("token", wrong.as_str())]).send().await.status
        } else {
            let field = format!("Bearer {wrong}");
            proxy.client().with_authorization(&field).ask("POST", "/-/api/offline").send().await.status
        };
        assert!(matches!(status.as_u16(), 401 | 403 | 429), "{status}");
        looked_at += u64::from(status != 429);
    }
    // Ten, and one a second from then on.
    assert!(looked_at <= 11 + begun.elapsed().as_secs(), "{looked_at}");
    let told = proxy.output().matches("guesses at the administrator's token").count();
    assert_eq!(told, 1);
    let right = async || {
        let ask = guest.ask("POST", "/-/admin").form(&[("token", ADMIN_TOKEN)]).send().await;
        ask.status == 303
    };
    crate::support::until("the right one is let in", right).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_shown_a_page_where_alyx_s_own_is_out_of_reach() {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const JAVA: &str = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    proxy.get("/labs").await.expect(200);
    lab.upstream.cut().await;
    proxy.get("/insertions").await.expect(504);
    proxy.until_upstream_is("down").await;
    for path in ["/admin/", "/admin/actions/session/?x=%3Cb%3E", "/sessions", "/projects"] {
        let ask = |accept: &str| proxy.client().ask("GET", path).header("accept", accept);
        let page = ask(BROWSER).send().await.expect(504);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        let text = page.text();
        assert!(text.contains("Alyx (http://") && text.contains("out of reach since"), "{path}: {text}");
        assert!(!text.contains("<b>") && !text.contains("status_code"), "{path}: {text}");
        assert!(
            page.header("content-security-policy").is_some() && !page.cache().hit(),
            "{}",
            page.describe()
        );
        // Whoever writes programs reads JSON, and so does MATLAB, whose Java says that it takes HTML.
        for accept in [JAVA, "application/json", "*/*"] {
            let answer = ask(accept).send().await;
            assert!(
                answer.status == 504 && answer.json()["detail"].is_string(),
                "{accept}: {}",
                answer.describe()
            );
        }
        let post = proxy.client().ask("POST", path).header("accept", BROWSER).form(&[("a", "b")]);
        assert_eq!(post.send().await.expect(503).json()["status_code"], 503);
    }
}
