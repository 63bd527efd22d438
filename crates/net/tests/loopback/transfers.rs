//! What crosses a real connection: pages beside everything else, how soon records flow, and what one record costs.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::JoinSet;
use tombolo_net::{AskError, PULL_BODY_BYTES_MAX};

use crate::{
    connected_pair,
    support::{
        link::Link,
        site::{Site, until, until_converged},
        toy_store::id,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

fn pull<B: Into<Bytes>>(
    site: &Site,
    peer: &Site,
    body: B,
) -> impl Future<Output = Result<Bytes, AskError>> + Send + use<B> {
    site.node.as_ref().unwrap().pull(peer.id, body.into(), PATIENCE)
}

#[tokio::test]
async fn pages_come_a_few_at_a_time_and_the_rest_wait() {
    let (founder, second) = connected_pair().await;
    let mut pulling = JoinSet::new();
    for words in 0..24_u64 {
        let page = pull(&second, &founder, (words * 1_000 + 1).to_string());
        pulling.spawn(async move { (words, page.await) });
    }
    for (words, page) in pulling.join_all().await {
        assert_eq!(page.unwrap().len() as u64, (words * 1_000 + 1) * 8);
    }
    let max = founder.host.paging_max.load(Ordering::Relaxed);
    assert!((2..=4).contains(&max), "{max} at a time");
    assert!(second.is_connected_to(&founder), "the peer's bound was kept");
}

#[tokio::test]
async fn a_pull_that_cannot_be_answered_says_why() {
    let (founder, mut second) = connected_pair().await;
    assert_eq!(pull(&founder, &second, "nothing").await, Err(AskError::NoAnswer));
    let (bytes, max) = (PULL_BODY_BYTES_MAX + 1, PULL_BODY_BYTES_MAX);
    assert_eq!(pull(&founder, &second, vec![1; bytes]).await, Err(AskError::TooLarge { bytes, max }));
    let stranger = founder.node.as_ref().unwrap().pull(id(9), Bytes::new(), PATIENCE).await;
    assert_eq!(stranger, Err(AskError::NotConnected));
    let unanswered = pull(&founder, &second, "900000");
    let (page, ()) = tokio::join!(unanswered, second.stop());
    assert!(matches!(page, Err(AskError::Lost) | Ok(_)), "{page:?}");
    until("it is gone", || !founder.is_connected_to(&second)).await;
    assert_eq!(pull(&founder, &second, "1").await, Err(AskError::NotConnected));
}

#[tokio::test]
async fn records_and_questions_go_on_beside_pages() {
    let (founder, second) = connected_pair().await;
    let mut pulling = JoinSet::new();
    for _ in 0..40 {
        pulling.spawn(pull(&second, &founder, "30000"));
    }
    let mut answered = 0;
    while !pulling.is_empty() {
        founder.host.write(100);
        let wanted = founder.host.frontier();
        let question = founder.node.as_ref().unwrap().ask(second.id, "who?".into(), PATIENCE);
        assert!(question.await.is_ok());
        until("the record is there", || second.host.frontier().includes(&wanted)).await;
        answered += 1;
        while let Some(page) = pulling.try_join_next() {
            assert_eq!(page.unwrap().unwrap().len(), 30_000 * 8);
        }
    }
    assert!(answered >= 3, "{answered} records and questions went by 40 pages");
}

#[tokio::test]
async fn records_flow_within_three_round_trips() {
    let mut founder = Site::founder(1);
    let link = Link::to(founder.start(vec![])).await;
    let (delay_ms, slack) = (200, Duration::from_millis(350));
    link.delay(delay_ms);
    let mut second = Site::admitted_by(&founder, 2);
    founder.host.write(100);
    second.host.write(100);
    let began = Instant::now();
    second.start(vec![founder.contact_at(link.address)]);
    let round_trip = Duration::from_millis(2 * delay_ms);
    for site in [&founder, &second] {
        until("a record has come", || site.host.ingested.load(Ordering::Relaxed) > 0).await;
    }
    let took = began.elapsed();
    assert!(took < 3 * round_trip + slack, "{took:?} with a round trip of {round_trip:?}");
    assert!(took > 2 * round_trip, "the link is as long as it should be: {took:?}");
}

#[tokio::test]
async fn one_record_behind_costs_less_than_five_hundred_bytes_on_the_wire() {
    let (founder, second) = connected_pair().await;
    until_converged(&[&founder, &second]).await;
    let carried = || founder.peer(&second).sent_bytes + second.peer(&founder).sent_bytes;
    let during = async |records: u64| {
        let before = carried();
        for _ in 0..10 {
            (0..records).for_each(|_| founder.host.write(100));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        until_converged(&[&founder, &second]).await;
        carried() - before
    };
    let idle = during(0).await;
    let busy = during(1).await;
    let each = busy.saturating_sub(idle) / 10;
    assert!((20..500).contains(&each), "{each} bytes a record, with packets and acknowledgements; {idle} in idle time");
}
