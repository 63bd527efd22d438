//! The policy that holds at this replica, and who a caller is under it.
//!
//! The policy is read from the system's data when the server starts and again with every commit that changes them, before anybody is told of that
//! commit: whoever revoked something and was answered finds it revoked. It is replicated like everything else, so that what is revoked at one site
//! holds at another as soon as the other hears of it, and not before.
//!
//! An identity comes from one place: the token in the request's metadata or, where certificates name users, the one of this very connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, MutexGuard, Semaphore, watch},
    task,
};
use tombolo_auth::{Caller, HashError, PREFIX, Password, PasswordHash, Policy, Register, verify};
use tombolo_storage::{Commit, Store};
use tonic::metadata::MetadataMap;

pub use self::tokens::TokenError;
use self::tokens::Tokens;
use crate::{
    clock::Uptime,
    config::AuthConfig,
    etcd::status::{AuthFault, Fault},
    tls::ClientCertificate,
};

mod tokens;

/// Holds the policy of the moment and the tokens that were given out under it.
pub(crate) struct PolicyHolder {
    current: watch::Sender<Arc<Policy>>,
    /// Whether `current` is enabled: all that a request has to know where it is not.
    is_enabled: AtomicBool,
    tokens: Tokens,
    /// Held by whoever plans a change, until it is committed: each is planned on the one before.
    turn: Mutex<()>,
    /// The cost of hashing a password, and leave to bear it: logins must not take all threads from everything else.
    cost: u32,
    hashing: Semaphore,
}

impl PolicyHolder {
    /// Reads the policy of a store.
    pub(crate) fn open(store: &Store, config: &AuthConfig, uptime: Uptime) -> Result<Self, TokenError> {
        let policy = read(store);
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            is_enabled: AtomicBool::new(policy.is_enabled()),
            current: watch::Sender::new(Arc::new(policy)),
            tokens: Tokens::open(&config.tokens, uptime)?,
            turn: Mutex::default(),
            cost: config.bcrypt_cost,
            hashing: Semaphore::new(processors),
        })
    }

    /// Whether requests are judged at all. One atomic load.
    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Acquire)
    }

    /// The policy of this moment.
    pub(crate) fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells of every change from now on, for what lasts and must be judged again.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Policy>> {
        self.current.subscribe()
    }

    /// Who sent a request: whoever has the token in it, else whoever the certificate of its connection names. While the policy is not enabled nobody is
    /// looked for, and a token is not looked at.
    pub(crate) fn identify(
        &self,
        metadata: &MetadataMap,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Caller, Fault> {
        if !self.is_enabled() {
            return Ok(Caller::Nobody);
        }
        let revision = || self.current.borrow().revision();
        if let Some(token) = token_of(metadata) {
            let caller = token.and_then(|token| self.tokens.bearer(token, revision));
            return caller.ok_or(AuthFault::InvalidToken.into());
        }
        let named = certificate
            .map(|certificate| Caller::User { name: Arc::clone(&certificate.common_name), revision: revision() });
        Ok(named.unwrap_or_default())
    }

    /// Waits until nobody else changes the policy.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The hash of a password.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, Fault> {
        let cost = self.cost;
        self.slowly(move || password.hash(cost)).await?.map_err(|why| match why {
            HashError::TooLong => AuthFault::PasswordTooLong.into(),
            why @ HashError::Failed(_) => Fault::Internal { what: why.to_string() },
        })
    }

    /// A token for a user's password. An unknown user and a wrong password look alike and take as long.
    pub(crate) async fn log_in(&self, name: &str, password: Password) -> Result<String, Fault> {
        let password = Arc::new(password);
        loop {
            let policy = self.current();
            if !policy.is_enabled() {
                return Err(AuthFault::NotEnabled.into());
            }
            let user = policy.user(name);
            if user.is_some_and(|user| user.has_no_password()) {
                return Err(AuthFault::PasswordOfNone.into());
            }
            let (given, known, cost) =
                (Arc::clone(&password), user.and_then(|user| user.password()).cloned(), self.cost);
            if !self.slowly(move || verify(&given, known.as_ref(), cost)).await? {
                return Err(AuthFault::Failed.into());
            }
            // While the password was looked at, the user may have got another.
            let is_still_so = || {
                let now = self.current();
                let same = user.zip(now.user(name)).is_some_and(|(before, now)| before.is_same_login(now));
                (same && now.is_enabled()).then(|| now.revision())
            };
            if let Some(token) = self.tokens.assign(name, is_still_so)? {
                return Ok(token);
            }
        }
    }

    /// Does what is slow on purpose where it stops nobody.
    async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let _leave = self.hashing.acquire().await.map_err(|_| Fault::Stopped)?;
        task::spawn_blocking(work).await.map_err(|why| Fault::Internal { what: why.to_string() })
    }

    /// Takes up what commits have changed. The announcer calls it before it tells anybody of them.
    pub(crate) fn follow(&self, store: &Store, commits: &[Arc<Commit>]) {
        let concerns = |key: &Bytes| key.starts_with(PREFIX.as_bytes());
        if !commits.iter().any(|commit| commit.system.iter().any(concerns)) {
            return;
        }
        let after = Arc::new(read(store));
        let before = self.current.send_replace(Arc::clone(&after));
        self.is_enabled.store(after.is_enabled(), Ordering::Release);
        // The policy comes first: a token that is being given out is either given under it or among those that are looked through now.
        self.tokens.follow(&before, &after);
    }
}

fn read(store: &Store) -> Policy {
    Policy::read(store.system(PREFIX.as_bytes()).into_iter().map(|entry| Register {
        key: entry.key,
        siblings: entry.siblings.into_iter().map(|sibling| sibling.value).collect(),
    }))
}

/// The token of a request, under either name that etcd knows; `Some(None)` for one that is no text.
fn token_of(metadata: &MetadataMap) -> Option<Option<&str>> {
    let value = metadata.get("token").or_else(|| metadata.get("authorization"))?;
    let text = value.to_str().ok();
    Some(text.map(|text| text.strip_prefix("Bearer ").unwrap_or(text)))
}
