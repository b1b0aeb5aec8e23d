//! The miniature Alyx with the users of the recordings.

use alyx_proxy::{
    alyx::record,
    demo::{self, Miniature, Options, User},
};

use super::users;

/// Starts one.
pub async fn start(options: Options) -> Miniature {
    demo::start(Options { users: everybody(), ..options }).await.unwrap()
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

/// What a miniature with plain options says to its one user.
pub async fn get(alyx: &Miniature, path: &str) -> String {
    let token = &Options::default().users[0].token;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{}{path}", alyx.url())).header("Accept", "application/json");
    let request = request.header("Authorization", format!("Token {token}"));
    request.send().await.unwrap().text().await.unwrap()
}

/// The records of a whole list, in its order, as texts.
pub async fn list(alyx: &Miniature, endpoint: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let text = get(alyx, &format!("/{endpoint}?limit=1000&offset={}", found.len())).await;
        let results = record::fields(&text).find(|(key, _)| *key == "results").unwrap().1;
        let page: Vec<String> = record::members(results).map(str::to_owned).collect();
        let last = page.len() < 1000;
        found.extend(page);
        if last {
            return found;
        }
    }
}
