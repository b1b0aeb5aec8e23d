//! The recorder behind `/-/metrics`, and what each metric means.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Bounds of the histogram of answer times: from a hit in memory to Alyx's slowest answers.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

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
        metrics::describe_counter!("alyx_proxy_answers_total", "Answers by how they came about");
        metrics::describe_gauge!(
            "alyx_proxy_upstream_up",
            "Whether Alyx can be reached: 1, 0, or -1 if unknown"
        );
        metrics::describe_gauge!(
            "alyx_proxy_stored_bytes",
            metrics::Unit::Bytes,
            "Size of the stored answers"
        );
        metrics::describe_gauge!("alyx_proxy_stored_responses", "Number of stored answers");
        metrics::describe_gauge!(
            "alyx_proxy_disk_trouble",
            "1 while the disk or the database takes nothing new"
        );
        metrics::describe_gauge!(
            "alyx_proxy_mirror_trouble",
            "1 while tables of the mirror that a disk has damaged are not mended"
        );
        metrics::describe_gauge!("alyx_proxy_requests_under_way", "Requests that are being answered");
        metrics::describe_counter!(
            "alyx_proxy_shed_total",
            "Requests that were refused as too many were under way"
        );
        metrics::describe_gauge!("alyx_proxy_mirror_rows", "Records in the mirror, by endpoint");
        metrics::describe_gauge!(
            "alyx_proxy_mirror_age_seconds",
            metrics::Unit::Seconds,
            "Time since an endpoint's table was synchronised last"
        );
        metrics::describe_counter!(
            "alyx_proxy_mirror_failures_total",
            "Runs of synchronising a table that failed"
        );
        metrics::describe_counter!(
            "alyx_proxy_verified_total",
            "Answers of the mirror that were compared with Alyx's, by what came of it"
        );
        metrics::describe_histogram!(
            "alyx_proxy_request_duration_seconds",
            metrics::Unit::Seconds,
            "Time until an answer's head was ready"
        );
        handle
    })
}
