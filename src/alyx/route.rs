//! Which part of Alyx a path belongs to (ALYX.md 1).

use super::{Class, DetailKey, Endpoint};

/// What a path addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/<endpoint>`: a list of records.
    List(&'static Endpoint),
    /// `/<endpoint>/<key>`: one record; the key is decoded.
    Detail(&'static Endpoint, String),
    /// Something else of the REST interface.
    Service(Service),
    /// Not REST: admin pages, static files, or nothing at all.
    Other,
}

/// REST paths that are not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// `/auth-token`
    AuthToken,
    /// `/me`
    Me,
    /// `/api/schema`
    Schema,
    /// `/docs`, `/docs/`
    Docs,
    /// `/cache.zip`
    CacheZip,
    /// `/cache/info[/<tag>][/]`
    CacheInfo,
    /// `/check-protected`
    CheckProtected,
    /// `/register-file`
    RegisterFile,
    /// `/new-download`
    NewDownload,
    /// `/sync-file-status`
    SyncFileStatus,
    /// `/water-requirement/<nickname>`
    WaterRequirement,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AuthToken,
        Self::Me,
        Self::Schema,
        Self::Docs,
        Self::CacheZip,
        Self::CacheInfo,
        Self::CheckProtected,
        Self::RegisterFile,
        Self::NewDownload,
        Self::SyncFileStatus,
        Self::WaterRequirement,
    ];
}

impl Route {
    /// How fast the answer to a GET of it goes out of date; none where it is never kept.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::List(endpoint) | Self::Detail(endpoint, _) => Some(endpoint.asked),
            Self::Service(service) => service.class(),
            Self::Other => None,
        }
    }

    /// Whether it is a description of the interface: that Alyx has none is an answer of its own, in HTML.
    pub fn is_description(&self) -> bool {
        matches!(self, Self::Service(Service::Schema | Service::Docs))
    }

    /// The methods that Alyx allows here, as its `Allow` lists them.
    pub fn methods(&self) -> String {
        let more: &[&str] = match self {
            Self::List(endpoint) if endpoint.create => &["POST"],
            Self::Detail(endpoint, _) => endpoint.detail.map_or(&[], |detail| detail.writes),
            Self::List(_) | Self::Service(_) | Self::Other => &[],
        };
        [&["GET"], more, &["HEAD", "OPTIONS"]].concat().join(", ")
    }
}

impl Service {
    /// Whether a GET of it may be remembered (ALYX.md 5), and as what.
    pub fn class(self) -> Option<Class> {
        match self {
            Self::Me => Some(Class::Records),
            Self::Schema | Self::Docs => Some(Class::Schema),
            Self::CacheZip | Self::CacheInfo => Some(Class::Tables),
            Self::WaterRequirement => Some(Class::Volatile),
            Self::AuthToken
            | Self::CheckProtected
            | Self::RegisterFile
            | Self::NewDownload
            | Self::SyncFileStatus => None,
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthToken => "auth-token",
            Self::Me => "me",
            Self::Schema => "api/schema",
            Self::Docs => "docs",
            Self::CacheZip => "cache.zip",
            Self::CacheInfo => "cache/info",
            Self::CheckProtected => "check-protected",
            Self::RegisterFile => "register-file",
            Self::NewDownload => "new-download",
            Self::SyncFileStatus => "sync-file-status",
            Self::WaterRequirement => "water-requirement",
        }
    }

    /// Whether Alyx answers it without a token (ALYX.md 1, "open").
    pub fn open(self) -> bool {
        !matches!(self, Self::Me | Self::CacheZip | Self::CacheInfo | Self::WaterRequirement)
    }
}

/// A path that tells whether Alyx is there: it answers 405 in JSON, without credentials, without
/// touching its database, and without counting it against anyone's throttle (ALYX.md 4.1, 4.2).
pub const LOOK: &str = "/auth-token";

/// Where a user name and a password are exchanged for a token.
pub const LOG_IN: &str = "/auth-token";

