//! Who asks for a file: credentials for the data server, which are none of Alyx's.

use std::fmt;

use http::{HeaderMap, HeaderValue, header};

use crate::auth::SecretKey;

/// Credentials for the data server. Alyx's tokens are none: they are never sent there.
#[derive(Clone)]
pub(crate) struct DataCredentials {
    /// Their keyed hash, that of nothing where there are none.
    hash: [u8; 32],
    /// The field as it came, marked sensitive.
    field: Option<HeaderValue>,
}

impl fmt::Debug for DataCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.field.is_some() { "DataCredentials(…)" } else { "DataCredentials(none)" })
    }
}

impl DataCredentials {
    /// Reads a request's; none of several, of which servers make different things.
    pub(crate) fn of(headers: &HeaderMap, key: &SecretKey) -> Option<Self> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (field, None) = (fields.next(), fields.next()) else { return None };
        let is_basic = |field: &&HeaderValue| {
            field.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
        };
        let text = field.filter(is_basic).and_then(|field| Some((field, field.to_str().ok()?)));
        Some(match text {
            Some((field, text)) => {
                let mut field = field.clone();
                field.set_sensitive(true);
                Self { hash: key.data_credentials(text[6..].trim()), field: Some(field) }
            }
            None => Self { hash: key.data_credentials(""), field: None },
        })
    }

    /// Their keyed hash.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Whether there are any.
    pub(crate) fn are_given(&self) -> bool {
        self.field.is_some()
    }

    /// The fields of a request to the data server that is made with them.
    pub(crate) fn fields(&self) -> HeaderMap {
        self.field.iter().map(|field| (header::AUTHORIZATION, field.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_basic_credentials_go_to_the_data_server() {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::of(folder.path()).unwrap();
        let of = |fields: &[&'static str]| {
            let fields = fields.iter().map(|field| (header::AUTHORIZATION, HeaderValue::from_static(field)));
            DataCredentials::of(&fields.collect(), &key)
        };
        let none = of(&[]).unwrap();
        for other in ["Token abc", "Bearer abc", "", "Basic"] {
            let other = of(&[other]).unwrap();
            assert!(!other.are_given() && other.hash() == none.hash() && other.fields().is_empty());
        }
        let (one, same, other) = (of(&["Basic YTpi"]), of(&["basic  YTpi"]), of(&["Basic YTpj"]));
        let (one, same, other) = (one.unwrap(), same.unwrap(), other.unwrap());
        assert_eq!(one.hash(), same.hash());
        assert!(one.hash() != other.hash() && one.hash() != none.hash());
        assert!(!format!("{one:?} {:?}", one.fields()).contains("YTpi"));
        assert!(of(&["Basic YTpi", "Basic YTpj"]).is_none());
    }
}
