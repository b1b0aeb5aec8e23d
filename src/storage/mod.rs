//! What is stored, whichever engine keeps it: the types that several rooms share, and what seals secrets. The engine is
//! [`crate::store`].

pub mod seal;
pub mod types;
