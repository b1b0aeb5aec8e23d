//! Names of what is stored.

/// The hash of a canonical key: names a question, however it is spelled.
pub type CacheKey = [u8; 32];

/// A token's keyed hash: names a token without telling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);
