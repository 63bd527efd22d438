//! A limit on what is sent: over seconds it holds on the wire, and what is small and awaited comes through.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::sleep;
use tombolo_net::Rates;

use crate::support::site::{Site, until, until_converged};

fn limited(per_peer: Option<u64>, overall: Option<u64>) -> Rates {
    Rates { per_peer: per_peer.and_then(NonZeroU64::new), overall: overall.and_then(NonZeroU64::new) }
}

/// A founder with a limit, which has much to send, and a second one that takes it.
async fn pair(rates: Rates, records: usize) -> (Site, Site) {
    let mut founder = Site::founder(1);
    founder.rates = rates;
    founder.start(vec![]);
    let mut second = Site::admitted_by(&founder, 2);
    second.start(vec![founder.contact()]);
    until("they are connected", || founder.is_connected_to(&second) && second.is_connected_to(&founder)).await;
    (0..records).for_each(|_| founder.host.write_noise(10_000));
    (founder, second)
}

#[tokio::test]
async fn what_a_peer_is_sent_keeps_to_the_rate_and_questions_do_not_wait_behind_it() {
    let rate = 100_000;
    let (founder, second) = pair(limited(Some(rate), None), 60).await;
    let (began, before) = (Instant::now(), founder.peer(&second).sent_bytes);
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        let node = founder.node.as_ref().unwrap();
        node.ask(second.id, Bytes::from_static(b"who?"), Duration::from_secs(5)).await.unwrap();
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(20)).await;
        let sent = founder.peer(&second).sent_bytes - before;
        let allowed = rate as f64 * (began.elapsed().as_secs_f64() + 0.25) + 60_000.0;
        assert!((sent as f64) < allowed, "{sent} bytes in {:?}", began.elapsed());
    }
    let sent = founder.peer(&second).sent_bytes - before;
    assert!(sent > 250_000, "the rate is used: {sent} bytes in {:?}", began.elapsed());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(second.host.frontier() != founder.host.frontier(), "there is more than four seconds can take");
    until_converged(&[&founder, &second]).await;
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn all_peers_together_keep_to_the_rate_of_the_node() {
    let rate = 200_000;
    let (founder, second) = pair(limited(None, Some(rate)), 0).await;
    let mut third = Site::admitted_by(&founder, 3);
    third.start(vec![founder.contact()]);
    until("the third is connected", || founder.is_connected_to(&third)).await;
    let sent = |site: &Site| site.node.as_ref().unwrap().peers().iter().map(|view| view.sent_bytes).sum::<u64>();
    let (began, before) = (Instant::now(), sent(&founder));
    (0..40).for_each(|_| founder.host.write_noise(10_000));
    until_converged(&[&founder, &second, &third]).await;
    let (took, sent) = (began.elapsed(), sent(&founder) - before);
    assert!(sent > 700_000, "{sent}");
    assert!(took > Duration::from_millis(2_500), "{sent} bytes in {took:?}");
}
