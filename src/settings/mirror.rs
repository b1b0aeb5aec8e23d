use serde::{Deserialize, Serialize};

use super::value::Span;

/// `[mirror]`: whole tables of Alyx, kept here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mirror {
    /// How old a table may be to answer while Alyx can be reached.
    pub max_age: Span,
    /// How many answers a minute are repeated upstream and compared.
    pub verify: u32,
    /// The server's time zone.
    pub time_zone: String,
    /// The service account's token.
    pub token: String,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { max_age: Span::minutes(15), verify: 2, time_zone: "UTC".to_owned(), token: String::new() }
    }
}
