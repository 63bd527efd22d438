//! Nodes over real connections on 127.0.0.1: they converge, let in who belongs, and turn away all others by name.

#![cfg(feature = "quic")]
#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod asks;
mod joining;
mod quarantine;
mod rates;
mod topologies;
mod transfers;
mod support {
    pub(crate) mod host;
    pub(crate) mod link;
    pub(crate) mod outsider;
    pub(crate) mod site;
    #[expect(dead_code, reason = "the toy can do more, for the sessions' own tests")]
    #[path = "../../session/support/toy_store.rs"]
    pub(crate) mod toy_store;
}

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use support::{
    host::{ToyHost, WALL_MS},
    link::Link,
    outsider::{Outsider, greeting},
    site::{MESH, Site, key, until, until_converged},
    toy_store::{id, vector},
};
use tokio::time::{sleep, timeout};
use tombolo_net::{
    Admission, AdmissionTerms, ChainFault, Contact, Event, Fault, Host, Limits, Moment, Node, Output, PeerError,
    PeerRefusal, PeerState, Refusal, Report, Roster, Session, Settings, StartError,
};

/// A founder and a replica that it admitted, which knows the founder as a contact.
fn pair() -> (Site, Site) {
    let mut founder = Site::founder(1);
    founder.start(vec![]);
    let mut second = Site::admitted_by(&founder, 2);
    second.start(vec![founder.contact()]);
    (founder, second)
}

async fn connected_pair() -> (Site, Site) {
    let (founder, second) = pair();
    until("they are connected", || founder.is_connected_to(&second) && second.is_connected_to(&founder)).await;
    (founder, second)
}

fn last_error(site: &Site, peer: &Site) -> Option<PeerError> {
    match site.find_peer(peer)?.state {
        PeerState::Unreachable { last_error, .. } => Some(last_error),
        _ => None,
    }
}

/// How sessions with `peer` ended here.
fn ends(site: &Site, peer: &Site) -> Vec<PeerError> {
    let reports = site.host.reports.lock();
    let ends = reports.iter().filter_map(|report| match report {
        Report::Disconnected { peer: of, cause } if *of == peer.id => Some(cause.clone()),
        _ => None,
    });
    ends.collect()
}

fn turned_away(site: &Site) -> Vec<Refusal> {
    let reports = site.host.reports.lock();
    let away = reports.iter().filter_map(|report| match report {
        Report::TurnedAway { refusal, .. } => Some(refusal.clone()),
        _ => None,
    });
    away.collect()
}

/// What `site` says first in a session with `peer`.
fn hello(site: &Site, peer: &Site) -> Vec<u8> {
    let settings = Settings { mesh: MESH, own: site.id, peer: peer.id, limits: Limits::default() };
    let mut session = Session::new(settings, site.host.standing().borrow().clone(), Moment(0), WALL_MS);
    let Some(Output::Send(hello)) = session.poll() else { panic!("a session says hello first") };
    hello.into()
}

#[tokio::test]
async fn two_nodes_exchange_what_they_had_and_what_they_write() {
    let (founder, second) = pair();
    (0..200).for_each(|_| second.host.write(100));
    (0..200).for_each(|_| founder.host.write(3_000));
    until_converged(&[&founder, &second]).await;
    assert_eq!(second.host.frontier(), vector(&[(1, 202), (2, 200)]));
    founder.host.write(5 << 20);
    second.host.write(10);
    until_converged(&[&founder, &second]).await;
    let (there, here) = (founder.peer(&second), second.peer(&founder));
    assert!(there.sent_bytes > 1 << 13 && here.received_bytes > 1 << 13);
    assert!(there.sent_bytes < 1 << 20, "one value resembles the other");
    assert!(there.rtt.unwrap() < Duration::from_secs(1));
    assert!(there.status.is_established && matches!(here.state, PeerState::Connected { .. }));
}

