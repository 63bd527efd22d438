//! The list of metrics, as Prometheus text.
//!
//! Names that dashboards for etcd ask for are served under etcd's names where they mean something here; all others begin with `tombolo_`. A name
//! of etcd's that would mean nothing (elections, proposals) is left out rather than faked.

use std::fmt::{Display, Write as _};

use tombolo_proto::{
    Method,
    v1::{DigestComparison, MemberState, MeshAlarmKind, Peer, PeerLink, PeerState},
};
use tombolo_storage::{Health, Shortage};

use super::{
    CODES, Histogram,
    process::Process,
    rpc::{duration_word, kind_word},
};
use crate::{etcd::VERSION, keeper::Fill, replica::Replica, v1};

/// Everything that can be told about `replica`, at this moment.
pub(crate) fn expose(replica: &Replica) -> String {
    let mut page = Page::default();
    identity(&mut page, replica);
    store(&mut page, replica);
    commits(&mut page, replica);
    watches_and_leases(&mut page, replica);
    network(&mut page, replica);
    tls(&mut page, replica);
    mesh(&mut page, replica);
    rpcs(&mut page, replica);
    process(&mut page);
    page.0
}

fn identity(page: &mut Page, replica: &Replica) {
    let member = format!("{:x}", replica.member_id());
    page.labelled(
        "etcd_server_version",
        GAUGE,
        "Version of etcd whose API is served.",
        &[("server_version", VERSION)],
        1,
    );
    page.labelled("etcd_server_id", GAUGE, "Server or member ID in hexadecimal format.", &[("server_id", &member)], 1);
    page.single("etcd_server_has_leader", GAUGE, "Whether requests are served: a replica is its own leader.", 1);
    page.single("etcd_server_is_leader", GAUGE, "Always 1: a replica is its own leader.", 1);
    let healthy = replica.metrics.healthy.get();
    page.single("etcd_server_health_success", COUNTER, "Health checks that succeeded.", healthy);
    let unhealthy = replica.metrics.unhealthy.get();
    page.single("etcd_server_health_failures", COUNTER, "Health checks that failed.", unhealthy);
    let version = env!("CARGO_PKG_VERSION");
    page.labelled("tombolo_build_info", GAUGE, "Version of this server.", &[("version", version)], 1);
}

fn store(page: &mut Page, replica: &Replica) {
    let sizes = replica.store.sizes();
    let published = replica.store.published();
    page.single("etcd_mvcc_db_total_size_in_bytes", GAUGE, "Bytes of the data folder on disk.", sizes.disk_bytes);
    page.single("etcd_mvcc_db_total_size_in_use_in_bytes", GAUGE, "Bytes of it in use.", sizes.in_use_bytes);
    let quota = sizes.quota_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    page.single("etcd_server_quota_backend_bytes", GAUGE, "Bytes that may be in use; negative: no limit.", quota);
    let high = Fill::of(&sizes).is_some_and(Fill::is_high);
    page.single("tombolo_quota_high", GAUGE, "1 while four fifths of the quota are in use.", u8::from(high));
    page.head("tombolo_shortage", GAUGE, "1 for the reason why clients can add nothing.");
    for (name, cause) in [("disk", Shortage::Disk), ("quota", Shortage::Quota), ("alarm", Shortage::Closed)] {
        let is_on = replica.store.shortage() == Some(cause);
        page.sample("tombolo_shortage", &[("cause", name)], u8::from(is_on));
    }
    let compactions = replica.metrics.auto_compactions.get();
    page.single("tombolo_auto_compactions_total", COUNTER, "Compactions that nobody asked for.", compactions);
    let scrubbed = replica.metrics.scrubbed_bytes.get();
    page.single("tombolo_scrubbed_bytes_total", COUNTER, "Bytes of rows that were read to verify them.", scrubbed);
    let passes = replica.metrics.scrub_passes.get();
    page.single("tombolo_scrub_passes_total", COUNTER, "Times that every row was read to verify it.", passes);
    let rot = replica.store.rot_counts();
    page.single("tombolo_rotten_rows", GAUGE, "Rows that are rotten on this disk.", rot.rotten);
    page.single("tombolo_rotten_rows_found_total", COUNTER, "Rows that were found rotten.", rot.found);
    page.single("tombolo_rotten_rows_mended_total", COUNTER, "Rotten rows that were put back.", rot.mended);
    let help = "Time that defragmentations took.";
    page.histogram("etcd_disk_backend_defrag_duration_seconds", help, &[], &replica.metrics.defragmentation);
    page.single("etcd_debugging_mvcc_keys_total", GAUGE, "Keys that exist.", sizes.keys);
    let revision = published.revision.get();
    page.single("etcd_debugging_mvcc_current_revision", GAUGE, "The current revision.", revision);
    let compacted = published.compacted;
    page.single("etcd_debugging_mvcc_compact_revision", GAUGE, "The revision of the last compaction.", compacted);
    page.single("tombolo_commit_number", GAUGE, "Number of the last commit.", published.commit);
    let health = replica.store.health();
    page.head("tombolo_store_health", GAUGE, "1 for the state the store is in.");
    for (name, state) in [("ok", Health::Ok), ("no_space", Health::NoSpace), ("poisoned", Health::Poisoned)] {
        page.sample("tombolo_store_health", &[("state", name)], u8::from(state == health));
    }
}

