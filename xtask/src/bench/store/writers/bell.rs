//! How one thread waits for another without sleeping at once: waking a sleeper takes as long as a sync.

use std::{
    hint,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering, fence},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// How long to look out before going to sleep.
const LOOKOUT: Duration = Duration::from_micros(50);

/// What one thread, always the same, waits for and another rings.
#[derive(Default)]
pub(super) struct Bell {
    sleeper: OnceLock<Thread>,
    is_asleep: AtomicBool,
}

impl Bell {
    /// Waits until `is_so`. Whoever makes it so rings afterwards.
    pub(super) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while began.elapsed() < LOOKOUT {
            if is_so() {
                return;
            }
            hint::spin_loop();
        }
        self.sleeper.get_or_init(thread::current);
        self.is_asleep.store(true, Ordering::Relaxed);
        // Either this thread sees what the other has done, or the other sees that this one sleeps.
        fence(Ordering::SeqCst);
        while !is_so() {
            thread::park();
        }
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn nobody_sleeps_through_a_bell() {
        let (count, there, back) = (AtomicU32::new(0), Bell::default(), Bell::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..100 {
                    there.wait_until(|| count.load(Ordering::Acquire) == 2 * round + 1);
                    // Every other round the other side has gone to sleep.
                    thread::sleep(LOOKOUT * (round % 2) * 4);
                    count.store(2 * round + 2, Ordering::Release);
                    back.ring();
                }
            });
            for round in 0..100 {
                count.store(2 * round + 1, Ordering::Release);
                there.ring();
                back.wait_until(|| count.load(Ordering::Acquire) == 2 * round + 2);
            }
        });
        assert_eq!(count.into_inner(), 200);
    }
}
