//! File ▸ environment ▸ flags: where settings come from.