/// Where Django redirects a request whose path lacks its closing slash (`APPEND_SLASH`, ALYX.md 5).
pub fn appended_slash(route: &Route, path: &str) -> Option<String> {
    let lacks = matches!(route, Route::Service(Service::CacheInfo | Service::Docs)) && !path.ends_with('/');
    lacks.then(|| format!("{path}/"))
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Endpoint {}

/// Classifies a path. `segments` are the decoded segments between slashes, without the leading
/// empty one: `/sessions/1` is `["sessions", "1"]`, `/docs/` is `["docs", ""]`.
pub fn classify(segments: &[&str]) -> Route {
    let service = match segments {
        ["auth-token"] => Some(Service::AuthToken),
        ["me"] => Some(Service::Me),
        ["api", "schema"] => Some(Service::Schema),
        ["docs"] | ["docs", ""] => Some(Service::Docs),
        ["cache.zip"] => Some(Service::CacheZip),
        ["cache", "info"] | ["cache", "info", ""] => Some(Service::CacheInfo),
        ["cache", "info", tag] | ["cache", "info", tag, ""] if is_word(tag) => Some(Service::CacheInfo),
        ["check-protected"] => Some(Service::CheckProtected),
        ["register-file"] => Some(Service::RegisterFile),
        ["new-download"] => Some(Service::NewDownload),
        ["sync-file-status"] => Some(Service::SyncFileStatus),
        ["water-requirement", nickname] if is_name(nickname) => Some(Service::WaterRequirement),
        _ => None,
    };
    if let Some(service) = service {
        return Route::Service(service);
    }
    let Some(endpoint) = segments.first().and_then(|name| Endpoint::named(name)) else {
        return Route::Other;
    };
    match (segments, endpoint.detail) {
        ([_], _) => Route::List(endpoint),
        // Alyx has a second path to this list, ignores the name in it, and lists everything.
        (["water-type", name], _) if is_name(name) => Route::List(endpoint),
        ([_, key], Some(detail)) if detail.key.accepts(key) => Route::Detail(endpoint, (*key).to_owned()),
        _ => Route::Other,
    }
}

/// What the regular expression `\w+` of Python takes: letters, digits and underscores.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// What Alyx takes for a name in a path. A slash that came encoded parts the path like any other there, and for
/// the null character its database has no answer.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\0'])
}

impl DetailKey {
    /// Whether Alyx routes this text to the detail view; otherwise its answer is an HTML 404.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Uuid => {
                text.len() == 36
                    && text.bytes().enumerate().all(|(i, b)| match i {
                        8 | 13 | 18 | 23 => b == b'-',
                        _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
                    })
            }
            Self::Integer => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
            Self::Name(_) => is_name(text),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn route(path: &str) -> Route {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        classify(&segments)
    }

    fn endpoint(name: &str) -> &'static Endpoint {
        Endpoint::named(name).unwrap()
    }

    #[test]
    fn lists_and_details() {
        let id = "023ace13-3a84-44c0-a277-4c4253cb37d1";
        assert_eq!(route("/sessions"), Route::List(endpoint("sessions")));
        assert_eq!(route(&format!("/sessions/{id}")), Route::Detail(endpoint("sessions"), id.to_owned()));
        assert_eq!(route("/subjects/KS 0/+~"), Route::Other);
        assert_eq!(route("/brain-regions/315"), Route::Detail(endpoint("brain-regions"), "315".to_owned()));
        assert_eq!(route("/water-type/Hydrogel"), Route::List(endpoint("water-type")));
    }

    #[test]
    fn a_name_has_no_slash_in_it() {
        for endpoint in ["locations", "subjects", "water-type", "water-requirement"] {
            for name in ["slash / loc", "/", "\0"] {
                assert_eq!(classify(&[endpoint, name]), Route::Other, "{endpoint} {name}");
            }
        }
    }

    #[test]
    fn what_alyx_does_not_route() {
        for path in [
            "/",
            "/sessions/",
            "/Sessions",
            "/sessions/not-a-uuid",
            "/sessions/023ACE13-3A84-44C0-A277-4C4253CB37D1",
            "/sessions/023ace13-3a84-44c0-a277-4c4253cb37d1/",
            "/brain-regions/CA1",
            "/brain-regions/-3",
            "/procedures/Imaging",
            "/water-restriction/KS004",
            "/cache/info/no-pe/",
            "/uploaded/2024/01/01/a.png",
        ] {
            assert_eq!(route(path), Route::Other, "{path}");
        }
    }

    #[test]
    fn services() {
        assert_eq!(route("/cache/info"), Route::Service(Service::CacheInfo));
        assert_eq!(route("/cache/info/"), Route::Service(Service::CacheInfo));
        assert_eq!(route("/cache/info/2022_Q4_IBL_et_al_BWM/"), Route::Service(Service::CacheInfo));
        assert_eq!(route("/water-requirement/KS004"), Route::Service(Service::WaterRequirement));
        assert_eq!(route("/docs/"), Route::Service(Service::Docs));
    }
}
