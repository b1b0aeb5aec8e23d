//! The truth about who may come in, as one table: the password is right, wrong, or of somebody whom nobody knows; it has been
//! accepted here before, or not; and Alyx answers a log-in in each way there is. For clients, and for the page.
//!
//! 400 only where the password is known to be wrong, 401 and 403 only where Alyx says so, 504 where nobody can tell; and the
//! right password comes in wherever anybody here can know it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{
    Fault, Lab, Proxy, Setup,
    lens::{Broken, Lens},
    tried, users,
};

/// How Alyx takes a log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alyx {
    Online,
    /// It takes its time.
    Slow,
    /// The log-in alone fails so.
    Fails(Broken),
    /// Nothing listens.
    Away,
}

const STATES: [Alyx; 13] = [
    // A 400 that does not speak of name or password.
    Alyx::Fails(Broken::Status(400)),
    Alyx::Fails(Broken::Status(401)),
    Alyx::Fails(Broken::Status(403)),
    Alyx::Fails(Broken::Status(404)),
    Alyx::Fails(Broken::Status(500)),
    Alyx::Fails(Broken::Status(502)),
    Alyx::Fails(Broken::NotRouted),
    Alyx::Fails(Broken::Html),
    Alyx::Fails(Broken::CutJson),
    Alyx::Fails(Broken::Redirect),
    Alyx::Fails(Broken::Silence),
    Alyx::Slow,
    Alyx::Online,
];

/// Name, password, whether it is right, and whether Alyx has accepted this name here before.
const LOG_INS: [(&str, &str, bool, bool); 5] = [
    (users::ONEUSER.name, users::ONEUSER.password, true, true),
    (users::ONEUSER.name, "wrong", false, true),
    (users::ADMIN.name, "wrong", false, false),
    ("nobody", "wrong", false, false),
    // The last: where Alyx answers, it is known here from then on.
    (users::ADMIN.name, users::ADMIN.password, true, false),
];

/// What may be said.
fn expected(alyx: Alyx, right: bool, sealed: bool) -> &'static [u16] {
    match alyx {
        Alyx::Online | Alyx::Slow if right => &[200],
        Alyx::Online | Alyx::Slow => &[400],
        Alyx::Fails(Broken::Status(401)) => &[401],
        Alyx::Fails(Broken::Status(403)) => &[403],
        _ if sealed && right => &[200],
        Alyx::Away if sealed => &[400],
        // Not the one that Alyx accepted last; where Alyx may know a newer one, nobody can tell.
        Alyx::Fails(_) if sealed => &[400, 504],
        _ => &[504],
    }
}

async fn by_client(proxy: &Proxy, name: &str, password: &str) -> u16 {
    let ask = proxy.client().anonymous().ask("POST", "/auth-token");
    let answer = ask.form(&[("username", name), ("password", password)]).send().await;
    let said = answer.text();
    assert!(answer.status != 400 || said.contains("Unable to log in with provided credentials."), "{said}");
    answer.status.as_u16()
}

/// As a browser does: the page again, with the reason, or on to the pages that show Alyx's records.
async fn by_page(proxy: &Proxy, form: &[(&str, &str)]) -> u16 {
    let answer = proxy.client().anonymous().ask("POST", "/-/login").form(form).send().await;
    match answer.status.as_u16() {
        303 => {
            let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap();
            let page = proxy.client().anonymous().ask("GET", "/-/explore").header("cookie", cookie);
            page.send().await.expect(200);
            200
        }
        status => status,
    }
}

struct Table {
    lab: Lab,
    lens: Lens,
    proxy: Proxy,
    cells: AtomicUsize,
}

impl Table {
    async fn open() -> Self {
        let lab = Lab::open().await;
        let lens = Lens::before(&lab.url()).await;
        let proxy = Setup::new(&lens.url())
            .set("upstream.timeout", "3s")
            .set("upstream.retries", "0")
            .set("access.login_attempts", "1000")
            .start()
            .await;
        assert_eq!(by_client(&proxy, users::ONEUSER.name, users::ONEUSER.password).await, 200);
        Self { lab, lens, proxy, cells: AtomicUsize::new(0) }
    }

    async fn is(&self, alyx: Alyx) {
        self.lens.mend();
        self.lab.upstream.behave(Fault::None);
        self.proxy.until_upstream_is("up").await;
        match alyx {
            Alyx::Online | Alyx::Away => {}
            Alyx::Slow => self.lab.upstream.behave(Fault::Slow(1_500)),
            Alyx::Fails(broken) => self.lens.break_at("/auth-token", broken),
        }
    }

    async fn log_ins(&self, alyx: Alyx) {
        for (name, password, right, sealed) in LOG_INS {
            let about = format!("{alyx:?}: {name} {password}");
            if alyx != Alyx::Away {
                self.is(alyx).await;
            }
            let told = by_client(&self.proxy, name, password).await;
            assert!(expected(alyx, right, sealed).contains(&told), "{about}: {told}");
            if alyx != Alyx::Away {
                self.is(alyx).await;
            }
            let told = by_page(&self.proxy, &[("username", name), ("password", password)]).await;
            assert!(expected(alyx, right, sealed).contains(&told), "{about}, by the page: {told}");
            self.cells.fetch_add(2, Ordering::Relaxed);
        }
    }

    /// A pasted token: one that Alyx has accepted here, and one that it never has.
    async fn tokens(&self, alyx: Alyx, known: u16, unknown: u16) {
        for (token, expected) in [(users::ONEUSER.token, known), (users::UNKNOWN_TOKEN, unknown)] {
            let told = by_page(&self.proxy, &[("token", token)]).await;
            assert_eq!(told, expected, "{alyx:?}: a token, by the page");
            self.cells.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whoever_knows_says_that_a_password_is_wrong() {
    let table = Table::open().await;
    for alyx in STATES {
        table.log_ins(alyx).await;
    }
    table.tokens(Alyx::Online, 200, 403).await;
    tried("log-ins while Alyx is there", table.cells.into_inner());
}

/// With nothing stored: also what a page asks first.
#[tokio::test(flavor = "multi_thread")]
async fn while_alyx_is_away_the_right_password_comes_in_though_nothing_is_stored() {
    let mut table = Table::open().await;
    table.lens = Lens::before(&table.lab.url()).await;
    table.proxy = table.proxy.restart().await;
    table.proxy.get("/weighings").await;
    table.proxy.until_upstream_is("down").await;
    table.log_ins(Alyx::Away).await;
    table.tokens(Alyx::Away, 200, 504).await;
    tried("log-ins while Alyx is away", table.cells.into_inner());
}
