//! A UDP link in front of a node that can be cut: nothing goes through until it is joined again.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{net::UdpSocket, task::JoinHandle};

pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link to whoever listens, or will listen, at `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (address, is_cut) = (front.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(forward(front, target, is_cut.clone()));
        Self { address, is_cut, task }
    }

    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    pub(crate) fn join(&self) {
        self.is_cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards packets; every sender gets a socket of its own, by which answers find back.
async fn forward(front: Arc<UdpSocket>, target: SocketAddr, is_cut: Arc<AtomicBool>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut packet = vec![0; 65536];
    loop {
        let Ok((len, from)) = front.recv_from(&mut packet).await else { continue };
        if !backs.contains_key(&from) {
            let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            backs.insert(from, back.clone());
            tokio::spawn(answer(front.clone(), back, from, is_cut.clone()));
        }
        if !is_cut.load(Ordering::Relaxed) {
            // What cannot be delivered is lost, as on any link.
            let _ = backs[&from].send_to(&packet[..len], target).await;
        }
    }
}

async fn answer(front: Arc<UdpSocket>, back: Arc<UdpSocket>, to: SocketAddr, is_cut: Arc<AtomicBool>) {
    let mut packet = vec![0; 65536];
    loop {
        let Ok((len, _)) = back.recv_from(&mut packet).await else { continue };
        if !is_cut.load(Ordering::Relaxed) {
            let _ = front.send_to(&packet[..len], to).await;
        }
    }
}