fn commits(page: &mut Page, replica: &Replica) {
    let metrics = &replica.metrics;
    page.single("etcd_mvcc_put_total", COUNTER, "Put requests.", metrics.puts.get());
    page.single("etcd_mvcc_delete_total", COUNTER, "Delete requests.", metrics.deletes.get());
    page.single("etcd_mvcc_range_total", COUNTER, "Range requests.", metrics.ranges.get());
    page.single("etcd_mvcc_txn_total", COUNTER, "Transaction requests.", metrics.txns.get());
    let help = "Time to make one group of commits durable.";
    page.histogram("etcd_disk_wal_fsync_duration_seconds", help, &[], &metrics.commit);
    let help = "The same as etcd_disk_wal_fsync_duration_seconds: there is one log, and it is the data.";
    page.histogram("etcd_disk_backend_commit_duration_seconds", help, &[], &metrics.commit);
    let help = "Time to execute one group of requests before it is made durable.";
    page.histogram("tombolo_execution_duration_seconds", help, &[], &metrics.execution);
    page.single("tombolo_commits_total", COUNTER, "Commits made durable.", metrics.commits.get());
    let requests = metrics.requests_committed.get();
    page.single("tombolo_committer_requests_total", COUNTER, "Requests that the committer has answered.", requests);
    page.single("tombolo_committer_queue_requests", GAUGE, "Requests that wait for it.", replica.queue.len());
    let full = metrics.queue_full.get();
    page.single("tombolo_committer_queue_full_total", COUNTER, "Requests refused because too many waited.", full);
}

fn watches_and_leases(page: &mut Page, replica: &Replica) {
    let stats = replica.watches.stats();
    page.single("etcd_debugging_mvcc_watch_stream_total", GAUGE, "Watch streams.", stats.subscribers);
    page.single("etcd_debugging_mvcc_watcher_total", GAUGE, "Watchers.", stats.watchers);
    page.single("etcd_debugging_mvcc_slow_watcher_total", GAUGE, "Watchers that catch up.", stats.catching_up);
    page.single("tombolo_watch_demotions_total", COUNTER, "Watchers that fell behind.", stats.demotions);
    page.single("tombolo_watch_loads_total", COUNTER, "Stretches of history read for watchers.", stats.loads);
    page.single("tombolo_leases", GAUGE, "Leases that live.", replica.leases.count());
    let expired = replica.metrics.leases_expired.get();
    page.single("etcd_debugging_server_lease_expired_total", COUNTER, "Leases that ran out.", expired);
}

