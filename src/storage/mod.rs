//! What is stored, whichever engine keeps it: so far the types that several rooms share. The engine is [`crate::store`].

pub mod types;
