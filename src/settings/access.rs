use serde::{Deserialize, Serialize};

use super::value::Span;

/// `[access]`: who may ask. Tokens and log-ins are Alyx's; the proxy remembers that it accepted them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// While Alyx can be reached: how long a token counts as accepted before Alyx is asked again.
    pub token_ttl: Span,
    /// While Alyx is away: how long after its last acceptance a token or log-in still counts.
    pub grace: Span,
    /// Paths (and what lies below them) whose answers are kept apart for each user.
    pub private_paths: Vec<String>,
    /// Whether whoever can reach the proxy may read what it knows, with any token or none.
    pub anonymous: bool,
    /// How long it is remembered what each user asked, for them alone; zero: not at all.
    pub query_history: Span,
    /// Failed log-ins of one user name from one address within `login_window` before further ones are refused there.
    pub login_attempts: u32,
    /// The time in which `login_attempts` are counted.
    pub login_window: Span,
    /// The token that `/-/api/` asks for; empty: one is made, in `admin-token` in the data directory.
    pub admin_token: String,
}

impl AccessSettings {
    /// Whether answers at this path are kept apart for each user (`per_user`).
    pub fn keeps_apart(&self, path: &str) -> bool {
        let below = |prefix: &String| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.private_paths.iter().any(below)
    }
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            token_ttl: Span::minutes(15),
            grace: Span::days(30),
            private_paths: vec!["/users".to_owned(), "/me".to_owned()],
            anonymous: false,
            query_history: Span::days(30),
            login_attempts: 10,
            login_window: Span::minutes(10),
            admin_token: String::new(),
        }
    }
}
