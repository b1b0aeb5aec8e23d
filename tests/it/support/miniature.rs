//! The miniature Alyx with the users of the recordings.

use alyx_proxy::demo::{self, Miniature, Options, User};

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
