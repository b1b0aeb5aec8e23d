//! The recorder behind `/-/metrics`, and what each metric means.

use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Bounds of the histograms of times: from a hit in memory to Alyx's slowest answers, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Counters without labels. They stand at zero from the start: a rise from nothing to one is none to Prometheus.
const COUNTERS: [(&str, &str); 19] = [
    (
        "alyx_proxy_audit_lines_lost_total",
        "Lines of the audit log that could not be written: the disk is full, or too slow",
    ),
    ("alyx_proxy_cache_evictions_total", "Answers that were dropped from disk to make room"),
    (
        "alyx_proxy_cluster_answers_in_doubt_total",
        "Answers from here with a notice that they may miss what was written through others of the cluster",
    ),
    (
        "alyx_proxy_cluster_barrier_lapsed_total",
        "Writes that waited until the lease of another proxy of the cluster had lapsed",
    ),
    (
        "alyx_proxy_cluster_doubt_total",
        "Times that events of the cluster may have been missed, so that all is asked anew",
    ),
    (
        "alyx_proxy_cluster_engine_failures_total",
        "Times that this proxy fell out of its cluster as PostgreSQL did not answer",
    ),
    (
        "alyx_proxy_cluster_paced_alone_total",
        "Turns to ask Alyx that this proxy took of its own part of the pace, as PostgreSQL told it none",
    ),
    ("alyx_proxy_files_answers_total", "Answers with bytes of data files"),
    ("alyx_proxy_files_damaged_total", "Blocks of data files that the disk was found to have damaged"),
    ("alyx_proxy_files_evictions_total", "Data files that were dropped from disk to make room"),
    ("alyx_proxy_files_fetched_bytes_total", "Bytes of data files that came from the data server to be kept"),
    ("alyx_proxy_files_given_bytes_total", "Bytes of data files that were given to clients"),
    ("alyx_proxy_files_hits_total", "Answers with bytes of data files that were all here"),
    ("alyx_proxy_login_failures_total", "Log-ins whose name or password was refused, by Alyx or here"),
    ("alyx_proxy_mirror_sync_failures_total", "Runs of synchronising a table that failed"),
    ("alyx_proxy_mirror_unreadable_total", "Times that Alyx could not give a record, though it gave others"),
    ("alyx_proxy_mirror_records_total", "Records that Alyx listed for the mirror"),
    (
        "alyx_proxy_mirror_catch_ups_total",
        "Tables that were brought up to date, and details fetched, for somebody who asked",
    ),
    (
        "alyx_proxy_writes_rejected_total",
        "Requests to change something in Alyx that did not reach it: it, the disk or a free place was missing",
    ),
];

/// Requests and connections that were rejected as there was no place for them, by `reason`.
pub(crate) const REJECTED: &str = "alyx_proxy_requests_rejected_total";

/// The reason of a connection that was rejected.
pub(crate) const CONNECTIONS: &str = "connections";

/// Counts a rejected request or connection.
pub(crate) fn count_rejected(reason: &'static str) {
    counter!(REJECTED, "reason" => reason).increment(1);
}

/// Counters by one label; whoever counts makes their series.
const LABELLED: [(&str, &str); 6] = [
    (
        crate::telemetry::activity::costly::COSTLY,
        "Questions that the mirror gave up as they cost too much, or as it had no time for them",
    ),
    ("alyx_proxy_responses_total", "Responses by how they came about"),
    (REJECTED, "Requests that were refused as too many were under way"),
    ("alyx_proxy_upstream_requests_total", "Requests that were sent to Alyx, by how they ended"),
    (
        "alyx_proxy_mirror_requests_total",
        "Questions that the mirror's account put to Alyx, by what they were asked for",
    ),
    (
        "alyx_proxy_mirror_verifications_total",
        "Answers of the mirror that were compared with Alyx's, by what came of it",
    ),
];

