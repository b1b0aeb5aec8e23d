//! Who may ask: tokens and log-ins that Alyx has accepted.
//!
//! The proxy gives nobody anything that Alyx would not give them. A token counts once Alyx has
//! answered it with success; while Alyx can be reached it is confirmed anew every `access.recheck`,
//! while Alyx is away it goes on counting for `access.grace`. Tokens are kept as keyed hashes only;
//! for log-ins offline a token is sealed under the user's password ([`login`]).

pub mod admin;
mod attempts;
mod credentials;
mod form;
mod history;
mod login;
mod private;
mod secret;
mod tokens;

pub use admin::Admin;
pub use attempts::Attempts;
pub use credentials::{Credentials, credentials};
pub use form::Given;
pub use history::{History, Past};
pub use login::{Attempt, LogIn, Logins, Presented};
pub use secret::{SecretError, SecretKey, TokenHash};
pub use tokens::{Standing, Tokens};
