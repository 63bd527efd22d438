//! The relay between plain sockets.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::{Relay, Traffic};

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(150);

struct Bench {
    relay: Relay,
    sites: Vec<UdpSocket>,
}

fn bench(sites: usize) -> Bench {
    let sites: Vec<UdpSocket> = (0..sites).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<SocketAddr> = sites.iter().map(|site| site.local_addr().unwrap()).collect();
    Bench { relay: Relay::start(&addresses, 1).unwrap(), sites }
}

impl Bench {
    fn send(&self, from: usize, to: usize, text: &str) {
        self.sites[from].send_to(text.as_bytes(), self.relay.front(to)).unwrap();
    }

    fn receive_within(&self, site: usize, patience: Duration) -> Option<(String, SocketAddr)> {
        self.sites[site].set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 100];
        match self.sites[site].recv_from(&mut buffer) {
            Ok((length, source)) => Some((String::from_utf8(buffer[..length].to_vec()).unwrap(), source)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn receive(&self, site: usize) -> (String, SocketAddr) {
        self.receive_within(site, LONG).expect("a packet")
    }

    fn hears_nothing(&self, site: usize) -> bool {
        self.receive_within(site, SHORT).is_none()
    }
}

#[test]
fn an_answer_travels_back_the_way_the_question_came() {
    let bench = bench(2);
    bench.send(0, 1, "question");
    let (question, peer) = bench.receive(1);
    assert_eq!(question, "question");
    bench.sites[1].send_to(b"answer", peer).unwrap();
    assert_eq!(bench.receive(0), ("answer".to_owned(), bench.relay.front(1)));
}

#[test]
fn a_site_sees_each_peer_at_an_address_of_its_own_and_always_at_the_same() {
    let bench = bench(3);
    bench.send(0, 2, "from 0");
    let first = bench.receive(2);
    bench.send(1, 2, "from 1");
    let second = bench.receive(2);
    bench.send(0, 2, "again");
    let third = bench.receive(2);
    assert_ne!(first.1, second.1);
    assert_eq!(first.1, third.1);
}

#[test]
fn one_direction_can_be_cut_alone_and_comes_back() {
    let bench = bench(2);
    bench.send(0, 1, "hello");
    let (_, peer) = bench.receive(1);
    bench.relay.link(1, 0).change(|conditions| conditions.cut = true);
    bench.sites[1].send_to(b"not heard", peer).unwrap();
    bench.send(1, 0, "not heard either");
    assert!(bench.hears_nothing(0));
    bench.send(0, 1, "the other way");
    assert_eq!(bench.receive(1).0, "the other way");
    bench.relay.heal_all();
    bench.sites[1].send_to(b"heard", peer).unwrap();
    assert_eq!(bench.receive(0).0, "heard");
}

#[test]
fn an_isolated_site_hears_nobody_while_the_others_hear_each_other() {
    let bench = bench(3);
    bench.relay.isolate(2);
    bench.send(0, 2, "lost");
    bench.send(2, 1, "lost");
    bench.send(0, 1, "heard");
    assert_eq!(bench.receive(1).0, "heard");
    assert!(bench.hears_nothing(2) && bench.hears_nothing(1));
}

#[test]
fn a_delay_is_kept_in_the_order_of_sending() {
    let bench = bench(2);
    let delay = Duration::from_millis(60);
    bench.relay.change_all(|_, _, conditions| conditions.delay = delay);
    let sent = Instant::now();
    for number in 0..20 {
        bench.send(0, 1, &number.to_string());
    }
    for number in 0..20 {
        assert_eq!(bench.receive(1).0, number.to_string());
        assert!(sent.elapsed() >= delay);
    }
}

#[test]
fn what_is_under_way_when_the_link_is_cut_is_lost() {
    let bench = bench(2);
    bench.relay.link(0, 1).change(|conditions| conditions.delay = Duration::from_millis(100));
    bench.send(0, 1, "too late");
    std::thread::sleep(Duration::from_millis(20));
    bench.relay.cut(0, 1);
    std::thread::sleep(Duration::from_millis(150));
    bench.relay.heal(0, 1);
    assert!(bench.hears_nothing(1));
    assert_eq!(bench.relay.link(0, 1).traffic(), Traffic { packets: 0, bytes: 0, lost: 1 });
}

#[test]
fn packets_bytes_and_losses_are_counted_for_each_direction() {
    let bench = bench(2);
    bench.send(0, 1, "12345");
    bench.receive(1);
    bench.relay.cut(0, 1);
    bench.send(0, 1, "lost");
    assert!(bench.hears_nothing(1));
    assert_eq!(bench.relay.link(0, 1).traffic(), Traffic { packets: 1, bytes: 5, lost: 1 });
    assert_eq!(bench.relay.link(1, 0).traffic(), Traffic::default());
    assert_eq!(bench.relay.traffic(), Traffic { packets: 1, bytes: 5, lost: 1 });
}

#[test]
fn a_doubled_packet_comes_twice() {
    let bench = bench(2);
    bench.relay.change_all(|_, _, conditions| conditions.duplication = 1_000);
    bench.send(0, 1, "twice");
    assert_eq!((bench.receive(1).0.as_str(), bench.receive(1).0.as_str()), ("twice", "twice"));
    assert!(bench.hears_nothing(1));
}

#[test]
fn a_stranger_talks_to_a_site_whatever_the_links_do() {
    let bench = bench(2);
    bench.relay.isolate(1);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(LONG)).unwrap();
    stranger.send_to(b"may I join", bench.relay.front(1)).unwrap();
    let (question, source) = bench.receive(1);
    assert_eq!(question, "may I join");
    bench.sites[1].send_to(b"you may", source).unwrap();
    let mut buffer = [0; 10];
    let (length, source) = stranger.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], source), (b"you may".as_slice(), bench.relay.front(1)));
}

#[test]
fn a_dropped_relay_gives_its_addresses_back() {
    let bench = bench(2);
    let front = bench.relay.front(0);
    drop(bench.relay);
    UdpSocket::bind(front).unwrap();
}
