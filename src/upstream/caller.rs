//! Whom Alyx counts a request for, and what each may have of the pace and the places that there are.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderValue;

/// Whom Alyx counts a request for (ALYX.md 4.2). Those without a token have no name: they come from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A user: a name for the token that does not tell it.
    User([u8; 32]),
    /// All whose tokens Alyx has yet to accept: anybody can make up any number of them.
    Unverified,
    /// Who logs in from a network. Alyx counts all of them, and those without a token, as one.
    LogIn(IpAddr),
    /// All who ask for the pages that describe the interface, which Alyx counts by themselves.
    Docs,
}

impl Caller {
    /// The user with the token in this field, whoever spelled it.
    pub fn of(authorization: &HeaderValue) -> Self {
        let words = authorization.as_bytes().rsplit(u8::is_ascii_whitespace);
        let token = words.into_iter().find(|word| !word.is_empty()).unwrap_or_default();
        Self::User(*blake3::hash(token).as_bytes())
    }

    /// A name for each, of which nobody but a keyed hash is told.
    pub(super) fn name(who: Option<&Self>) -> Vec<u8> {
        match who {
            Some(Self::User(hash)) => [b"user ".as_slice(), hash].concat(),
            Some(Self::LogIn(from)) => format!("log-in {from}").into_bytes(),
            Some(Self::Unverified) => b"unverified".to_vec(),
            Some(Self::Docs) => b"docs".to_vec(),
            None => b"nobody".to_vec(),
        }
    }

    /// Whether Alyx has accepted them.
    pub(super) fn is_user(who: Option<&Self>) -> bool {
        matches!(who, Some(Self::User(_)))
    }

    /// Whose share of the places they have: users one each, all strangers one together, and all who log in.
    pub(super) fn share(who: Option<&Self>) -> Option<Self> {
        match who? {
            Self::LogIn(_) => Some(Self::LogIn(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
            user @ Self::User(_) => Some(*user),
            Self::Unverified | Self::Docs => None,
        }
    }

    /// As whom Alyx counts them.
    pub(super) fn counted(who: Option<&Self>) -> Option<Self> {
        who.copied().filter(|who| !matches!(who, Self::LogIn(_)))
    }

    /// Whom only a part of a user's pace is for: of what Alyx counts as one they leave others the rest.
    pub(super) fn is_part(who: Option<&Self>) -> bool {
        matches!(who, None | Some(Self::LogIn(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_however_it_is_spelled() {
        let of = |field| Caller::of(&HeaderValue::from_static(field));
        assert_eq!(of("Token abc"), of("token  abc"));
        assert_ne!(of("Token abc"), of("Token abd"));
    }
}