fn network(page: &mut Page, replica: &Replica) {
    let metrics = &replica.metrics;
    let received = metrics.received_bytes.get();
    page.single("etcd_network_client_grpc_received_bytes_total", COUNTER, "Bytes from clients.", received);
    let sent = metrics.sent_bytes.get();
    page.single("etcd_network_client_grpc_sent_bytes_total", COUNTER, "Bytes to clients.", sent);
    let opened = metrics.connections_opened.get();
    page.single(
        "tombolo_connections",
        GAUGE,
        "Open connections.",
        opened - metrics.connections_closed.get().min(opened),
    );
    page.single("tombolo_connections_total", COUNTER, "Connections accepted.", opened);
}

fn tls(page: &mut Page, replica: &Replica) {
    let counts = &replica.metrics.tls;
    let Some(expiry) = counts.cert_expiry() else { return };
    let help = "When the first certificate of the server's chain runs out, since the Unix epoch.";
    page.single("tombolo_cert_expiry_timestamp_seconds", GAUGE, help, expiry);
    if let Some(next_update) = counts.crl_next_update() {
        let help = "When the list of revoked certificates should be replaced, since the Unix epoch.";
        page.single("tombolo_crl_next_update_timestamp_seconds", GAUGE, help, next_update);
    }
    let failed = counts.handshakes_failed.get();
    page.single("tombolo_tls_handshakes_failed_total", COUNTER, "Connections whose TLS handshake failed.", failed);
    let failed = counts.reloads_failed.get();
    let help = "Changes of certificate files that could not be used.";
    page.single("tombolo_tls_reloads_failed_total", COUNTER, help, failed);
}

