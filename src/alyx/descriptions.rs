//! The descriptions of the interface, which clients ask for before anything else, in the forms in which ONE asks for them
//! (ALYX.md 5, 9.1): an older one where Alyx has none of the newer.

/// A description, and the media type by which ONE asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptionDocument {
    /// Its path, with its closing slash.
    pub path: &'static str,
    /// What `Accept` says.
    pub accept: &'static str,
}

/// The newer one.
pub const OPENAPI: DescriptionDocument =
    DescriptionDocument { path: "/api/schema", accept: "application/vnd.oai.openapi+json" };
/// The older one.
pub const COREAPI: DescriptionDocument =
    DescriptionDocument { path: "/docs/", accept: "application/coreapi+json" };

/// All of them.
pub const DESCRIPTIONS: [DescriptionDocument; 2] = [OPENAPI, COREAPI];

/// The description at this path.
pub fn at(path: &str) -> Option<DescriptionDocument> {
    DESCRIPTIONS.into_iter().find(|description| description.path == path)
}
