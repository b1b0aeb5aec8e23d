//! Logging in, online and offline: by a password that Alyx has accepted, and by guessing.

use super::{STORED, cut, open};
use crate::support::{Answer, Lab, Proxy, Setup, until, users};
use serde_json::json;

const WRONG_PASSWORD: &str =
    r#"{"non_field_errors":["Unable to log in with provided credentials."],"status_code":400}"#;

pub(super) async fn log_in_form(proxy: &Proxy, name: &str, password: &str) -> Answer {
    let ask = proxy.client().anonymous().ask("POST", "/auth-token");
    ask.form(&[("username", name), ("password", password)]).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_works_offline_as_it_did_online() {
    let (lab, proxy) = open().await;
    let client = proxy.client().anonymous();
    let ways = |name: &'static str, password: &'static str| {
        let ask = || client.ask("POST", "/auth-token");
        [
            ask().form(&[("username", name), ("password", password)]),
            ask().json(&json!({"username": name, "password": password})),
            ask().multipart(&[("username", name), ("password", password)]),
        ]
    };
    for user in [users::ONEUSER, users::ADMIN, users::PUBLIC] {
        // Each way of logging in online is remembered for each way of logging in offline.
        let way = users::ALL.iter().position(|u| *u == user).unwrap();
        let answer = ways(user.name, user.password)[way].clone().send().await.expect(200);
        assert_eq!(answer.json(), json!({"token": user.token}));
    }
    for way in ways(users::ONEUSER.name, "wrong") {
        assert_eq!(way.send().await.expect(400).text(), WRONG_PASSWORD, "online");
    }

    lab.upstream.cut().await;
    let proxy = proxy.restart().await;
    let client = proxy.client().anonymous();
    for user in users::ALL {
        let ask = || client.ask("POST", "/auth-token");
        for way in [
            ask().form(&[("username", user.name), ("password", user.password)]),
            ask().json(&json!({"username": user.name, "password": user.password})),
            ask().multipart(&[("username", user.name), ("password", user.password)]),
        ] {
            let answer = way.send().await.expect(200);
            assert_eq!(answer.json(), json!({"token": user.token}), "ONE requires this key and no other");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        proxy.client().with(user).get(STORED).await.expect(200);
    }
    for (name, password) in [(users::ONEUSER.name, "wrong"), (users::ONEUSER.name, users::ADMIN.password)] {
        let answer = log_in_form(&proxy, name, password).await.expect(400);
        assert_eq!(answer.text(), WRONG_PASSWORD);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_of_unusual_characters_works_offline() {
    // Passwords of any form go upstream as they came; the miniature lab refuses them, and so must the proxy.
    let (lab, proxy) = open().await;
    log_in_form(&proxy, users::ONEUSER.name, users::ONEUSER.password).await.expect(200);
    cut(&lab, &proxy).await;
    for password in ["пароль & =%+ ü", " one-pass-1", "one-pass-1 ", "one-pass-1\0", "", "ONE-PASS-1"]
    {
        let answer = log_in_form(&proxy, users::ONEUSER.name, password).await;
        assert!(answer.status == 400, "{password:?}: {}", answer.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_offline_is_limited() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).set("access.login_attempts", "3").set("access.login_window", "4s");
    let proxy = setup.start().await;
    let user = users::ONEUSER;
    log_in_form(&proxy, user.name, user.password).await.expect(200);
    proxy.get(STORED).await.expect(200);
    cut(&lab, &proxy).await;
    for guess in ["a", "b", "c"] {
        assert_eq!(log_in_form(&proxy, user.name, guess).await.expect(400).text(), WRONG_PASSWORD);
    }
    for password in ["d", "e"] {
        let answer = log_in_form(&proxy, user.name, password).await.expect(429);
        let seconds: u64 = answer.header("retry-after").expect("when to come back").parse().unwrap();
        assert!((1..=4).contains(&seconds), "{seconds}");
        assert_eq!(answer.json()["status_code"], 429, "Alyx's shape");
        assert!(!answer.text().contains(user.token));
    }
    // A token is not a guess: who has one goes on working.
    proxy.get(STORED).await.expect(200);
    let tried = async || log_in_form(&proxy, user.name, "f").await.status == 400;
    until("the window is over", tried).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_offline_is_limited_also_at_once() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("access.login_attempts", "3").start().await;
    let user = users::ONEUSER;
    log_in_form(&proxy, user.name, user.password).await.expect(200);
    proxy.get(STORED).await.expect(200);
    cut(&lab, &proxy).await;
    let mut guesses: Vec<String> = (0..40).map(|n| format!("guess {n}")).collect();
    guesses.push(user.password.to_owned());
    let start = std::time::Instant::now();
    let answers = guesses.iter().map(|guess| log_in_form(&proxy, user.name, guess));
    let answers = futures_util::future::join_all(answers).await;
    // The right password is no guess, whenever its turn comes.
    let tried = answers[..40].iter().filter(|answer| answer.status != 429).count();
    // Two at a time are looked at; and of a name that is locked one a second, in case it is the right one.
    let most = 4 + usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!((3..=most).contains(&tried), "{tried} of 40 guesses were tried");
}

/// Others read other things in odd forms: what Alyx accepts must be the name that is kept.
#[tokio::test(flavor = "multi_thread")]
async fn alyx_gets_the_log_in_that_was_read_here() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let user = users::ONEUSER;
    let part = |field: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; {field}\r\n\r\n{value}\r\n")
    };
    let body = [
        part("name=\"username\"", user.name),
        part("name=\"password\"", user.password),
        part("name*=utf-8''username", "another"),
        "--b--\r\n".to_owned(),
    ];
    let ask = proxy.client().anonymous().ask("POST", "/auth-token");
    ask.body("multipart/form-data; boundary=b", body.concat()).send().await.expect(200);
    let asked = lab.upstream.asked();
    // Whether Alyx is there is asked by a GET of the same path.
    let sent = asked.iter().rfind(|asked| asked.path() == "/auth-token" && asked.method == "POST").unwrap();
    let read: Vec<(String, String)> = form_urlencoded::parse(&sent.body).into_owned().collect();
    let both = [("username", user.name), ("password", user.password)];
    assert_eq!(read, both.map(|(name, value)| (name.to_owned(), value.to_owned())));
}
