//! A lease that is kept alive while somebody needs it.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{self, Instant},
};
use tombolo_proto::etcdserverpb::LeaseGrantRequest;

use super::super::lease::keep_alive;
use crate::{context::Context, exit::Failure};

/// A lease that lives as long as this does, if its server can be reached.
#[derive(Debug)]
pub(in super::super) struct Session {
    pub(in super::super) lease: i64,
    renewing: JoinHandle<()>,
}

impl Session {
    /// Gets a lease of `ttl` seconds and keeps it alive.
    pub(in super::super) async fn begin(context: &Context, ttl: i64) -> Result<Self, Failure> {
        let granted = context.call(context.client.lease().lease_grant(LeaseGrantRequest { ttl, id: 0 })).await?;
        let renewing = tokio::spawn(renew(context.clone(), granted.id, granted.ttl));
        Ok(Self { lease: granted.id, renewing })
    }

    /// Returns when the lease has run out, or was revoked.
    pub(in super::super) async fn ended(&mut self) {
        let _ = (&mut self.renewing).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Renews a lease until it is gone: by the server's word, or because nobody could be reached for as long as it had to live.
async fn renew(context: Context, lease: i64, ttl: i64) {
    let mut lifetime = Duration::from_secs(ttl.unsigned_abs());
    let mut deadline = Instant::now() + lifetime;
    let mut pause = lifetime / 3;
    loop {
        time::sleep_until(deadline.min(Instant::now() + pause)).await;
        let asked = Instant::now();
        pause = match time::timeout_at(deadline, keep_alive::renew(&context, lease)).await {
            Ok(Ok(response)) if response.get_ref().ttl > 0 => {
                lifetime = Duration::from_secs(response.get_ref().ttl.unsigned_abs());
                deadline = asked + lifetime;
                lifetime / 3
            }
            Ok(Err(_)) if Instant::now() < deadline => RETRY_AFTER,
            Ok(_) | Err(_) => return,
        };
    }
}

/// How long to wait before a renewal that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
