//! Homes, and what is done in them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

use super::same::{Case, Names};

const OTHER: &str = r#"{
    "ALYX_URL": "https://other.example.org",
    "ALYX_LOGIN": "zoë",
    "HTTP_DATA_SERVER": "https://data.example.org",
    "HTTP_DATA_SERVER_LOGIN": "they",
    "HTTP_DATA_SERVER_PWD": "their secret",
    "TOKEN": {"zoë": {"token": "0123"}}
}"#;
/// Somebody who uses another Alyx.
const THEIRS: [(&str, &str); 2] = [
    (
        ".one/.caches",
        r#"{"CLIENT_MAP": {"other.example.org": "@HOME/of them"}, "DEFAULT": "other.example.org"}"#,
    ),
    (".one/.other.example.org", OTHER),
];
/// Somebody who uses the Alyx behind the first proxy, and another one.
const MINE: [(&str, &str); 3] = [
    (
        ".one/.caches",
        "{\n    \"DEFAULT\": \"other.example.org\", \"CLIENT_MAP\": {\"other.example.org\": \"@HOME/of them\", \
         \"@DB\": \"@HOME/Jürgens Däten 😀\"}, \"more\": [1, -2, {}, [], true, null, \"\\u007f\\\"\\\\/\"]\n}",
    ),
    (".one/.other.example.org", OTHER),
    (".one/.@DB", r#"{"ALYX_LOGIN": "me", "HTTP_DATA_SERVER": "https://my.data", "MORE": {"a": [{}]}}"#),
];

/// Somebody who uses the Alyx behind the first proxy and has asked this one: ONE has made an entry for it.
const TRIED: [(&str, &str); 2] = [
    (".one/.caches", r#"{"CLIENT_MAP": {"@DB": "@HOME/mine", "@OWN1": "@HOME/tried"}, "DEFAULT": "@DB"}"#),
    ("tried/lab/file.npy", ""),
];

/// Homes that are set up for data files.
pub(super) fn data_files(names: &Names) -> Vec<Case> {
    let case =
        |name: &'static str, files: &[(&str, &str)], steps: &[&str]| Case::new(name, names, files, steps);
    let undo = "--undo => 0 now";
    vec![
        case(
            "data files",
            &MINE,
            &[
                "--data --dry-run => 0 Nothing was changed",
                "--data => 0 @FIRST/-/one from now on (before: other.example.org)",
                ".one/.@DATA == {\"ALYX_LOGIN\": \"me\", \"ALYX_URL\": \"@FIRST/-/one\", \"HTTP_DATA_SERVER\": \
                 \"@FIRST/-/data\", \"HTTP_DATA_SERVER_LOGIN\": null, \"HTTP_DATA_SERVER_PWD\": null}",
                "--data => 0 already",
                "=> 0 @FIRST from now on (before: @DATA)",
                "--undo --url @FIRST => 0 Still set up: @DATA.",
                "--data --json => 0 []",
                "--undo --url @FIRST => 0 ONE() asks other.example.org now.",
            ],
        ),
        case(
            "data files of another server, and of none",
            &[MINE[0], MINE[1], (".one/.@DB", r#"{"HTTP_DATA_SERVER": "https://my.data/public/"}"#)],
            &[
                "--data --url @SECOND => 1 gives no data files",
                "--data => 0 from now on",
                ".one/.@DATA == {\"ALYX_LOGIN\": \"\", \"ALYX_URL\": \"@FIRST/-/one\", \"HTTP_DATA_SERVER\": \
                 \"@FIRST/-/data/public\", \"HTTP_DATA_SERVER_LOGIN\": null, \"HTTP_DATA_SERVER_PWD\": null}",
                "--data --like other.example.org => 0 of them",
                ".one/.@DATA == {\"ALYX_LOGIN\": \"zoë\", \"ALYX_URL\": \"@FIRST/-/one\", \"HTTP_DATA_SERVER\": \
                 \"@FIRST/-/data\", \"HTTP_DATA_SERVER_LOGIN\": \"they\", \"HTTP_DATA_SERVER_PWD\": \"their secret\"}",
                undo,
            ],
        ),
    ]
}

/// Homes as people have them.
pub(super) fn usual(names: &Names) -> Vec<Case> {
    let case =
        |name: &'static str, files: &[(&str, &str)], steps: &[&str]| Case::new(name, names, files, steps);
    let (dry, undo) = ("--dry-run => 0 Nothing was changed", "--undo => 0 now");
    let both = |steps: &[&str]| {
        let first = ["=> 0 Jürgens Däten 😀, the folder of @DB", "--url @SECOND => 0 None of the databases"];
        case("two proxies of two Alyx", &MINE, &[&first, steps].concat())
    };
    vec![
        case(
            "never used ONE",
            &[],
            &[dry, "=> 0 from now on.", "=> 0 already", undo, "--undo => 2 nothing to undo"],
        ),
        case(
            "never used ONE, in JSON",
            &[],
            &["--json --dry-run => 0 true", "--json => 0 cache_dir", "--undo --json => 0 null"],
        ),
        case("a name", &[], &["--username zoë => 0 new", "--username me => 0 changed", undo]),
        case("uses this Alyx", &MINE, &[dry, "=> 0 (before: other.example.org)", undo]),
        case("uses this Alyx, in JSON", &MINE, &["--json => 0 Jürgens", "--undo --json => 0 restored"]),
        case("uses another Alyx", &THEIRS, &["=> 0 None of the databases that ONE knows (other.", undo]),
        case(
            "names that one",
            &THEIRS,
            &["--json => 0 None", "--like https://other.example.org/ => 0 of them", undo],
        ),
        case(
            "names none",
            &THEIRS,
            &["--like alyx.org => 2 no database alyx.org; it knows: other.example.org"],
        ),
        case("does not ask", &THEIRS, &["--unchecked => 0 was not asked which Alyx", undo]),
        case(
            "a browser's address",
            &[],
            &[
                "--url @FIRST/-/explore/sessions?lab=x => 0 asks @FIRST from",
                "--url @FIRST/-/ => 0 already",
                undo,
            ],
        ),
        case(
            "a home that is named",
            &[],
            &["--home @HOME/./else => 0 @HOME/else/.one", "--undo --home @HOME/else => 0 "],
        )
        .special(|home| fs::create_dir(home.join("else")).unwrap()),
        case(
            "two names of one proxy",
            &[],
            &["=> 0 from now on", "--url @LOCALHOST => 0 !a folder of their own", undo],
        ),
        case("no name", &[], &["--dry-run => 0 no user name", "--username me --dry-run => 0 !no user name"]),
        case(
            "has tried the proxy",
            &TRIED,
            &[
                "--dry-run => 0 had a folder for this proxy, @HOME/tried, with files",
                "=> 0 Data files stay in @HOME/mine, the folder of @DB",
                "=> 0 already",
                undo,
            ],
        ),
        case("has tried it, and nobody is asked", &TRIED, &["--unchecked => 0 stay in @HOME/tried", undo]),
        both(&["--undo => 0 other.example.org now"]),
        both(&[
            "--undo --url @FIRST => 0 asks @OWN2 now",
            "--undo --url @SECOND/-/ => 0 other.example.org now",
        ]),
        both(&["--undo --url @SECOND => 0 asks @OWN1 now", "--undo --url @FIRST => 0 other.example.org now"]),
        both(&[
            "=> 0 before: @OWN2",
            "--undo --url @FIRST => 0 asks @OWN2",
            "--undo --url @FIRST => 2 what has: @OWN2",
            undo,
        ]),
        both(&[
            "--undo --url @SECOND --json => 0 left",
            "--url @SECOND --like other.example.org => 0 of them",
            undo,
        ]),
    ]
}

/// What must be refused, or needs care.
pub(super) fn unusual(names: &Names) -> Vec<Case> {
    [odd(names), refused(names), unwritable(names)].into_iter().flatten().collect()
}

/// Files that are not, or not quite, what ONE writes.
fn odd(names: &Names) -> Vec<Case> {
    let case =
        |name: &'static str, files: &[(&str, &str)], steps: &[&str]| Case::new(name, names, files, steps);
    let caches = |text: &str| {
        case("odd JSON", &[(".one/.caches", text)], &["--unchecked => 1 .caches: not one of ONE's"])
    };
    let fine = |text: &str| {
        case("JSON that will do", &[(".one/.caches", text)], &["--unchecked => 0 from now", "--undo => 0 "])
    };
    let caches_of = |bytes: &[u8]| {
        let mut case = caches("");
        case.files[0].1 = bytes.to_vec();
        case
    };
    let mut cases: Vec<Case> = [
        "",
        "{",
        "[]",
        "1",
        "{} {}",
        "\u{feff}{}",
        r#"{"CLIENT_MAP": 1}"#,
        r#"{"CLIENT_MAP": null}"#,
        r#"{"a": NaN}"#,
        r#"{"a": [{"b": 1.5}]}"#,
        r#"{"a": -0}"#,
        r#"{"a": 1e3}"#,
        r#"{"a": 18446744073709551616}"#,
        r#"{"a": -9223372036854775809}"#,
        r#"{"a": "\ud800"}"#,
        "{\"a\": \"\t\"}",
        r#"{"a": 01}"#,
    ]
    .into_iter()
    .map(caches)
    .collect();
    cases.extend([b"{\"a\": \"\xfc\"}".as_slice(), b"\xff\xfe{\0}\0"].map(caches_of));
    cases.extend(
        [
            "{}",
            " {\"DEFAULT\": 3}\n",
            r#"{"DEFAULT": "gone", "CLIENT_MAP": {"gone": 3, "x": ""}}"#,
            r#"{"a": 18446744073709551615, "b": -9223372036854775808, "a": 2}"#,
            r#"{"CLIENT_MAP": {"@OWN1": ""}}"#,
            r#"{"a": "\ud83d\ude00\u2028\u0000"}"#,
        ]
        .map(fine),
    );
    cases
}

/// What people type wrong, and what is not as it was.
fn refused(names: &Names) -> Vec<Case> {
    let case =
        |name: &'static str, files: &[(&str, &str)], steps: &[&str]| Case::new(name, names, files, steps);
    let nobody = "http://127.0.0.1:9";
    let changed = [
        "--unchecked => 0 from now on",
        ".one/.caches := {",
        "--undo => 1 .caches: not one of ONE's",
        "--undo --force => 0 restored",
    ];
    let used = |own: &str, undo: &str| {
        let parameters = format!(
            r#".one/.@OWN1 := {{"ALYX_URL": "@FIRST", "HTTP_DATA_SERVER": "{own}", "HTTP_DATA_SERVER_LOGIN": "they",
                "HTTP_DATA_SERVER_PWD": "their secret", "ALYX_LOGIN": "me", "TOKEN": {{"me": {{"token": "4567"}}}}}}"#
        );
        let steps = ["=> 0 changed ", &parameters, undo, "--undo --force => 0 restored"];
        let steps = &steps[..if undo.contains("=> 0") { 3 } else { 4 }];
        case("its own parameters, and ONE", &[(".one/.@OWN1", OTHER)], steps)
    };
    vec![
        case("its own parameters", &[(".one/.@OWN1", "[]")], &["--unchecked => 1 .@OWN1: not one of ONE's"]),
        case("its own parameters", &[(".one/.@OWN1", OTHER)], &["=> 0 changed ", "--undo => 0 restored"]),
        used("https://data.example.org", "--undo => 0 restored"),
        used("https://else.example.org", "--undo => 1 .@OWN1 has been changed since"),
        case("changed since", &[(".one/.caches", "{}")], &changed),
        case(
            "another database since",
            &THEIRS,
            &[
                "--unchecked => 0 from now on",
                r#".one/.caches := {"CLIENT_MAP": {"@OWN1": "/p", "other.example.org": "/o", "new": "/n"}, "DEFAULT": "@OWN1"}"#,
                "--undo => 0 other.example.org now",
                r#".one/.caches == {"CLIENT_MAP": {"other.example.org": "/o", "new": "/n"}, "DEFAULT": "other.example.org"}"#,
                r#".one/.caches := {"CLIENT_MAP": {"other.example.org": "@HOME/of them"}, "DEFAULT": "other.example.org"}"#,
            ],
        ),
        case(
            "another default since",
            &[(".one/.caches", "{}")],
            &[
                "--unchecked => 0 from now on",
                r#".one/.caches := {"CLIENT_MAP": {"@OWN1": "/p", "new": "/n"}, "DEFAULT": "new"}"#,
                "--undo --force => 0 new now",
                r#".one/.caches == {"CLIENT_MAP": {"new": "/n"}, "DEFAULT": "new"}"#,
                ".one/.caches := {}",
            ],
        ),
        case(
            "written anew since",
            &THEIRS,
            &[
                "--unchecked => 0 from now on",
                r#".one/.caches := {"DEFAULT": "@OWN1", "CLIENT_MAP": {"@OWN1": "/p", "other.example.org": "@HOME/of them"}}"#,
                "--undo => 0 restored",
            ],
        ),
        case(
            "a folder that is relative",
            &[(".one/.caches", r#"{"CLIENT_MAP": {"alyx.org": "~/ONE"}}"#)],
            &["--unchecked --like alyx.org => 1 the folder of alyx.org, ~/ONE, is no absolute path"],
        ),
        case("http, not https", &[], &["--url @HTTPS => 1 does not speak https; is it http?"]),
        case(
            "put back already",
            &[(".one/.caches", "{}")],
            &["=> 0 now on", ".one/.caches := {}", "--undo => 0 restored"],
        ),
        case("no proxy", &[], &[&*format!("--url {nobody} => 3 no proxy is running at {nobody}: ")]),
        case("not a proxy", &[], &["--url @ALYX => 1 is it an alyx-proxy?"]),
        case("a wrong path", &[], &["--url @FIRST/sessions => 1 is it an alyx-proxy?"]),
        case("elsewhere", &[], &["--url @PORTAL => 1 and sends to http://portal.example/"]),
        case("a portal", &[], &["--url @PORTAL/html => 1 answered with status 200: is it an alyx-proxy?"]),
        case(
            "no URL",
            &[],
            &[
                "--url http://lab:65536 => 2 must be an http",
                "--url http://lab/%2e./ => 2 must be an http",
                "--url ftp://lab => 2 must be an http",
                "--url http://a:b@lab => 2 must be an http",
            ],
        ),
        case(
            "flags",
            &[],
            &["--undo --dry-run => 2 --undo", "--force => 2 --undo", "--nothing => 2 --nothing"],
        ),
        case("flags", &[], &["--ca @HOME/none --url https://127.0.0.1:9 => 1 --ca @HOME/none: "]),
        case("no folder", &[], &["--unchecked => 1 .one"])
            .special(|home| fs::write(home.join(".one"), "").unwrap()),
        case("a home that is no folder", &[], &["--unchecked --home @HOME/file => 1 @HOME/file/.one"])
            .special(|home| fs::write(home.join("file"), "").unwrap()),
    ]
}

/// Homes in which nothing can be written, or not everything.
fn unwritable(names: &Names) -> Vec<Case> {
    let case =
        |name: &'static str, files: &[(&str, &str)], steps: &[&str]| Case::new(name, names, files, steps);
    let unwritable = |path: &'static str, special| {
        let words = "--unchecked => 1 Permission denied";
        case(path, &THEIRS, &[words]).special(special)
    };

    vec![
        unwritable("a home that can't be written", |home| {
            fs::remove_dir_all(home.join(".one")).unwrap();
            fs::set_permissions(home, Permissions::from_mode(0o500)).unwrap();
        }),
        unwritable("a folder that can't be written", |home| {
            fs::set_permissions(home.join(".one"), Permissions::from_mode(0o500)).unwrap();
        }),
        unwritable("data that can't be kept", |home| {
            fs::create_dir(home.join("Downloads")).unwrap();
            fs::set_permissions(home.join("Downloads"), Permissions::from_mode(0o500)).unwrap();
        }),
        unwritable("a file that can't be read", |home| {
            fs::set_permissions(home.join(".one/.caches"), Permissions::from_mode(0o000)).unwrap();
        }),
        // Where the last of the files can't be written, those before it are not, either.
        case("something in the way", &THEIRS, &["--unchecked => 1 .one/.caches: Is a directory"])
            .special(|home| fs::create_dir(home.join(".one/.caches.alyx-proxy-new")).unwrap()),
        case("a link to nothing", &[], &["--unchecked => 0 now on", "--undo => 0 removed"]).special(|home| {
            fs::create_dir(home.join(".one")).unwrap();
            symlink("../elsewhere", home.join(".one/.caches")).unwrap();
        }),
        case("a link to nowhere", &[], &["--unchecked => 1 gone/elsewhere: No such file"]).special(|home| {
            fs::create_dir(home.join(".one")).unwrap();
            symlink("../gone/elsewhere", home.join(".one/.caches")).unwrap();
        }),
        case("a link", &THEIRS, &["--unchecked => 0 now on", "--undo => 0 restored"]).special(|home| {
            fs::rename(home.join(".one/.caches"), home.join("kept elsewhere")).unwrap();
            symlink(home.join("kept elsewhere"), home.join(".one/.caches")).unwrap();
        }),
    ]
}
