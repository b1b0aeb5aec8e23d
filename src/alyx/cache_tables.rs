//! ONE's cache tables: what Alyx itself writes for ONE's `local` mode (ALYX.md 5.1).

/// The endpoint that the sessions' table is made of.
pub const SESSIONS: &str = "sessions";
/// The endpoint that the datasets' table is made of.
pub const DATASETS: &str = "datasets";
/// The endpoint that says which repositories count.
pub const REPOSITORIES: &str = "data-repository";

/// The oldest ONE that reads these tables.
pub const MIN_API_VERSION: &str = "2.10";

/// The names of the members of `cache.zip`.
pub mod members {
    /// The table of sessions.
    pub const SESSIONS: &str = "sessions.pqt";
    /// The table of datasets.
    pub const DATASETS: &str = "datasets.pqt";
    /// What they are.
    pub const INFO: &str = "cache_info.json";
}

/// The words for a dataset's quality, in ascending order, and the number that each stands for in the database.
pub const QUALITY: [(i64, &str); 5] =
    [(0, "NOT_SET"), (10, "PASS"), (30, "WARNING"), (40, "FAIL"), (50, "CRITICAL")];

/// The records of [`SESSIONS`] that go in, as SQL over the mirror's tables: only those that have all that ONE needs.
/// Columns: id, lab, subject, start (microseconds), number, task protocol, projects.
pub const SESSION_ROWS: &str = "
    SELECT s.id, s.lab, s.subject, s.start_time, s.number, s.task_protocol,
           (SELECT group_concat(key, ',') FROM
               (SELECT DISTINCT p.key FROM sessions__projects p WHERE p.n = s.n ORDER BY p.key))
    FROM sessions s
    WHERE s.lab IS NOT NULL AND s.subject IS NOT NULL AND s.start_time IS NOT NULL AND s.number IS NOT NULL
    ORDER BY s.start_time / 86400000000 DESC, s.subject, s.number DESC";

/// The records of [`DATASETS`] that go in: those that belong to a session, and exist on a repository that is nobody's
/// own, where there are such repositories. That is what Alyx shows with a session (ALYX.md 3.2), and so what ONE's
/// `remote` mode lists; Alyx's own command asks for repositories whose names begin with `flatiron` or `aws` instead, as
/// those of its public archive do.
/// Columns: session, id, size, hash, default, quality, collection, revision, name.
pub const DATASET_ROWS: &str = "
    SELECT d.session, d.id, d.file_size, d.hash, d.default_dataset, d.qc, d.collection, d.revision, d.name
    FROM datasets d
    WHERE d.session IS NOT NULL
      AND (NOT EXISTS (SELECT 1 FROM data_repository WHERE globus_is_personal = 0)
           OR EXISTS (SELECT 1 FROM datasets__file_records f JOIN data_repository r ON r.name = f.data_repository
                      WHERE f.n = d.n AND f.\"exists\" = 1 AND r.globus_is_personal = 0))
    ORDER BY d.session, d.id";
