//! The miniature Alyx with the users of the recordings.

use alyx_proxy::{
    alyx::record,
    miniature::{self as demo, Miniature, Options, User},
};

use super::users;

/// Starts one.
pub async fn start(options: Options) -> Miniature {
    demo::start(Options { users: everybody(), ..options }).await.unwrap()
}

/// The same that knows its own user, too.
pub async fn start_for_all() -> Miniature {
    let users = [everybody(), Options::default().users].concat();
    demo::start(Options { users, ..Options::default() }).await.unwrap()
}

/// The users of the recordings, as the miniature knows them.
pub fn everybody() -> Vec<User> {
    let user = |user: users::User| User {
        name: user.name.to_owned(),
        password: user.password.to_owned(),
        token: user.token.to_owned(),
        public: user.name == users::PUBLIC.name,
    };
    users::ALL.map(user).to_vec()
}

/// A client for all tests: to make one takes long. It keeps no connection, as each test has a runtime of its own.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap())
}

/// What a miniature with plain options says to its one user.
pub async fn get(alyx: &Miniature, path: &str) -> String {
    get_at(&alyx.url(), path).await
}

/// The same of what stands before it.
pub async fn get_at(url: &str, path: &str) -> String {
    let token = &Options::default().users[0].token;
    let request = client().get(format!("{url}{path}")).header("Accept", "application/json");
    let request = request.header("Authorization", format!("Token {token}"));
    request.send().await.unwrap().text().await.unwrap()
}

/// The records of a whole list, in its order, as texts.
pub async fn list(alyx: &Miniature, endpoint: &str) -> Vec<String> {
    list_at(&alyx.url(), endpoint).await
}

/// The same of what stands before it.
pub async fn list_at(url: &str, endpoint: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let text = get_at(url, &format!("/{endpoint}?limit=1000&offset={}", found.len())).await;
        let results = record::fields(&text).find(|(key, _)| *key == "results").unwrap().1;
        let page: Vec<String> = record::members(results).map(str::to_owned).collect();
        let last = page.len() < 1000;
        found.extend(page);
        if last {
            return found;
        }
    }
}
