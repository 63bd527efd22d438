//! Messages out of turn, too many, too large, too slow, or none at all.

use bytes::Bytes;
use tombolo_crdt::codec::put_varint;
use tombolo_net::{BadPacking, Fault, Limits, Message};

use crate::{
    scene::{Scene, contained, harmless},
    villain::{dot, put, vector},
};

#[test]
fn nothing_comes_before_the_hello_and_no_second_one_after_it() {
    for (message, kind) in [
        (Message::Have(vector(&[(2, 1)])), 3),
        (Message::Records(vec![vec![0; 40].into()]), 2),
        (Message::Ask { id: 1, body: Bytes::new() }, 28),
    ] {
        let fault = contained(Scene::silent(), |scene| scene.say(message));
        assert_eq!(fault, Fault::OutOfTurn { kind });
    }
    let fault = contained(Scene::silent(), |scene| {
        let mut author = scene.two.clone();
        author.write(vec![put("k", "v")]);
        scene.say(Message::Heads(vec![author.head()]));
    });
    assert_eq!(fault, Fault::OutOfTurn { kind: 24 });
    let fault = contained(Scene::open(), |scene| {
        let hello = scene.hello();
        scene.say(Message::Hello(hello));
    });
    assert_eq!(fault, Fault::OutOfTurn { kind: 1 });
}

#[test]
fn unknown_messages_are_a_fault_or_skipped_as_their_number_says() {
    for kind in [7, 15, 25, 31, 127] {
        let fault = contained(Scene::open(), |scene| scene.say_bytes(vec![kind, 1, 2, 3].into()));
        assert_eq!(fault, Fault::UnknownMessage { kind });
    }
    harmless(Scene::open(), |scene| (0..1_000).for_each(|_| scene.say_bytes(vec![200, 1, 2, 3].into())));
}

#[test]
fn garbage_is_malformed() {
    for kind in [1, 2, 3, 4, 5, 6, 16, 17, 18, 24, 28, 29, 32] {
        let fault = contained(Scene::open(), |scene| scene.say_bytes(vec![kind; 33].into()));
        let is_named = matches!(
            fault,
            Fault::Malformed(_)
                | Fault::OutOfTurn { .. }
                | Fault::WrongProtocol { .. }
                | Fault::BadPacking(_)
                | Fault::TooManyReplicas { .. }
                | Fault::StalePull { .. }
                | Fault::UnaskedPage { .. }
                | Fault::UnaskedAnswer { .. }
        );
        assert!(is_named, "{kind}: {fault}");
    }
    let fault = contained(Scene::open(), |scene| scene.say_bytes(Bytes::new()));
    assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
}

#[test]
fn frames_have_a_size() {
    let Limits { control_bytes_max, frame_bytes_max, .. } = Limits::default();
    for (kind, bytes) in [(24, control_bytes_max + 1), (3, control_bytes_max + 1), (2, frame_bytes_max + 1)] {
        let fault = contained(Scene::open(), |scene| scene.say_bytes(vec![kind; bytes].into()));
        assert_eq!(fault, Fault::FrameTooLarge { bytes, max: bytes - 1 });
    }
}

#[test]
fn counts_are_believed_no_further_than_the_bytes_go() {
    for kind in [2, 24] {
        let fault = contained(Scene::open(), |scene| {
            let mut lie = vec![kind];
            put_varint(&mut lie, u64::MAX >> 1);
            scene.say_bytes(lie.into());
        });
        assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
    }
}

#[test]
fn what_cannot_be_unpacked_ends_the_session() {
    let bomb = |announced: u64, packed: Vec<u8>| {
        contained(Scene::open(), |scene| {
            scene.say(Message::Packed { bytes: announced, packed: packed.into() });
        })
    };
    assert!(matches!(bomb(1 << 40, vec![0; 64]), Fault::BadPacking(BadPacking::TooLarge { .. })));
    assert!(matches!(bomb(1_000, vec![7; 64]), Fault::BadPacking(BadPacking::Corrupt { .. })));
    // A run-length block of zstd: a window of 8 MiB, and 128 KiB of one byte out of four.
    let mut zeros = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68];
    (0..8).for_each(|_| zeros.extend_from_slice(&[0x02, 0x00, 0x10, 0x00]));
    let fault = bomb(100, zeros);
    assert!(matches!(fault, Fault::BadPacking(BadPacking::Overflowing { .. } | BadPacking::Corrupt { .. })), "{fault}");
}

#[test]
fn more_than_the_window_is_a_flood() {
    let fault = contained(Scene::open(), |scene| {
        let large = "v".repeat(900_000);
        for _ in 0..6 {
            let record = scene.two.write(vec![put("k", &large)]);
            scene.say(Message::Records(vec![record]));
        }
    });
    assert!(matches!(fault, Fault::Flooded { .. }), "{fault}");
}

#[test]
fn questions_are_bounded_and_numbered() {
    let ask = |id| Message::Ask { id, body: Bytes::from_static(b"?") };
    let max = Limits::default().asks_max;
    let fault = contained(Scene::open(), |scene| (1..=1_000).for_each(|id| scene.say(ask(id))));
    assert_eq!(fault, Fault::TooManyAsks { max });
    let fault = contained(Scene::open(), |scene| [7, 7].into_iter().for_each(|id| scene.say(ask(id))));
    assert_eq!(fault, Fault::StaleAsk { id: 7, last: 7 });
    let fault = contained(Scene::open(), |scene| scene.say(Message::Answer { id: 1, body: Bytes::new() }));
    assert_eq!(fault, Fault::UnaskedAnswer { id: 1 });
    let fault = contained(Scene::open(), |scene| {
        scene.say_bytes([&[28, 1][..], &[0xff, 0xff, 0x03], &[0; 65_535]].concat().into());
    });
    assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
}

#[test]
fn requests_for_everything_are_bounded() {
    let pull = |id| Message::Pull { id, body: Bytes::from_static(b"everything") };
    let fault = contained(Scene::open(), |scene| (1..=1_000).for_each(|id| scene.say(pull(id))));
    assert!(matches!(fault, Fault::TooManyPulls { .. }), "{fault}");
    let fault = contained(Scene::open(), |scene| [7, 7].into_iter().for_each(|id| scene.say(pull(id))));
    assert!(matches!(fault, Fault::StalePull { .. }), "{fault}");
    let fault = contained(Scene::open(), |scene| scene.say(Message::Page { id: 1, body: Bytes::new() }));
    assert!(matches!(fault, Fault::UnaskedPage { .. }), "{fault}");
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    assert_eq!(contained(Scene::silent(), |scene| scene.wait(6_000, true)), Fault::NoHello);
    assert_eq!(contained(Scene::open(), |scene| scene.wait(6_000, false)), Fault::Silent);
}

#[test]
fn a_stretch_that_never_ends_is_given_up_though_the_peer_lives() {
    let fault = contained(Scene::open(), |scene| {
        let record = scene.two.write(vec![put("k", "v")]);
        scene.say(Message::Records(vec![record]));
        scene.wait(31_000, true);
    });
    assert_eq!(fault, Fault::Unsigned { dot: dot(2, 3) });
}

#[test]
fn a_goodbye_of_control_characters_reaches_no_log() {
    for text in ["line\nline", "\u{1b}[31m"] {
        let fault = contained(Scene::open(), |scene| {
            let mut payload = vec![5, 0];
            put_varint(&mut payload, text.len() as u64);
            payload.extend_from_slice(text.as_bytes());
            scene.say_bytes(payload.into());
        });
        assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
    }
}
