//! What differs comes on as few pages as it has room on.

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
