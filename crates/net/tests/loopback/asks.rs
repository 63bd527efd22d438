//! Questions between nodes: an answer for each, or the reason why there is none.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use tokio::{task::JoinSet, time::timeout};
use tombolo_net::{ASK_BODY_BYTES_MAX, AskError, PeerState};

use crate::{
    connected_pair,
    support::{
        link::Link,
        site::{Site, until, until_converged},
        toy_store::id,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn ask(site: &Site, peer: &Site, question: impl Into<Bytes>, patience: Duration) -> Result<Bytes, AskError> {
    site.node.as_ref().unwrap().ask(peer.id, question.into(), patience).await
}

#[tokio::test]
async fn peers_ask_each_other_and_the_host_knows_who_asks() {
    let (founder, second) = connected_pair().await;
    let there = ask(&founder, &second, "who?", PATIENCE).await.unwrap();
    let back = ask(&second, &founder, "who?", PATIENCE).await.unwrap();
    assert_eq!(there, format!("{} asks {}", founder.id, second.id));
    assert_eq!(back, format!("{} asks {}", second.id, founder.id));
    let longest = Bytes::from(vec![1; ASK_BODY_BYTES_MAX]);
    assert_eq!(ask(&founder, &second, longest.clone(), PATIENCE).await, Ok(longest));
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_why() {
    let (founder, mut second) = connected_pair().await;
    assert_eq!(ask(&founder, &second, "unknown", PATIENCE).await, Err(AskError::NoAnswer));
    let (bytes, max) = (ASK_BODY_BYTES_MAX + 1, ASK_BODY_BYTES_MAX);
    assert_eq!(ask(&founder, &second, vec![1; bytes], PATIENCE).await, Err(AskError::TooLarge { bytes, max }));
    let stranger = founder.node.as_ref().unwrap().ask(id(9), Bytes::new(), PATIENCE).await;
    assert_eq!(stranger, Err(AskError::NotConnected));
    let after = Duration::from_millis(30);
    assert_eq!(ask(&founder, &second, "never", after).await, Err(AskError::TimedOut { after }));
    // A peer that goes takes its answers along.
    let unanswered = founder.node.as_ref().unwrap().ask(second.id, "never".into(), PATIENCE);
    let (answer, ()) = tokio::join!(unanswered, second.stop());
    assert_eq!(answer, Err(AskError::Lost));
    until("it is gone", || !founder.is_connected_to(&second)).await;
    assert_eq!(ask(&founder, &second, "who?", PATIENCE).await, Err(AskError::NotConnected));
}

#[tokio::test]
async fn a_thousand_questions_at_once_are_all_answered_a_few_hundred_at_a_time() {
    let (founder, second) = connected_pair().await;
    let mut asking = JoinSet::new();
    for number in 0..1_000_u32 {
        let question = Bytes::copy_from_slice(&number.to_be_bytes());
        let answer = founder.node.as_ref().unwrap().ask(second.id, question.clone(), PATIENCE);
        asking.spawn(async move { (answer.await, question) });
    }
    for (answer, question) in asking.join_all().await {
        assert_eq!(answer, Ok(question));
    }
    let max = second.host.answering_max.load(Ordering::Relaxed);
    assert!((2..=256).contains(&max), "{max} at a time");
    assert!(founder.is_connected_to(&second), "the peer's bound was kept");
}

#[tokio::test]
async fn a_question_into_a_cut_link_fails_and_the_next_connection_answers() {
    let mut founder = Site::founder(1);
    let link = Link::to(founder.start(vec![])).await;
    let mut second = Site::admitted_by(&founder, 2);
    second.start(vec![founder.contact_at(link.address)]);
    until_converged(&[&founder, &second]).await;
    link.cut();
    let after = Duration::from_millis(100);
    assert_eq!(ask(&second, &founder, "who?", after).await, Err(AskError::TimedOut { after }));
    // Nobody is kept waiting for longer than it takes to notice.
    let lost = timeout(Duration::from_secs(8), ask(&second, &founder, "who?", PATIENCE)).await.unwrap();
    assert_eq!(lost, Err(AskError::Lost));
    until("both notice", || matches!(second.peer(&founder).state, PeerState::Unreachable { .. })).await;
    link.join();
    until("they are connected again", || second.is_connected_to(&founder)).await;
    assert!(ask(&second, &founder, "who?", PATIENCE).await.is_ok());
}

#[tokio::test]
async fn questions_go_on_beside_records() {
    let (founder, second) = connected_pair().await;
    (0..40).for_each(|_| founder.host.write(1 << 20));
    let began = std::time::Instant::now();
    let mut answered = 0;
    while second.host.frontier() != founder.host.frontier() {
        assert!(began.elapsed() < PATIENCE);
        assert!(ask(&founder, &second, "who?", PATIENCE).await.is_ok());
        answered += 1;
    }
    assert!(answered >= 3, "{answered} questions were answered while 40 MiB went by");
}
