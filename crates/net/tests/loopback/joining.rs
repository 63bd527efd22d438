//! Joining by ticket: it is redeemed once, and whoever has none that holds is told why.

use std::sync::atomic::Ordering;

use tombolo_net::{Announcement, Candidate, JoinError, JoinRefusal, PeerError, Secret, TicketId, join};

use crate::{
    support::{
        outsider::Outsider,
        site::{Site, key, until_converged},
        toy_store::id,
    },
    turned_away,
};

#[tokio::test]
async fn a_ticket_is_redeemed_once() {
    let mut founder = Site::founder(1);
    founder.start(vec![]);
    let ticket = founder.invite(5);
    let candidate = |number| Candidate { replica: id(number), announcement: Announcement::default() };

    let welcome = join(&ticket, &key(2), candidate(2)).await.unwrap();
    assert_eq!(welcome.chain(), [welcome.admission, founder.chain[0]]);
    assert_eq!((welcome.admission.terms.replica, welcome.admission.terms.key), (id(2), key(2).public()));
    // Asked again by the same replica with the same key, the answer is the same.
    assert_eq!(join(&ticket, &key(2), candidate(2)).await.unwrap(), welcome);
    let refused = |answer| match answer {
        Err(JoinError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(join(&ticket, &key(3), candidate(3)).await), JoinRefusal::Reused);
    assert_eq!(refused(join(&ticket, &key(3), candidate(2)).await), JoinRefusal::Reused);

    // The one admitted is let in.
    let mut second = Site::new(2, welcome.chain());
    second.start(vec![founder.contact()]);
    until_converged(&[&founder, &second]).await;
    assert_eq!(second.host.frontier(), founder.host.frontier());
}

#[tokio::test]
async fn a_ticket_that_does_not_hold_is_refused_by_name() {
    let mut founder = Site::founder(1);
    founder.start(vec![]);
    let ticket = founder.invite(5);
    let candidate = || Candidate { replica: id(2), announcement: Announcement::default() };
    let before = founder.host.frontier();

    let mut wrong = ticket.clone();
    wrong.secret = Secret([6; 16]);
    let answer = join(&wrong, &key(2), candidate()).await;
    assert!(matches!(answer, Err(JoinError::Refused(JoinRefusal::WrongSecret))), "{answer:?}");
    let mut unknown = ticket.clone();
    unknown.id = TicketId(6);
    let answer = join(&unknown, &key(2), candidate()).await;
    assert!(matches!(answer, Err(JoinError::Refused(JoinRefusal::UnknownTicket))), "{answer:?}");
    founder.host.wall_ms.store(ticket.expires_ms, Ordering::Relaxed);
    let answer = join(&ticket, &key(2), candidate()).await;
    assert!(matches!(answer, Err(JoinError::Refused(JoinRefusal::Expired))), "{answer:?}");
    // A ticket with another key in it tells nobody the secret.
    let mut other = ticket.clone();
    other.issuer_key = key(9).public();
    let answer = join(&other, &key(2), candidate()).await;
    assert!(matches!(answer, Err(JoinError::Unreachable(PeerError::WrongKey { .. }))), "{answer:?}");
    assert_eq!(founder.host.frontier(), before, "nothing was written");
    assert_eq!(turned_away(&founder).len(), 3);
}

#[tokio::test]
async fn attempts_to_join_run_out() {
    let mut founder = Site::founder(1);
    let to = founder.start(vec![]);
    let mut codes = Vec::new();
    for _ in 0..40 {
        let mut outsider = Outsider::connect(to, &key(77)).await;
        let announcement = Announcement::default().encode();
        let join = [&[2][..], &[9; 8], &[9; 16], &77_u64.to_be_bytes(), &[announcement.len() as u8], &announcement];
        outsider.send(&join.concat()).await;
        codes.push(outsider.receive().await[1]);
    }
    assert_eq!(codes[..16], [32; 16], "the ticket is not known");
    assert!(codes.iter().filter(|code| **code == 37).count() >= 10, "too many attempts: {codes:?}");
}