/// What is measured when somebody asks.
const GAUGES: [(&str, &str); 24] = [
    (
        "alyx_proxy_mirror_background_requests",
        "What the mirror has asked of Alyx by itself in the last 24 hours, though nobody waited for it",
    ),
    ("alyx_proxy_mirror_background_requests_allowed", "The most that this may be; 0: there is no bound"),
    ("alyx_proxy_mirror_reads_saved", "Reads of the last 24 hours that were answered without asking Alyx"),
    ("alyx_proxy_cluster_together", "1 while this proxy is together with the others of its cluster"),
    ("alyx_proxy_cluster_members", "Proxies in the cluster; 0 while this one is not together with them"),
    (
        "alyx_proxy_cluster_event_lag",
        "Events of the cluster that the slowest of its proxies has yet to apply",
    ),
    ("alyx_proxy_build_info", "Always 1; the label says which version runs"),
    ("alyx_proxy_storage_degraded", "1 while the disk or the database takes nothing new"),
    (
        "alyx_proxy_mirror_account_refused",
        "1 while Alyx refuses the token or password that the mirror is synchronised with",
    ),
    (
        "alyx_proxy_mirror_age_seconds",
        "Time since an endpoint's table was synchronised last; since the start where it never was",
    ),
    ("alyx_proxy_mirror_rows", "Records in the mirror, by endpoint"),
    ("alyx_proxy_mirror_degraded", "1 while tables of the mirror that a disk has damaged are not mended"),
    ("alyx_proxy_database_reads_overdue", "1 while a look into a database takes longer than it may"),
    ("alyx_proxy_requests_in_flight", "Requests that are being answered"),
    ("alyx_proxy_start_time_seconds", "When the proxy started, in seconds since 1970"),
    ("alyx_proxy_storage_free_bytes", "Room that is left for the proxy where its data directory lies"),
    ("alyx_proxy_storage_size_bytes", "Size of the file system where the data directory lies"),
    ("alyx_proxy_files_bytes", "Room that kept data files take on disk"),
    ("alyx_proxy_files_differing", "Data files that are not what Alyx's records of their datasets say"),
    ("alyx_proxy_files_entries", "Data files of which something is kept"),
    ("alyx_proxy_cache_bytes", "Size of the stored answers"),
    ("alyx_proxy_cache_entries", "Number of stored answers"),
    (
        "alyx_proxy_tls_certificate_expiry_timestamp_seconds",
        "When the first certificate of the chain that is served runs out, in seconds since 1970",
    ),
    ("alyx_proxy_upstream_up", "Whether Alyx can be reached: 1, 0, or -1 if unknown"),
];

const HISTOGRAMS: [(&str, &str); 3] = [
    (
        "alyx_proxy_cluster_barrier_seconds",
        "Time that writes waited until all others of the cluster had applied them",
    ),
    ("alyx_proxy_request_duration_seconds", "Time until an answer's head was ready"),
    (
        "alyx_proxy_upstream_request_duration_seconds",
        "Time until Alyx's answer was here, or its head where the rest is passed on as it comes",
    ),
];

/// The recorder behind `/-/metrics`. The first call installs it for the process.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        // Only an empty list of buckets would be refused.
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics are recorded elsewhere; /-/metrics stays empty");
        }
        for (name, help) in COUNTERS.into_iter().chain(LABELLED) {
            describe_counter!(name, help);
        }
        for (name, help) in GAUGES {
            describe_gauge!(name, help);
        }
        for (name, help) in HISTOGRAMS {
            describe_histogram!(name, help);
        }
        for (name, _) in COUNTERS {
            counter!(name).absolute(0);
        }
        gauge!("alyx_proxy_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        handle
    })
}

/// Makes the series of a counter by one label, at zero.
pub(crate) fn register(
    name: &'static str,
    label: &'static str,
    values: impl IntoIterator<Item = &'static str>,
) {
    for value in values {
        counter!(name, label => value).absolute(0);
    }
}
