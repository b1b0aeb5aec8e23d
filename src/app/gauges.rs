//! What `/-/metrics` shows of the proxy's state at the moment it is asked.

use metrics::{counter, gauge};

use crate::{
    admin::router::AdminSite,
    clock, data_dir,
    mirror::sync::budget::{Purpose, REQUESTS},
    proxy::{in_flight, verify},
    telemetry::{access_log, activity::costly, counters, metrics as series},
    upstream::measure,
};

/// Makes every series that is counted, at zero: an alarm on a rise must not miss the first.
pub(crate) fn register() {
    access_log::register();
    costly::register();
    counters::register();
    in_flight::register();
    series::register(REQUESTS, "purpose", Purpose::ALL.map(Purpose::name));
    measure::register();
    verify::register();
}

impl AdminSite {
    /// Sets all gauges.
    pub(crate) async fn set_gauges(&self) {
        let stored = self.core.responses.usage();
        let up = match self.core.upstream.health.state().name() {
            "up" => 1.0,
            "down" => 0.0,
            _ => -1.0,
        };
        gauge!("alyx_proxy_upstream_up").set(up);
        set("alyx_proxy_storage_degraded", self.core.store.degradation().is_some().into());
        set("alyx_proxy_database_reads_overdue", self.core.overdue().is_some().into());
        set("alyx_proxy_requests_in_flight", self.load.count() as u64);
        set("alyx_proxy_start_time_seconds", self.started_at.max(0).unsigned_abs() / 1000);
        set("alyx_proxy_cache_bytes", stored.bytes);
        set("alyx_proxy_cache_entries", stored.responses);
        self.set_disk_space().await;
        self.set_mirror_gauges();
        self.set_cluster_gauges();
        self.set_file_series();
    }

    /// Sets what is known of the others; there are no such series where this proxy is alone on purpose.
    fn set_cluster_gauges(&self) {
        let Some(cluster) = &self.core.cluster else { return };
        let view = cluster.view(false);
        set("alyx_proxy_cluster_together", cluster.together().into());
        set("alyx_proxy_cluster_members", cluster.members() as u64);
        set("alyx_proxy_cluster_event_lag", view.members.iter().map(|member| member.lag).max().unwrap_or(0));
    }

    /// Sets what the data files have counted; they stand at zero where there are none.
    fn set_file_series(&self) {
        let usage = self.core.data_files.as_ref().map(|files| files.usage()).unwrap_or_default();
        set("alyx_proxy_files_entries", usage.files);
        set("alyx_proxy_files_bytes", usage.bytes);
        set("alyx_proxy_files_differing", usage.differing);
        counter!("alyx_proxy_files_damaged_total").absolute(usage.damaged);
        counter!("alyx_proxy_files_answers_total").absolute(usage.requests);
        counter!("alyx_proxy_files_hits_total").absolute(usage.hits);
        counter!("alyx_proxy_files_given_bytes_total").absolute(usage.given);
        counter!("alyx_proxy_files_fetched_bytes_total").absolute(usage.fetched);
        counter!("alyx_proxy_files_evictions_total").absolute(usage.evicted);
    }

    /// Sets how much room there is on disk; asking a file system may take its time.
    async fn set_disk_space(&self) {
        let folder = self.core.settings.load().storage.data_dir.clone();
        let asked = tokio::task::spawn_blocking(move || data_dir::disk_space(&folder)).await;
        match asked {
            Ok(Ok(space)) => {
                set("alyx_proxy_storage_free_bytes", space.free);
                set("alyx_proxy_storage_size_bytes", space.size);
            }
            Ok(Err(error)) => tracing::debug!(%error, "how much room is left on the disk is not known"),
            Err(error) => tracing::debug!(%error, "how much room is left on the disk is not known"),
        }
    }

    /// Sets the mirror's gauges. Tables that are to be kept are shown before they are here: no age is no alarm.
    fn set_mirror_gauges(&self) {
        let Some(mirror) = &self.core.mirror else { return };
        set("alyx_proxy_mirror_degraded", mirror.trouble().is_some().into());
        let (states, now) = (mirror.states(), self.core.clock.now());
        if let Some(synchroniser) = &self.core.synchroniser {
            set("alyx_proxy_mirror_account_refused", synchroniser.account_refusal().is_some().into());
            let used = synchroniser.budget.used();
            set("alyx_proxy_mirror_background_requests", used.background());
            set("alyx_proxy_mirror_reads_saved", used.saved);
            set("alyx_proxy_mirror_background_requests_allowed", used.allowed.unwrap_or(0));
            let settings = self.core.settings.load();
            let missing = settings.mirror.kept().filter(|endpoint| states.of(endpoint.name).is_none());
            missing.for_each(|endpoint| set_table(endpoint.name, 0, now - self.started_at));
        }
        for (endpoint, state) in states.iter() {
            set_table(endpoint, state.rows, now - state.synced_at.max(state.counted_at));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 52 bits")]
fn set(name: &'static str, value: u64) {
    gauge!(name).set(value as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 52 bits")]
fn set_table(endpoint: &'static str, rows: u64, age: clock::Millis) {
    gauge!("alyx_proxy_mirror_rows", "endpoint" => endpoint).set(rows as f64);
    let age = age.max(0) as f64 / 1000.0;
    gauge!("alyx_proxy_mirror_age_seconds", "endpoint" => endpoint).set(age);
}
