//! What is left running after the story: every site, the links, and a hand on them.

use anyhow::{Context, Result};
use tokio::{
    select,
    signal::ctrl_c,
    sync::mpsc::{self, Receiver},
};
use tombolo_rig::mesh::Mesh;

use super::cast::Cast;

/// Lets each Enter cut the ship off or bring it back, until Ctrl-C.
pub(crate) async fn until_interrupted(mesh: &Mesh, cast: Cast) -> Result<()> {
    let mut enters = enters();
    let mut cut = false;
    loop {
        select! {
            interrupted = ctrl_c() => return interrupted.context("wait for Ctrl-C"),
            Some(()) = enters.recv() => {
                cut = !cut;
                if cut {
                    mesh.isolate(cast.ship())?;
                } else {
                    mesh.heal()?;
                }
                println!("  {} is {}", cast.name(cast.ship()), if cut { "cut off" } else { "linked again" });
            }
        }
    }
}

/// One message for each line of standard input; none any more once that is closed.
fn enters() -> Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    // A blocking read cannot be given up, so it has a thread that ends with the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || sender.blocking_send(()).is_err() {
                return;
            }
        }
    });
    receiver
}
