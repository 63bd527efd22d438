//! Whoever sends what nobody may send is not spoken with for a while, and everybody else is.

use std::time::{Duration, Instant};

use tombolo_net::{Fault, PeerError, PeerRefusal, Quarantined, Refusal, Report};

use super::{
    connected_pair, ends, hello,
    support::{
        outsider::{Outsider, greeting},
        site::{MESH, Site, until, until_converged},
    },
    turned_away,
};

/// Comes as `who`, and takes back what it has said.
async fn takes_back(to: &Site, who: &Site) -> u64 {
    let mut outsider = Outsider::connect(to.listen, &who.key).await;
    outsider.send(&greeting(MESH, who.id.get())).await;
    outsider.receive().await;
    outsider.send(&hello(who, to)).await;
    // Message 3: the seq 1 of its own stream, which it has said it has.
    outsider.send(&[&[3, 1][..], &who.id.get().to_be_bytes(), &[1]].concat()).await;
    outsider.closed().await
}

fn quarantines(site: &Site) -> Vec<Quarantined> {
    let reports = site.host.reports.lock();
    let told = reports.iter().filter_map(|report| match report {
        Report::Quarantined(told) => Some(told.clone()),
        _ => None,
    });
    told.collect()
}

#[tokio::test]
async fn who_breaks_faith_is_shut_out_for_a_growing_time_and_nobody_else_is() {
    let (founder, mut second) = connected_pair().await;
    let mut third = Site::admitted_by(&founder, 3);
    third.start(vec![founder.contact()]);
    second.host.write(10);
    until_converged(&[&founder, &second]).await;
    second.stop().await;
    assert_eq!(takes_back(&founder, &second).await, 11);
    until("it is reported", || !quarantines(&founder).is_empty()).await;
    let [told] = &quarantines(&founder)[..] else { panic!("once") };
    assert_eq!((told.replica, told.times, told.left), (second.id, 1, Duration::from_secs(5)));
    let end = ends(&founder, &second).pop();
    assert!(
        matches!(&end, Some(PeerError::Session(fault @ Fault::WentBackwards { .. })) if fault.to_string() == told.why)
    );
    let shut_out = Instant::now();

    // It is refused by name, and is not dialed; the third comes and goes as it likes.
    let mut outsider = Outsider::connect(founder.listen, &second.key).await;
    outsider.send(&greeting(MESH, second.id.get())).await;
    assert_eq!(outsider.closed().await, 65_536 + 10);
    assert_eq!(turned_away(&founder).last(), Some(&Refusal::Peer(PeerRefusal::Quarantined)));
    third.host.write(10);
    until_converged(&[&founder, &third]).await;
    second.start(vec![founder.contact()]);

    // By and by it is let in again, having mended its ways.
    until("it is let in", || founder.is_connected_to(&second) && second.is_connected_to(&founder)).await;
    assert!(shut_out.elapsed() > Duration::from_secs(4), "{:?}", shut_out.elapsed());
    until_converged(&[&founder, &second, &third]).await;
    second.stop().await;
    assert_eq!(takes_back(&founder, &second).await, 11);
    until("it is reported", || quarantines(&founder).len() == 2).await;
    let again = quarantines(&founder).remove(1);
    assert_eq!((again.times, again.left), (2, Duration::from_secs(20)));
}

#[tokio::test]
async fn a_host_ends_the_connection_to_whoever_has_lied_to_it() {
    let (founder, second) = connected_pair().await;
    let told = founder.node.as_ref().unwrap().quarantine(second.id, "its state is not proven".into()).unwrap();
    assert_eq!((told.replica, told.times), (second.id, 1));
    until("it is gone", || !founder.is_connected_to(&second)).await;
    let end = ends(&founder, &second).pop();
    assert_eq!(end, Some(PeerError::Session(Fault::Quarantined)));
    until("it is told", || {
        matches!(ends(&second, &founder).pop(), Some(PeerError::Session(Fault::PeerClosed { code: 37, .. })))
    })
    .await;
    assert_eq!(founder.node.as_ref().unwrap().quarantined().len(), 1);
}