fn mesh(page: &mut Page, replica: &Replica) {
    let help =
        "Names that this folder's replica had before, each lost with the end of a log, a failed sync or an older copy.";
    page.single("tombolo_identities_lost", GAUGE, help, replica.store.predecessors().len());
    let peers = v1::peers(replica);
    let labelled = |peer: &Peer| (format!("{:016x}", peer.replica), escaped(&peer.name));
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Peer) -> Option<f64>| {
        page.head(name, GAUGE, help);
        for peer in &peers {
            let (id, site) = labelled(peer);
            if let Some(value) = value(peer) {
                page.sample(name, &[("peer", &id), ("site", &site)], value);
            }
        }
    };
    let connected = |peer: &Peer| Some(f64::from(u8::from(peer.state() == PeerState::Connected)));
    gauge("tombolo_peer_connected", "1 for a peer that is connected.", &connected);
    let help = "How long the oldest record that the peer lacks has been here.";
    gauge("tombolo_peer_lag_seconds", help, &|peer| Some(peer.lag_ms? as f64 / 1_000.0));
    gauge("tombolo_peer_lag_records", "Records that the peer lacks.", &|peer| Some(peer.records_behind? as f64));
    let help = "About how many bytes those have.";
    gauge("tombolo_peer_lag_bytes", help, &|peer| Some(peer.bytes_behind? as f64));
    let help = "How long the peer has been known to have the oldest record that is missing here.";
    gauge("tombolo_peer_ahead_seconds", help, &|peer| Some(peer.lag_ahead_ms? as f64 / 1_000.0));
    gauge("tombolo_peer_ahead_records", "Records missing here that the peer has.", &|peer| {
        Some(peer.records_ahead? as f64)
    });
    let help = "About how many bytes those have.";
    gauge("tombolo_peer_ahead_bytes", help, &|peer| Some(peer.bytes_ahead? as f64));
    let help = "Bytes of records on their way to the peer that it has not acknowledged.";
    gauge("tombolo_peer_in_flight_bytes", help, &|peer| Some(peer.bytes_in_flight? as f64));
    let carries = |peer: &Peer, links: &[PeerLink]| Some(f64::from(u8::from(links.contains(&peer.link()))));
    gauge("tombolo_peer_sends_records", "1 when the peer is sent records, 0 when it is only told of them.", &|peer| {
        carries(peer, &[PeerLink::Both, PeerLink::Out])
    });
    gauge("tombolo_peer_takes_records", "1 when records are wanted of the peer.", &|peer| {
        carries(peer, &[PeerLink::Both, PeerLink::In])
    });
    let help = "Records of the peer that others had brought before, on its present connection.";
    gauge("tombolo_peer_duplicate_records", help, &|peer| Some(peer.duplicates? as f64));
    let help = "1 when both held the same data when they were last compared, 0 when not; absent while they were not.";
    gauge("tombolo_peer_digest_equal", help, &|peer| match peer.digests() {
        DigestComparison::Equal => Some(1.0),
        DigestComparison::Different => Some(0.0),
        DigestComparison::Unknown | DigestComparison::Unspecified => None,
    });
    let help = "How long ago the data were last compared with the peer's.";
    gauge("tombolo_peer_compared_seconds", help, &|peer| Some(peer.compared_ms? as f64 / 1_000.0));
    let help = "How far the peer's clock is ahead.";
    gauge("tombolo_clock_skew_seconds", help, &|peer| Some(peer.skew_ms? as f64 / 1_000.0));
    page.head("etcd_network_peer_sent_bytes_total", COUNTER, "Bytes sent to peers.");
    for peer in &peers {
        page.sample("etcd_network_peer_sent_bytes_total", &[("To", &labelled(peer).0)], peer.sent_bytes);
    }
    page.head("etcd_network_peer_received_bytes_total", COUNTER, "Bytes received from peers.");
    for peer in &peers {
        page.sample("etcd_network_peer_received_bytes_total", &[("From", &labelled(peer).0)], peer.received_bytes);
    }
    let (sent, received) =
        peers.iter().fold((0, 0), |(sent, received), peer| (sent + peer.sent_bytes, received + peer.received_bytes));
    page.head("tombolo_antientropy_bytes_total", COUNTER, "Bytes exchanged with all peers.");
    page.sample("tombolo_antientropy_bytes_total", &[("direction", "sent")], sent);
    page.sample("tombolo_antientropy_bytes_total", &[("direction", "received")], received);
    let ingested = replica.metrics.records_ingested.get();
    page.single("tombolo_records_ingested_total", COUNTER, "Records of other replicas applied.", ingested);
    meets(page, replica);
    transfers(page, replica);
    members(page, replica);
    alarms(page, replica);
}

/// What `mesh status` raises alarms about: every kind there is, so that one can be watched before it was ever on.
fn alarms(page: &mut Page, replica: &Replica) {
    let alarms = v1::alarms(replica);
    page.head("tombolo_mesh_alarms", GAUGE, "Alarms of `tombolo mesh status` that are on, by their kind.");
    for kind in (1..).map_while(|number| MeshAlarmKind::try_from(number).ok()) {
        let name = kind.as_str_name().trim_start_matches("MESH_ALARM_KIND_");
        page.sample(
            "tombolo_mesh_alarms",
            &[("kind", name)],
            alarms.iter().filter(|alarm| alarm.kind() == kind).count(),
        );
    }
}

/// Who is what in the mesh, and how much of the log stays for whom.
fn members(page: &mut Page, replica: &Replica) {
    let members = v1::members(replica);
    page.head("tombolo_members", GAUGE, "Members of the mesh by their state.");
    for (name, state) in
        [("active", MemberState::Active), ("parked", MemberState::Parked), ("removed", MemberState::Removed)]
    {
        let count = members.iter().filter(|member| member.state() == state).count();
        page.sample("tombolo_members", &[("state", name)], count);
    }
    let help = "Removed members of which it is not settled where their records end.";
    page.single(
        "tombolo_removals_open",
        GAUGE,
        help,
        members.iter().filter(|member| !member.open_to.is_empty()).count(),
    );
    page.head(
        "tombolo_log_held_bytes",
        GAUGE,
        "About how many bytes of compacted log stay because the member lacks them.",
    );
    for member in &members {
        let (id, site) = (format!("{:016x}", member.replica), escaped(&member.name));
        if let Some(bytes) = member.held_bytes {
            page.sample("tombolo_log_held_bytes", &[("peer", &id), ("site", &site)], bytes);
        }
    }
    let budget = replica.store.log_budget();
    page.single("tombolo_log_budget_bytes", GAUGE, "Bytes of compacted log that are kept for members at most.", budget);
    let is_removed = u8::from(replica.mesh.is_removed());
    page.single(
        "tombolo_removed",
        GAUGE,
        "1 when this replica was removed from the mesh, as far as it knows.",
        is_removed,
    );
}

