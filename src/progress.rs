//! Telling how far a long piece of work has come.

/// How far a long piece of work has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is being done, for people: `checking`, `sessions`, `answers`.
    pub what: &'a str,
    /// How much of it is done: bytes or records.
    pub done: u64,
    /// How much there is; 0 where that is not known.
    pub total: u64,
}

/// Is told how far the work has come.
pub type Tell<'a> = &'a (dyn Fn(Progress<'_>) + Sync);