#[tokio::test]
async fn three_in_a_chain_converge_by_forwarding() {
    let mut founder = Site::founder(1);
    founder.start(vec![]);
    let mut second = Site::admitted_by(&founder, 2);
    second.start(vec![founder.contact()]);
    let mut third = Site::admitted_by(&founder, 3);
    third.start(vec![second.contact()]);
    for site in [&founder, &second, &third] {
        (0..50).for_each(|_| site.host.write(100));
    }
    until_converged(&[&founder, &second, &third]).await;
    assert_eq!(third.host.frontier(), vector(&[(1, 53), (2, 50), (3, 50)]));
    until("the ends have not met", || last_error(&third, &founder) == Some(PeerError::NoAddress)).await;
    // The middle one tells each end what the other has applied.
    let heard_of = |site: &Site, member: &Site| {
        let events = site.host.events.lock();
        events
            .iter()
            .any(|(_, event)| matches!(event, Event::Rows(rows) if rows.iter().any(|row| row.member == member.id)))
    };
    until("rows are relayed", || heard_of(&third, &founder) && heard_of(&founder, &third)).await;
}

#[tokio::test]
async fn members_find_each_other_by_what_they_announce() {
    let (founder, second) = connected_pair().await;
    let mut third = Site::admitted_by(&founder, 3);
    let address = third.start(vec![founder.contact()]);
    third.host.announce(address);
    until("the second has dialed the third", || second.node.as_ref().unwrap().peers().len() == 2).await;
    until("they are connected", || second.is_connected_to(&third) && third.is_connected_to(&second)).await;
    until_converged(&[&founder, &second, &third]).await;
}

#[tokio::test]
async fn who_answers_with_another_key_is_not_spoken_to() {
    let mut founder = Site::founder(1);
    founder.start(vec![]);
    let mut second = Site::admitted_by(&founder, 2);
    let wrong = Contact { key: key(9).public(), ..founder.contact() };
    // Its own chain would know better.
    second.chain = vec![];
    second.host = Arc::new(ToyHost::new(2, key(2)));
    second.start(vec![wrong.clone()]);
    until("the wrong key is seen", || {
        last_error(&second, &founder) == Some(PeerError::WrongKey { address: wrong.addresses[0].clone() })
    })
    .await;
    assert!(second.host.frontier().is_empty());
    assert_eq!(turned_away(&founder), []);
}

#[tokio::test]
async fn a_stranger_is_refused_until_it_presents_a_chain() {
    let mut founder = Site::founder(1);
    founder.start(vec![]);
    let mut stranger = Site::stranger(&founder, 2);
    let chain = std::mem::take(&mut stranger.chain);
    stranger.start(vec![founder.contact()]);
    let unknown = Refusal::Peer(PeerRefusal::Unknown);
    until("it is refused", || last_error(&stranger, &founder) == Some(PeerError::RefusedUs(unknown.clone()))).await;
    assert_eq!(turned_away(&founder)[0], unknown);
    assert!(stranger.host.frontier().is_empty());
    stranger.stop().await;

    stranger.host.introduce(&chain);
    stranger.chain = chain;
    stranger.start(vec![founder.contact()]);
    stranger.host.write(10);
    until_converged(&[&founder, &stranger]).await;
    assert_eq!(founder.host.frontier(), vector(&[(1, 1), (2, 2)]));
}

#[tokio::test]
async fn an_admission_of_somebody_unknown_opens_nothing() {
    let mut founder = Site::founder(1);
    founder.start(vec![]);
    let other = Site::founder(8);
    let mut stranger = Site::stranger(&other, 2);
    stranger.start(vec![founder.contact()]);
    let unknown = PeerError::RefusedUs(Refusal::Peer(PeerRefusal::Unknown));
    until("it is refused", || last_error(&stranger, &founder) == Some(unknown.clone())).await;
    assert!(stranger.host.frontier().is_empty());
}

#[tokio::test]
async fn a_member_under_another_key_and_a_copy_of_ourselves_are_refused() {
    let (founder, _second) = connected_pair().await;
    let to = founder.contact().addresses[0].parse().unwrap();
    let answers = [
        (greeting(MESH, 2), PeerRefusal::WrongKey, 3),
        (greeting(MESH, 1), PeerRefusal::OurIdentity, 2),
        (greeting(MESH + 1, 2), PeerRefusal::WrongMesh, 1),
        (b"GET / HTTP/1.1".to_vec(), PeerRefusal::Malformed, 7),
    ];
    for (said, refusal, code) in answers {
        let mut outsider = Outsider::connect(to, &key(77)).await;
        outsider.send(&said).await;
        let answer = outsider.receive().await;
        assert_eq!(answer[..2], [4, code], "{refusal}");
        assert_eq!(outsider.closed().await, 65536 + u64::from(code));
        assert_eq!(turned_away(&founder).last(), Some(&Refusal::Peer(refusal)));
    }
}