/// Comparisons with peers whose frontier is never ours.
fn meets(page: &mut Page, replica: &Replica) {
    let metrics = &replica.metrics;
    let name = "tombolo_meets_compared_total";
    page.head(name, COUNTER, "Comparisons of what both this replica and a peer had applied, at different frontiers.");
    for (outcome, count) in
        [("equal", &metrics.meets_equal), ("different", &metrics.meets_different), ("put_off", &metrics.meets_put_off)]
    {
        page.sample(name, &[("outcome", outcome)], count.get());
    }
}

/// What is taken and given when no log has what is lacking.
fn transfers(page: &mut Page, replica: &Replica) {
    let metrics = &replica.metrics;
    let floor = replica.store.standing().floor;
    let forgotten = floor.iter().fold(0, |sum: u64, dot| sum.saturating_add(dot.seq));
    let help = "Records that a peer must have, since the log may have forgotten them.";
    page.single("tombolo_log_floor_records", GAUGE, help, forgotten);
    page.single(
        "tombolo_transfers_begun_total",
        COUNTER,
        "Transfers of state begun here.",
        metrics.transfers_begun.get(),
    );
    let interrupted = metrics.transfers_interrupted.get();
    page.single(
        "tombolo_transfers_interrupted_total",
        COUNTER,
        "Those that ended before they were joined.",
        interrupted,
    );
    page.head("tombolo_transfers_joined_total", COUNTER, "Those that were joined with the state.");
    for (kind, joined) in [("delta", &metrics.deltas_joined), ("checkpoint", &metrics.checkpoints_joined)] {
        page.sample("tombolo_transfers_joined_total", &[("kind", kind)], joined.get());
    }
    let (taken, served) = ("taken", "served");
    page.head("tombolo_transfer_pages_total", COUNTER, "Pages of transfers.");
    page.sample("tombolo_transfer_pages_total", &[("direction", taken)], metrics.pages_taken.get());
    page.sample("tombolo_transfer_pages_total", &[("direction", served)], metrics.pages_served.get());
    page.head("tombolo_transfer_page_bytes_total", COUNTER, "Bytes of them, before compression.");
    page.sample("tombolo_transfer_page_bytes_total", &[("direction", taken)], metrics.page_bytes_taken.get());
    page.sample("tombolo_transfer_page_bytes_total", &[("direction", served)], metrics.page_bytes_served.get());
    let progress = replica.mesh.transfers.progress();
    page.single("tombolo_transfer_active", GAUGE, "1 while state is taken from a peer.", u8::from(progress.is_some()));
    let counts = progress.map(|progress| progress.counts).unwrap_or_default();
    page.head(
        "tombolo_transfer_elements",
        GAUGE,
        "Elements of the transfer under way; the total is 0 until it is known.",
    );
    page.sample("tombolo_transfer_elements", &[("state", "staged")], counts.elements);
    page.sample("tombolo_transfer_elements", &[("state", "total")], counts.elements_total.unwrap_or_default());
}

/// A name that somebody chose, as the value of a label.
fn escaped(name: &str) -> String {
    name.chars()
        .filter(|char| !char.is_control())
        .flat_map(|char| match char {
            '\\' | '"' => vec!['\\', char],
            _ => vec![char],
        })
        .collect()
}

