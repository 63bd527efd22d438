//! A UDP link in front of a node, with a delay, that can be cut: nothing goes through until it is joined again.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinHandle};

pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    delay_ms: AtomicU64,
}

impl Link {
    /// A link to whoever listens, or will listen, at `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (address, state) = (front.local_addr().unwrap(), Arc::<State>::default());
        let task = tokio::spawn(forward(front, target, state.clone()));
        Self { address, state, task }
    }

    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Relaxed);
    }

    /// How long packets take from now on, each way.
    pub(crate) fn delay(&self, ms: u64) {
        self.state.delay_ms.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn join(&self) {
        self.state.is_cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards packets; every sender gets a socket of its own, by which answers find back.
async fn forward(front: Arc<UdpSocket>, target: SocketAddr, state: Arc<State>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut packet = vec![0; 65536];
    loop {
        let Ok((len, from)) = front.recv_from(&mut packet).await else { continue };
        let back = match backs.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                tokio::spawn(answer(front.clone(), back.clone(), from, state.clone()));
                new.insert(back)
            }
        };
        state.pass(back.clone(), packet[..len].to_vec(), target);
    }
}

async fn answer(front: Arc<UdpSocket>, back: Arc<UdpSocket>, to: SocketAddr, state: Arc<State>) {
    let mut packet = vec![0; 65536];
    loop {
        let Ok((len, _)) = back.recv_from(&mut packet).await else { continue };
        state.pass(front.clone(), packet[..len].to_vec(), to);
    }
}

impl State {
    fn pass(&self, by: Arc<UdpSocket>, packet: Vec<u8>, to: SocketAddr) {
        if self.is_cut.load(Ordering::Relaxed) {
            return;
        }
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed));
        tokio::spawn(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            // What cannot be delivered is lost, as on any link.
            let _ = by.send_to(&packet, to).await;
        });
    }
}