#[tokio::test]
async fn a_hello_that_comes_with_the_greeting_is_heard_at_once() {
    let (founder, mut second) = connected_pair().await;
    second.stop().await;
    let mut outsider = Outsider::connect(founder.listen, &second.key).await;
    let (greeting, hello) = (greeting(MESH, 2), hello(&second, &founder));
    let frame = |payload: &[u8]| [&u32::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat();
    outsider.write(&[frame(&greeting), frame(&hello)].concat()).await;
    let heard = async {
        while !founder.is_connected_to(&second) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    // Nothing else comes that could wake whoever sleeps over it.
    assert_eq!(timeout(Duration::from_secs(3), heard).await, Ok(()));
}

#[tokio::test]
async fn a_stranger_can_have_little_of_our_memory() {
    let mut founder = Site::founder(1);
    let to = founder.start(vec![]);
    let mut outsider = Outsider::connect(to, &key(77)).await;
    // A message that is refused, and behind it as much as is taken while the refusal is on its way.
    outsider.send(&[9]).await;
    let mut taken = 0_usize;
    let flood = async {
        while let Ok(bytes) = outsider.send.write(&[0; 1 << 14]).await {
            taken += bytes;
        }
    };
    let _ = timeout(Duration::from_millis(700), flood).await;
    assert!(taken < 512 << 10, "{taken} bytes of a stranger are held");
}

#[tokio::test]
async fn frames_that_break_the_rules_close_with_a_named_fault() {
    let (founder, mut second) = connected_pair().await;
    second.stop().await;
    let to = founder.contact().addresses[0].parse().unwrap();
    let before = founder.host.frontier();
    let too_large: fn(&Fault) -> bool = |fault| matches!(fault, Fault::FrameTooLarge { .. });
    let malformed: fn(&Fault) -> bool = |fault| matches!(fault, Fault::Malformed(_));
    let broken: [(&[u8], u64, _); 3] = [
        (&[0xff, 0xff, 0xff, 0xff, 1], 2, too_large),
        (&[0, 0, 0, 3, 1, 2, 3], 1, malformed),
        (&[0, 0, 0, 0], 1, malformed),
    ];
    for (bytes, code, is_expected) in broken {
        let known = ends(&founder, &second).len();
        let mut outsider = Outsider::connect(to, &key(2)).await;
        outsider.send(&greeting(MESH, 2)).await;
        assert_eq!(outsider.receive().await[0], 1, "it is greeted");
        outsider.write(bytes).await;
        assert_eq!(outsider.closed().await, code);
        until("the end is reported", || ends(&founder, &second).len() > known).await;
        let end = ends(&founder, &second).pop();
        assert!(matches!(&end, Some(PeerError::Session(fault)) if is_expected(fault)), "{end:?}");
    }
    assert_eq!(founder.host.frontier(), before);
}

#[tokio::test]
async fn who_says_nothing_or_half_a_word_is_not_waited_for() {
    let (founder, second) = connected_pair().await;
    let began = Instant::now();
    let silent = Outsider::connect(founder.listen, &key(77)).await;
    let mut slow = Outsider::connect(founder.listen, &second.key).await;
    slow.write(&[0, 0, 0, 26, 1, 0]).await;
    let endings = timeout(Duration::from_secs(8), async { (silent.closed().await, slow.closed().await) }).await;
    assert_eq!(endings, Ok((0, 0)));
    assert!(began.elapsed() > Duration::from_secs(4), "a slow link has some time");
    assert!(founder.is_connected_to(&second));
}

#[tokio::test]
async fn a_frame_that_trickles_in_is_not_waited_for_for_ever() {
    let (founder, mut second) = connected_pair().await;
    second.stop().await;
    let mut outsider = Outsider::connect(founder.listen, &second.key).await;
    outsider.send(&greeting(MESH, 2)).await;
    outsider.receive().await;
    outsider.send(&hello(&second, &founder)).await;
    outsider.write(&[0, 0, 1, 0]).await;
    let known = ends(&founder, &second).len();
    // Each byte is a sign of life.
    for _ in 0..200 {
        if ends(&founder, &second).len() > known {
            break;
        }
        outsider.send.write_all(&[2]).await.ok();
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ends(&founder, &second).pop(), Some(PeerError::Session(Fault::Stalled)));
}

#[tokio::test]
async fn a_cut_link_is_noticed_and_what_was_sent_is_not_sent_again() {
    let mut founder = Site::founder(1);
    let link = Link::to(founder.start(vec![])).await;
    let mut second = Site::admitted_by(&founder, 2);
    second.start(vec![founder.contact_at(link.address)]);
    (0..100).for_each(|_| founder.host.write(100));
    until_converged(&[&founder, &second]).await;

    link.cut();
    (0..50).for_each(|_| founder.host.write(100));
    (0..50).for_each(|_| second.host.write(100));
    let silent = |site: &Site, peer: &Site| matches!(site.peer(peer).state, PeerState::Unreachable { .. });
    until("both notice", || silent(&founder, &second) && silent(&second, &founder)).await;
    let cause = ends(&second, &founder).pop().unwrap();
    assert!(matches!(cause, PeerError::TimedOut | PeerError::Session(Fault::Silent)), "{cause:?}");
    link.join();
    until_converged(&[&founder, &second]).await;
    assert_eq!(second.host.frontier(), vector(&[(1, 152), (2, 50)]));
    assert_eq!(second.host.ingested.load(Ordering::Relaxed), 152, "each record came once");
    assert_eq!(founder.host.ingested.load(Ordering::Relaxed), 50);
}

#[tokio::test]
async fn a_restarted_node_is_found_again() {
    let (mut founder, second) = connected_pair().await;
    founder.stop().await;
    second.host.write(10);
    founder.start(vec![]);
    founder.host.write(10);
    until_converged(&[&founder, &second]).await;
    assert_eq!(second.host.frontier(), vector(&[(1, 3), (2, 1)]));
}

#[tokio::test]
async fn a_node_that_stops_says_goodbye() {
    let (mut founder, second) = connected_pair().await;
    timeout(Duration::from_secs(2), founder.stop()).await.unwrap();
    until("the second hears it", || !ends(&second, &founder).is_empty()).await;
    assert_eq!(
        ends(&second, &founder)[0],
        PeerError::Session(Fault::PeerClosed { code: 0, text: Fault::Stopped.to_string() })
    );
    assert_eq!(ends(&founder, &second), [PeerError::Session(Fault::Stopped)]);
}

#[tokio::test]
async fn two_that_dial_each_other_at_once_end_with_one_connection() {
    // Each end sees the connection that it did not dial first, and the other one as the newer.
    let mut founder = Site::founder(1);
    let mut second = Site::admitted_by(&founder, 2);
    let (first_at, second_at) = (founder.start(vec![]), second.start(vec![]));
    founder.stop().await;
    second.stop().await;
    let (to_first, to_second) = (Link::to(first_at).await, Link::to(second_at).await);
    to_first.delay(1_200);
    to_second.delay(1_200);
    founder.start(vec![second.contact_at(to_second.address)]);
    second.start(vec![founder.contact_at(to_first.address)]);
    let crossed = |site: &Site| {
        let reports = site.host.reports.lock();
        let dialed = |wanted| {
            reports.iter().any(|report| matches!(report, Report::Connected { dialed, .. } if *dialed == wanted))
        };
        dialed(true) && dialed(false)
    };
    until("both dialed and both were dialed", || crossed(&founder) && crossed(&second)).await;
    to_first.delay(0);
    to_second.delay(0);

    let open = |site: &Site| {
        let reports = site.host.reports.lock();
        let count = |of: fn(&Report) -> bool| reports.iter().filter(|report| of(report)).count();
        count(|report| matches!(report, Report::Connected { .. }))
            - count(|report| matches!(report, Report::Disconnected { .. }))
    };
    until("one is left", || open(&founder) == 1 && open(&second) == 1).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!((open(&founder), open(&second)), (1, 1));
    assert_eq!(ends(&founder, &second), [PeerError::Session(Fault::Superseded)]);
    founder.host.write(10);
    until_converged(&[&founder, &second]).await;
}

#[tokio::test]
async fn who_leaves_the_roster_is_disconnected() {
    let (founder, second) = connected_pair().await;
    founder.host.set_roster(Roster::default());
    until("the second is disconnected", || !ends(&second, &founder).is_empty()).await;
    assert_eq!(ends(&founder, &second)[0], PeerError::Session(Fault::NotAMember));
}

#[tokio::test]
async fn who_gets_another_key_in_the_roster_is_disconnected_and_refused() {
    let (founder, second) = connected_pair().await;
    let terms = AdmissionTerms { key: key(9).public(), ..second.chain[0].terms };
    founder.host.write_admission(&Admission::sign(terms, &founder.key));
    until("the second is disconnected", || !ends(&second, &founder).is_empty()).await;
    assert_eq!(ends(&founder, &second)[0], PeerError::Session(Fault::NotAMember));
    let refused = PeerError::RefusedUs(Refusal::Peer(PeerRefusal::WrongKey));
    until("it is refused from now on", || last_error(&second, &founder) == Some(refused.clone())).await;
}

#[tokio::test]
async fn a_key_that_is_shown_and_not_held_opens_nothing() {
    let (founder, second) = connected_pair().await;
    match Outsider::try_connect(founder.listen, &second.key, &key(9)).await {
        // TLS is through for the dialer before the acceptor has judged its proof.
        Ok(outsider) => {
            let closed = outsider.connection.closed().await.to_string();
            assert!(closed.contains("cryptographic"), "{closed}");
        }
        Err(error) => assert!(error.to_string().contains("cryptographic"), "{error}"),
    }
    assert!(founder.is_connected_to(&second));
}

#[tokio::test]
async fn a_node_does_not_start_with_what_is_not_its_own() {
    let founder = Site::founder(1);
    let second = Site::admitted_by(&founder, 2);
    let start = |change: &dyn Fn(&mut tombolo_net::NodeConfig)| {
        let mut config = second.config(vec![]);
        change(&mut config);
        Node::start(config, second.host.clone()).err()
    };
    assert!(start(&|_| {}).is_none());
    assert!(matches!(start(&|config| config.key = key(3)), Some(StartError::NotOurs { .. })));
    assert!(matches!(start(&|config| config.own = id(3)), Some(StartError::NotOurs { .. })));
    let forge = |config: &mut tombolo_net::NodeConfig| config.chain[0].signature.0[0] ^= 1;
    assert!(matches!(start(&forge), Some(StartError::Chain(ChainFault::Forged { .. }))));
    let cut = |config: &mut tombolo_net::NodeConfig| config.chain.truncate(1);
    assert!(matches!(start(&cut), Some(StartError::Chain(ChainFault::NoEnd { .. }))));
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    assert!(matches!(start(&|config| config.listen = listen), Some(StartError::Socket { .. })));
}

#[tokio::test]
async fn two_that_cannot_agree_do_not_try_all_the_time() {
    let (mut founder, second) = connected_pair().await;
    founder.host.announce(founder.listen);
    second.host.announce(second.listen);
    (0..20).for_each(|_| founder.host.write(10));
    until_converged(&[&founder, &second]).await;
    founder.stop().await;
    // It has lost what it wrote, and the second will not have it.
    founder.host = Arc::new(ToyHost::new(1, key(1)));
    founder.host.write_admission(&founder.chain[0]);
    founder.host.write_admission(&second.chain[0]);
    founder.host.announce(founder.listen);
    founder.start(vec![second.contact()]);
    sleep(Duration::from_secs(6)).await;
    let before = ends(&founder, &second).len();
    assert!(before > 0, "they have tried");
    sleep(Duration::from_secs(8)).await;
    let since = ends(&founder, &second).len() - before;
    assert!(since <= 5, "{since} times in 8 s after {before} in 6 s");
    let end = ends(&founder, &second).pop();
    assert!(matches!(end, Some(PeerError::Session(Fault::AheadOfUs { .. }))), "{end:?}");
}
