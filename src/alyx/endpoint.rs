//! The endpoints that keep records: lists with filters, and details by a key.

/// How fast the answers of an endpoint go out of date; the settings give each class its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Changed rarely, by administrators.
    Reference,
    /// Written by experiments and analyses.
    Records,
    /// Must be current: polled for work to do, or computed anew at each request.
    Volatile,
    /// The description of the interface.
    Schema,
    /// ONE's cache tables.
    Tables,
}

/// What the last segment of a detail path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// A UUID in its lower-case dashed form.
    Uuid,
    /// A whole number.
    Integer,
    /// A name, exact and case-sensitive, without `/`.
    Name(&'static str),
}

/// `/<endpoint>/<key>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// What the key is.
    pub key: Key,
    /// Methods besides GET and HEAD.
    pub writes: &'static [&'static str],
}

/// An endpoint with a list of records.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The path's first segment, e.g. `sessions`.
    pub name: &'static str,
    /// The model's name as Alyx's messages have it, e.g. `Session`.
    pub model: &'static str,
    /// How fast its answers go out of date.
    pub class: Class,
    /// Whether its list accepts POST.
    pub create: bool,
    /// Its detail route, if there is one.
    pub detail: Option<Detail>,
}

const WRITE: &[&str] = &["PUT", "PATCH", "DELETE"];

/// Every endpoint that lists records (REST.md 1).
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "sessions",
        model: "Session",
        class: Class::Records,
        create: true,
        detail: Some(Detail { key: Key::Uuid, writes: WRITE }),
    },
    Endpoint {
        name: "labs",
        model: "Lab",
        class: Class::Reference,
        create: true,
        detail: Some(Detail { key: Key::Name("name"), writes: WRITE }),
    },
];
