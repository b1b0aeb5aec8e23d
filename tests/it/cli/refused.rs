//! Settings that are refused: in one line, with what is allowed, and without a secret.

use super::{Place, text};

#[test]
fn a_wrong_file_key_or_value_is_told_in_one_line_with_what_is_allowed() {
    let place = Place::new();
    let file = |name: &str, text: &str| place.write(name, text);
    let missing = place.path().join("missing.toml").display().to_string();
    let no_toml = file("no.toml", "[upstream]\nurl = \n");
    let section = file("section.toml", "[upstreams]\nurl = \"http://a\"\n");
    let key = file("key.toml", "[upstream]\nurls = \"http://a\"\n");
    let no_table = file("table.toml", "upstream = 5\n");
    let kind = file("kind.toml", "[upstream]\nurl = 5\n");
    let lines = file("lines.toml", "[log]\nlevel = \"a\\nb\"\n");
    let endpoint = file("endpoint.toml", "[freshness.endpoints]\nsession = \"1m\"\n");
    let hidden = file("hidden.toml", "[upstream]\nrequests_per_minute = -1\n");
    let config = |path: &str| vec!["--config".to_owned(), path.to_owned()];
    let none = Vec::new;
    for (environment, arguments, expected) in [
        (None, config(&missing), &[&missing, "can't be read", "No such file"][..]),
        (None, config(&no_toml), &[&no_toml, "line 2", "not TOML"]),
        (
            None,
            config(&section),
            &[&section, "upstreams", "http://a", "allowed: the sections server, storage"],
        ),
        (None, config(&key), &[&key, "upstream.urls", "\"http://a\"", "in [upstream] url, connect_timeout"]),
        (None, config(&no_table), &[&no_table, "upstream = 5", "must be a table"]),
        (None, config(&kind), &[&kind, "upstream.url = 5", "must be an http or https URL with a host"]),
        (None, config(&lines), &[&lines, r#"log.level = "a\nb""#, "one of off, error, warn, info"]),
        (None, config(&endpoint), &[&endpoint, "freshness.endpoints.session = \"1m\"", "sessions"]),
        (
            Some(("ALYX_PROXY_UPSTREAM__REQUESTS_PER_MINUTE", "5")),
            config(&hidden),
            &[&hidden, "upstream.requests_per_minute = -1", "from 0 to"],
        ),
        (Some(("ALYX_PROXY_CONFIG", missing.as_str())), none(), &[&missing, "can't be read"]),
        (
            Some(("ALYX_PROXY_UPSTREAM__TIMEOUT", "5x")),
            none(),
            &[
                "variable ALYX_PROXY_UPSTREAM__TIMEOUT: ",
                "upstream.timeout = \"5x\"",
                "a span of time such as \"30s\"",
            ],
        ),
        (
            Some(("ALYX_PROXY_UPSTREAM__URLS", "a")),
            none(),
            &["variable ALYX_PROXY_UPSTREAM__URLS: ", "upstream.urls = \"a\"", "in [upstream] url"],
        ),
        (
            Some(("ALYX_PROXY_UPSTREAM_URL", "http://a")),
            none(),
            &[
                "variable ALYX_PROXY_UPSTREAM_URL: ",
                "\"http://a\"",
                "ALYX_PROXY_<SECTION>__<KEY>, with two `_`",
            ],
        ),
    ] {
        is_refused(&place, environment, &arguments, expected);
    }
}

#[test]
fn a_wrong_flag_is_told_in_one_line_with_what_is_allowed() {
    let place = Place::new();
    let set = |value: &str| vec!["--set".to_owned(), value.to_owned()];
    let flag = |flag: &str, value: &str| vec!["serve".to_owned(), flag.to_owned(), value.to_owned()];
    for (arguments, expected) in [
        (set("upstream.timeout"), &["--set upstream.timeout", "SECTION.KEY=VALUE"][..]),
        (set("upstream.timeout=0s"), &["--set: upstream.timeout = \"0s\"", "more than 0s"]),
        (set("upstream.timeout=99999d"), &["--set: upstream.timeout = \"99999d\"", "at most 3650d"]),
        (
            set("upstream.timeout=1s"),
            &["upstream.timeout = \"1s\"", "at least upstream.serve_stale_after, which is \"2s\""],
        ),
        (
            set("upstream.serve_stale_after=2m"),
            &["upstream.serve_stale_after = \"2m\"", "at most upstream.timeout, which is \"1m\""],
        ),
        (set("upstream.concurrency=0"), &["upstream.concurrency = 0", "a whole number from 1"]),
        (
            set("upstream.requests_per_minute=many"),
            &["upstream.requests_per_minute = \"many\"", "a whole number"],
        ),
        (
            set("upstream.requests_per_minute=1.5"),
            &["upstream.requests_per_minute = \"1.5\"", "a whole number"],
        ),
        (set("upstream.url=ftp://a"), &["upstream.url = \"ftp://a\"", "http or https"]),
        (set("server.public_url=lab:8040"), &["server.public_url = \"lab:8040\"", ", or nothing"]),
        (set("server.trusted_proxies=::1,lab"), &["[\"::1\",\"lab\"]", "a list of IP addresses"]),
        (set("access.private_paths=users"), &["access.private_paths = [\"users\"]", "start with `/`"]),
        (set("storage.max_disk=4 gigs"), &["storage.max_disk = \"4 gigs\"", "a size such as"]),
        (set("log.format=xml"), &["log.format = \"xml\"", "auto, human, json"]),
        (flag("--listen", "8040"), &["--listen: server.listen = \"8040\"", "127.0.0.1:8040"]),
        (flag("--upstream", "alyx"), &["--upstream: upstream.url = \"alyx\"", "http or https"]),
        (flag("--log", "inof"), &["--log: log.level = \"inof\"", "one of off, error"]),
        (set("upstream.patience=2s"), &["--set: `upstream.patience` is now `upstream.serve_stale_after`"]),
    ] {
        is_refused(&place, None, &arguments, expected);
    }
}

/// Runs `check-config`, or what the arguments begin with, and wants one line on the standard error output with all parts.
fn is_refused(place: &Place, environment: Option<(&str, &str)>, arguments: &[String], expected: &[&str]) {
    let serve = arguments.first().is_some_and(|first| first == "serve");
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if !serve {
        all.push("check-config");
    }
    let output = place.run(environment.as_slice(), &all);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{all:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{all:?}: {error}");
    for part in expected {
        assert!(error.contains(part), "{all:?}: {part:?} is not in {error}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn no_password_is_shown() {
    let place = Place::new();
    let in_file = place.write("a.toml", "[upstream]\nurl = \"https://me:hunter2@alyx\"\n");
    let made_up = place.write("b.toml", "[upstream.login]\nuser = \"me\"\npassword = \"hunter2\"\n");
    for (environment, arguments) in [
        (&[][..], &["--config", in_file.as_str()][..]),
        (&[], &["--config", made_up.as_str()]),
        (&[], &["--set", "upstream.url=http://me:hunter2@alyx"]),
        (&[], &["--set", "upstream.token=hunter2"]),
        (&[("ALYX_PROXY_UPSTREAM__URL", "http://me:hunter2@alyx")], &[]),
        (&[("ALYX_PROXY_PASSWORD", "hunter2")], &[]),
    ] {
        let output = place.run(environment, &[&["check-config"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        assert!(error.contains("***") && !error.contains("hunter2"), "{error}");
    }
}