fn rpcs(page: &mut Page, replica: &Replica) {
    let rpcs = &replica.metrics.rpcs;
    page.head("grpc_server_started_total", COUNTER, "RPCs started.");
    for (method, counts) in rpcs.iter() {
        page.sample("grpc_server_started_total", &labels_of(method), counts.started.get());
    }
    page.head("grpc_server_handled_total", COUNTER, "RPCs completed, whatever their outcome.");
    for (method, counts) in rpcs.iter() {
        let [name, service, kind] = labels_of(method);
        for (code, count) in CODES.iter().zip(&counts.handled).filter(|(code, count)| **code == "OK" || count.get() > 0)
        {
            page.sample("grpc_server_handled_total", &[("grpc_code", code), name, service, kind], count.get());
        }
    }
    let name = "etcd_server_request_duration_seconds";
    page.head(name, "histogram", "Time from a request's arrival to its answer.");
    for (word, counts) in rpcs.iter().filter_map(|(method, counts)| Some((duration_word(method)?, counts))) {
        for (success, histogram) in [("true", &counts.succeeded), ("false", &counts.failed)] {
            page.buckets(name, &[("success", success), ("type", word)], histogram);
        }
    }
}

fn labels_of(method: Method) -> [Label<'static>; 3] {
    let kind = kind_word(method.kind());
    [("grpc_method", method.name()), ("grpc_service", method.service()), ("grpc_type", kind)]
}

fn process(page: &mut Page) {
    let process = Process::read();
    page.single("process_resident_memory_bytes", GAUGE, "Resident memory.", process.resident_bytes);
    page.single("process_virtual_memory_bytes", GAUGE, "Virtual memory.", process.virtual_bytes);
    page.single("process_cpu_seconds_total", COUNTER, "User and system time.", process.cpu.as_secs_f64());
    page.single("process_open_fds", GAUGE, "Open file descriptors.", process.open_fds);
    page.single("process_max_fds", GAUGE, "File descriptors that may be open.", process.max_fds);
    page.single("process_threads", GAUGE, "Threads.", process.threads);
    page.single("process_start_time_seconds", GAUGE, "Start, since the Unix epoch.", process.started_s);
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

type Label<'a> = (&'a str, &'a str);

/// A page of Prometheus text under construction. Writing to a string cannot fail, so the results of `write!` are dropped.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.labelled(name, kind, help, &[], value);
    }

    fn labelled(&mut self, name: &str, kind: &str, help: &str, labels: &[Label<'_>], value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, labels, value);
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, labels: &[Label<'_>], histogram: &Histogram) {
        self.head(name, "histogram", help);
        self.buckets(name, labels, histogram);
    }

    fn buckets(&mut self, name: &str, labels: &[Label<'_>], histogram: &Histogram) {
        let (buckets, total, sum) = histogram.read();
        let bucket = format!("{name}_bucket");
        for (bound, count) in buckets {
            self.sample(&bucket, &[labels, &[("le", &bound.to_string())]].concat(), count);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), total);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_histogram_is_written_with_its_labels_sum_and_count() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(3));
        let mut page = Page::default();
        page.histogram("a_seconds", "Help.", &[("type", "put")], &histogram);
        assert!(page.0.starts_with("# HELP a_seconds Help.\n# TYPE a_seconds histogram\n"));
        assert!(page.0.contains("a_seconds_bucket{type=\"put\",le=\"0.002\"} 0\n"), "{}", page.0);
        assert!(page.0.contains("a_seconds_bucket{type=\"put\",le=\"0.004\"} 1\n"));
        assert!(page.0.contains("a_seconds_bucket{type=\"put\",le=\"+Inf\"} 1\n"));
        assert!(page.0.ends_with("a_seconds_sum{type=\"put\"} 0.003\na_seconds_count{type=\"put\"} 1\n"));
    }
}
