//! What differs comes on as few pages as it has room on, and counts for nothing before all of it adds up.

use super::*;

#[test]
fn neighbours_that_differ_come_together() {
    let (sound, mut sick) = same(|_| ());
    for seq in (11..=40).chain(61..=90) {
        sick = sick.falsify(seq, |row| change_put(row, |_, value| *value = Bytes::from_static(b"wrong")));
    }
    let mut receiver = Receiver::mend(&sick.store).unwrap();
    let pulls = bring(&sound, &mut sick, &mut receiver).unwrap();
    assert_eq!(receiver.mends().map(|counts| counts.replaced), Some(60));
    assert!(pulls <= 8, "{pulls} pulls for two stretches");
    let transfer = receiver.complete().unwrap().expect("everything came").prove(|_| Ok::<_, Infallible>(())).unwrap();
    join(&mut sick, transfer).unwrap();
    assert_eq!(sick.elements(), sound.elements());
}

#[test]
fn a_provider_that_gives_something_else_than_it_said_is_not_believed() {
    let (sound, sick) = sound_and_sick();
    let before = sick.store.standing();
    let mut receiver = Receiver::mend(&sick.store).unwrap();
    let provider = Provider::new(&sound.store);
    while let Some(pull) = receiver.next_pulls(1).pop() {
        let page = provider.answer(Duration::ZERO, pull.body, sign).unwrap();
        let mut bytes = page.to_vec();
        if let Some(at) = bytes.windows(5).position(|part| part == b"value") {
            bytes[at] = b'V';
        }
        receiver.take(pull.id, bytes.into()).unwrap();
    }
    let fault = receiver.complete().map(drop).unwrap_err();
    assert!(matches!(fault, TransferFault::Fingerprint { .. }), "{fault}");
    assert_eq!(sick.store.standing(), before);
}
