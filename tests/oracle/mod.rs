//! A deliberately slow second implementation of Alyx's filters, which looks at every record, and the properties that hold
//! the mirror's SQL against it. It is no part of the program: its unit tests alone are made of it.

pub(crate) mod ask;
mod list;
mod properties;
