//! Transfers of state between stores: what is pulled, staged and joined.

use std::time::Duration;

use tombolo_storage::{Provider, Receiver, TransferFault};

use crate::{memory::Bench, support::*};

/// Pulls until nothing more is to be asked. Pages go through `change` on their way.
pub(crate) fn pull(
    provider: &Provider,
    receiver: &mut Receiver,
    to: &mut Bench,
    mut change: impl FnMut(bytes::Bytes) -> bytes::Bytes,
) -> Result<(), TransferFault> {
    loop {
        let pulls = receiver.next_pulls(3);
        if pulls.is_empty() {
            return Ok(());
        }
        for pull in pulls {
            let page = provider.answer(Duration::ZERO, pull.body)?;
            let staged = receiver.take(pull.id, change(page))?;
            to.committer.stage(to.wall, staged).expect("there is room");
        }
        to.commit();
    }
}

#[test]
fn an_empty_store_pulls_all_there_is() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    for key in 0..500 {
        from.run(put(&format!("k{key:03}"), &"v".repeat(key)));
    }
    from.run(delete(single("k007")));
    let provider = Provider::new(&from.store);
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&provider, &mut receiver, &mut to, |page| page).unwrap();
    let transfer = receiver.complete().unwrap();
    assert!(transfer.is_some());
    assert_eq!(receiver.progress().elements, 499);
    assert_eq!(receiver.progress().elements_total, Some(499));
}
