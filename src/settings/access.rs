use serde::{Deserialize, Serialize};

use super::value::Span;

/// `[access]`: who may ask. Tokens and log-ins are Alyx's; the proxy remembers that it accepted them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// While Alyx can be reached: how long a token counts as accepted before Alyx is asked again.
    pub recheck: Span,
    /// While Alyx is away: how long after its last acceptance a token or log-in still counts.
    pub grace: Span,
    /// Paths (and what lies below them) whose answers are kept apart for each user.
    pub per_user: Vec<String>,
    /// Whether whoever can reach the proxy may read what it knows, with any token or none.
    pub open: bool,
    /// How long it is remembered what each user asked, for them alone; zero: not at all.
    pub history: Span,
    /// Failed log-ins of one user name from one address within `window` before further ones are refused there.
    pub attempts: u32,
    /// The time in which `attempts` are counted.
    pub window: Span,
    /// The token that `/-/api/` asks for; empty: one is made, in `admin-token` in the data directory.
    pub admin_token: String,
}

impl AccessSettings {
    /// Whether answers at this path are kept apart for each user (`per_user`).
    pub fn keeps_apart(&self, path: &str) -> bool {
        let below = |prefix: &String| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.per_user.iter().any(below)
    }
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            recheck: Span::minutes(15),
            grace: Span::days(30),
            per_user: vec!["/users".to_owned(), "/me".to_owned()],
            open: false,
            history: Span::days(30),
            attempts: 10,
            window: Span::minutes(10),
            admin_token: String::new(),
        }
    }
}
