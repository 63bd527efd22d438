//! `lease`.

use tombolo_proto::etcdserverpb::{LeaseRevokeRequest, PutRequest};

use crate::{
    mask,
    running::both,
    side_by_side::{
        SideBySide,
        Step::{Grant, PutLeased, Revoke},
        case, tombolo,
    },
};

#[tokio::test]
async fn leases_are_looked_at_and_ended_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = [
        case(&[], "lease list"),
        case(&[Grant], "lease list"),
        case(&[Grant], "lease keep-alive --once <lease>"),
        case(&[Grant, PutLeased("a")], "lease revoke <lease>"),
        case(&[Grant, Revoke], "lease revoke <lease>"),
        case(&[Grant, Revoke], "lease keep-alive --once <lease>"),
        case(&[Grant, Revoke], "lease keep-alive <lease>"),
        case(&[Grant, Revoke], "lease timetolive <lease>"),
        case(&[Grant, Revoke], "lease timetolive <lease> --keys"),
    ];
    bench.compare(&["simple", "json", "fields"], &cases).await;
}

#[tokio::test]
async fn wrong_arguments_of_leases_are_refused_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = [
        "lease grant",
        "lease grant x",
        "lease grant 9999999999999",
        "lease grant 1 2",
        "lease revoke",
        "lease revoke zz",
        "lease revoke 1 2",
        "lease timetolive",
        "lease timetolive zz",
        "lease keep-alive",
        "lease keep-alive zz",
    ];
    bench.compare(&["simple"], &cases.map(|command| case(&[], command))).await;
}

#[tokio::test]
async fn granted_and_remaining_times_are_shown_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let lease = bench.grant(600).await;
    // One key: etcd lists several in no order.
    let put = PutRequest { key: "k 1".into(), lease, ..Default::default() };
    bench.client.kv().put(put).await.expect("a put");
    let id = format!("{lease:x}");
    for format in ["simple", "json", "fields"] {
        for words in
            [&["lease", "timetolive", &id][..], &["lease", "timetolive", &id, "--keys"], &["lease", "grant", "60"]]
        {
            let shown = |program| {
                let outcome = bench.run(program, &[&["-w", format], words].concat(), "");
                let marks = ["remaining(", "\"ttl\":", "lease ", "\"ID\":", "\"ID\" : ", "\"TTL\" : 5"];
                (mask::after(&outcome.stdout, &marks, &[' ', ',', ')', '\n', '}']), outcome.code)
            };
            assert_eq!(shown(tombolo()), shown(bench.etcdctl()), "{words:?} as {format}");
        }
    }
}

#[tokio::test]
async fn a_lease_is_kept_alive_until_it_is_revoked_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for format in ["simple", "json", "fields"] {
        let id = bench.grant(3).await;
        let words = ["-w", format, "lease", "keep-alive", &format!("{id:x}")];
        let [mut expected, mut found] = both(&bench, &words);
        for running in [&expected, &found] {
            running.wait_for("TTL").await;
        }
        bench.client.lease().lease_revoke(LeaseRevokeRequest { id }).await.expect("revoked");
        assert_eq!(found.end(), expected.end(), "{format}");
        assert_eq!(found.printed(), expected.printed(), "{format}");
    }
}
