//! Who may ask: tokens and log-ins that Alyx has accepted.
//!
//! The proxy gives nobody anything that Alyx would not give them. A token counts once Alyx has
//! answered it with success; while Alyx can be reached it is confirmed anew every `access.token_ttl`,
//! while Alyx is away it goes on counting for `access.grace`. Tokens are kept as keyed hashes only;
//! for log-ins offline a token is sealed under the user's password ([`login`]).

pub mod admin_token;
mod credentials;
mod login_form;
mod login_throttle;
mod offline_login;
pub(crate) mod private_file;
mod secret_key;
mod token_cache;

pub use admin_token::{AdminToken, Admission};
pub use credentials::{Credentials, credentials};
pub use login_form::LoginForm;
pub use login_throttle::LoginThrottle;
pub use offline_login::{Attempt, LogIn, OfflineLogins, Presented};
pub use secret_key::{SecretError, SecretKey};
pub use token_cache::{TokenCache, TokenStatus};
