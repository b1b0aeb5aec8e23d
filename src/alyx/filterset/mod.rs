//! What a list is asked for: the parameters of a request read as Alyx reads them (ALYX.md 2).
//!
//! Nothing here looks at records. What is read is refused as Alyx refuses it ([`AlyxError`]), or it is said
//! why it can't be decided here what Alyx would answer ([`Undecidable`]); no answer is ever guessed.

mod coerce;
pub(crate) mod compare;
pub(crate) mod digits;
pub(crate) mod django;
pub(crate) mod float_text;
pub(crate) mod form;
mod json_kinds;
pub(crate) mod json_lookup;
pub mod json_nulls;
mod jsonb;
pub(crate) mod lookups;
pub(crate) mod parse;
pub(crate) mod path;
pub(crate) mod python_literal;
pub(crate) mod regex;
mod related;
pub(crate) mod scalar;

use std::fmt;

use serde_json::{Map, Value, json};

/// An answer of Alyx's that is none of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlyxError {
    /// 400, 404 or 500.
    pub status: u16,
    /// The body in Alyx's own form (ALYX.md 4.3).
    pub body: String,
}

impl AlyxError {
    /// Invalid input: messages for each parameter, in the order of the filters.
    pub fn invalid<'a>(fields: impl IntoIterator<Item = (&'a str, Vec<String>)>) -> Self {
        let mut body = Map::new();
        for (field, messages) in fields {
            body.insert(field.to_owned(), json!(messages));
        }
        body.insert("status_code".to_owned(), json!(400));
        Self { status: 400, body: Value::Object(body).to_string() }
    }

    /// An exception in Alyx's own code: the status is the first key.
    pub fn failed(detail: &str) -> Self {
        Self { status: 500, body: json!({"status_code": 500, "detail": detail}).to_string() }
    }

    /// There is no such record.
    pub fn not_found(model: &str) -> Self {
        let detail = format!("No {model} matches the given query.");
        Self { status: 404, body: super::error_body::detail(404, &detail) }
    }
}

/// Why a question can't be decided here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undecidable {
    /// A table that it needs is not here.
    Missing {
        /// The endpoint of the table.
        endpoint: &'static str,
        /// Whether the details of its records are needed.
        details: bool,
    },
    /// The details of a few records, which it needs, are not here yet.
    Lacking {
        /// The endpoint of the table.
        endpoint: &'static str,
        /// The paths of the details.
        records: Vec<String>,
    },
    /// Of a table that it needs only a part is here, and the question is not within that part.
    OutOfScope {
        /// The endpoint of the table.
        endpoint: &'static str,
        /// The parameters that everything in the part fulfils.
        scope: Vec<(String, String)>,
    },
    /// Alyx could not give these records, on which the answer may depend, though it gave others.
    Unreadable {
        /// Which, why, and when each is asked for again.
        records: Vec<String>,
    },
    /// A record that is needed came with a snapshot, which its keys were left out of.
    KeysLeftOut {
        /// The endpoint.
        endpoint: &'static str,
    },
    /// It looks into records whose keys lie here sealed.
    KeysSealed {
        /// The endpoint.
        endpoint: &'static str,
    },
    /// A parameter whose answers lately differed from Alyx's.
    Distrusted {
        /// The endpoint.
        endpoint: &'static str,
        /// The parameter.
        parameter: String,
    },
    /// A parameter whose answers differ from Alyx's though the records do not.
    AtFault {
        /// The endpoint.
        endpoint: &'static str,
        /// The parameter.
        parameter: String,
    },
    /// To find the answer would take longer, or cost more, than a question may.
    TooCostly,
    /// This Alyx is none whose meaning is known.
    OtherAlyx {
        /// What it has otherwise than those that are; completes the sentence "This Alyx …".
        difference: String,
    },
    /// A column or record that Alyx shows nowhere; completes the sentence "This proxy can't know …".
    Hidden(String),
    /// Something that no table can tell; completes the sentence "This proxy can't …".
    Beyond(String),
}

impl Undecidable {
    /// What can't be done; completes the sentence "This proxy can't …".
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::Beyond(what.into())
    }

    /// One word for it, for `Cache-Status` and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { details: false, .. } => "not-mirrored",
            Self::Missing { details: true, .. } | Self::Lacking { .. } => "no-details",
            Self::OutOfScope { .. } => "out-of-scope",
            Self::Unreadable { .. } => "unreadable-record",
            Self::KeysLeftOut { .. } => "keys-left-out",
            Self::KeysSealed { .. } => "keys-sealed",
            Self::Distrusted { .. } => "distrusted",
            Self::AtFault { .. } => "rule-at-fault",
            Self::TooCostly => "too-costly",
            Self::OtherAlyx { .. } => "other-alyx",
            Self::Hidden(_) => "hidden",
            Self::Beyond(_) => "undecidable",
        }
    }

    /// What to do to have such questions answered here; none where nothing helps.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Missing { endpoint, details: false } => {
                Some(format!("Add \"{endpoint}\" to `mirror.endpoints` to have it next time."))
            }
            Self::Missing { endpoint, details: true } | Self::Lacking { endpoint, .. } => {
                Some(format!("Add \"{endpoint}\" to `mirror.details` to have it next time."))
            }
            Self::OutOfScope { endpoint, .. } => {
                Some(format!("Widen `mirror.scope.{endpoint}` to have it next time."))
            }
            Self::Unreadable { .. } => {
                Some("It is answered from here when Alyx has given what is missing; `alyx-proxy sync` asks at once.".to_owned())
            }
            Self::KeysLeftOut { .. } => {
                Some("It is answered when Alyx can be asked, or was asked by this proxy.".to_owned())
            }
            Self::Distrusted { .. } => {
                Some("It is trusted again when its tables have been read as a whole.".to_owned())
            }
            Self::AtFault { .. } => {
                Some("It stays so until Alyx or this program is another, or an administrator has it trusted again.".to_owned())
            }
            Self::KeysSealed { .. }
            | Self::TooCostly
            | Self::OtherAlyx { .. }
            | Self::Hidden(_)
            | Self::Beyond(_) => None,
        }
    }
}

impl fmt::Display for Undecidable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { endpoint, details: false } => {
                write!(f, "The table /{endpoint}, which is needed, is not mirrored here.")
            }
            Self::Missing { endpoint, details: true } | Self::Lacking { endpoint, .. } => {
                write!(f, "The details of /{endpoint}, which are needed, are not all mirrored here.")
            }
            Self::OutOfScope { endpoint, scope } => {
                let scope: Vec<String> =
                    scope.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "Of /{endpoint} only {} is mirrored here.", scope.join("&"))
            }
            Self::Unreadable { records } => {
                let many = if records.len() == 1 { "a record that is" } else { "records that are" };
                write!(f, "Alyx could not give {many} needed: {}.", records.join(", "))
            }
            Self::KeysLeftOut { endpoint } => {
                write!(f, "A record of /{endpoint} is needed, and its keys were left out of the snapshot.")
            }
            Self::KeysSealed { endpoint } => {
                write!(f, "This looks into records of /{endpoint} that hold keys, which lie here sealed.")
            }
            Self::Distrusted { endpoint, parameter } => {
                write!(f, "Answers to `{parameter}` of /{endpoint} lately differed from Alyx's.")
            }
            Self::AtFault { endpoint, parameter } => {
                let what = if parameter.is_empty() { String::new() } else { format!("`{parameter}` of ") };
                write!(f, "Answers to {what}/{endpoint} differ from Alyx's, though the records are the same.")
            }
            Self::TooCostly => {
                f.write_str("To find this in the tables here would cost more than one question may.")
            }
            Self::OtherAlyx { difference } => {
                write!(f, "This Alyx {difference}: what it means by this is not known here.")
            }
            Self::Hidden(what) => write!(f, "This proxy can't know {what}: Alyx shows it in no record."),
            Self::Beyond(what) => write!(f, "This proxy can't {what}."),
        }
    }
}

/// Why there are no records to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryError {
    /// Alyx itself refuses.
    Refused(AlyxError),
    /// It can't be decided here.
    Undecided(Undecidable),
}

/// What a question comes to, or why it has no answer here.
pub(crate) type QueryResult<T> = Result<T, QueryError>;

impl QueryError {
    /// Invalid input ([`AlyxError::invalid`]).
    pub(crate) fn invalid<'a>(fields: impl IntoIterator<Item = (&'a str, Vec<String>)>) -> Self {
        Self::Refused(AlyxError::invalid(fields))
    }

    /// An exception in Alyx's own code ([`AlyxError::failed`]).
    pub(crate) fn failed(detail: &str) -> Self {
        Self::Refused(AlyxError::failed(detail))
    }

    /// The same with a message that repeats a text as Python's `repr()` writes it. Where that is more than the
    /// text between quotation marks, the message is not known.
    pub(crate) fn failed_on(text: &str, detail: &str) -> Self {
        let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '\'' | '\\');
        if text.chars().all(plain) {
            return Self::failed(detail);
        }
        Self::beyond(&format!("repeat {text} as Python writes it"))
    }

    /// What Alyx shows nowhere ([`Undecidable::Hidden`]).
    pub(crate) fn hidden(what: &str) -> Self {
        Self::Undecided(Undecidable::Hidden(what.to_owned()))
    }

    /// What no table can tell ([`Undecidable::Beyond`]).
    pub(crate) fn beyond(what: &str) -> Self {
        Self::Undecided(Undecidable::unsupported(what))
    }
}

impl From<AlyxError> for QueryError {
    fn from(refusal: AlyxError) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Undecidable> for QueryError {
    fn from(undecided: Undecidable) -> Self {
        Self::Undecided(undecided)
    }
}

/// Columns and relations that hold secrets. Alyx follows any path and so lets them be guessed letter by letter
/// (ALYX.md 8, trap 12).
const SECRETS: [&str; 3] = ["password", "auth_token", "auth_tokens"];

/// The part of a question that asks for a secret; it is refused, whoever asks, and never passed on.
pub fn secret<'p>(endpoint: &super::Endpoint, pairs: &'p super::query_string::Pairs) -> Option<&'p str> {
    let asks = |(name, value): &(String, String)| match endpoint.filter(name).map(|filter| filter.input) {
        Some(super::filter::Input::Pairs) => {
            // What stands between brackets may hold commas; a field never does.
            value
                .split([',', '~', ' ', '[', ']', '(', ')'])
                .flat_map(|field| field.split("__"))
                .any(is_secret)
        }
        Some(_) => is_secret(name),
        None => false,
    };
    pairs.iter().find(|pair| asks(pair)).map(|(name, _)| name.as_str())
}

fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name.trim())
}

/// Reads the pairs of `django=`, or of a filter of a JSON column, as far as that needs no records: how many
/// they are, or why Alyx refuses them.
pub fn check_pairs(endpoint: &super::Endpoint, text: &str) -> Result<usize, QueryError> {
    if endpoint.filter("django").is_none() {
        return django::json_tests(text)?.try_fold(0, |count, test| test.map(|_| count + 1));
    }
    let pairs = django::pairs(text)?;
    for (field, value) in &pairs {
        django::LookupPair::new(endpoint.name, field, value)?;
    }
    Ok(pairs.len())
}
