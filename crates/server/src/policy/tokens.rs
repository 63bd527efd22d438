//! The tokens that users get for their passwords, of the kind that the operator chose.

use std::{fs, io, path::PathBuf, time::Duration};

use parking_lot::Mutex;
use thiserror::Error;
use tombolo_auth::{Caller, Jwt, JwtError, Policy, SignError, SimpleTokens};
use zeroize::Zeroizing;

use crate::{
    clock::{self, Uptime},
    config::TokenConfig,
    etcd::status::{AuthFault, Fault},
};

/// Gives tokens out and knows them again.
pub(super) enum Tokens {
    Simple { held: Mutex<SimpleTokens>, uptime: Uptime },
    Signed(Box<Jwt>),
}

/// Why there can be no tokens.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file of a key cannot be read.
    #[error("the key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The keys are of no use.
    #[error(transparent)]
    Key(#[from] JwtError),
}

impl Tokens {
    pub(super) fn open(config: &TokenConfig, uptime: Uptime) -> Result<Self, TokenError> {
        match config {
            TokenConfig::Simple { ttl } => Ok(Self::Simple { held: Mutex::new(SimpleTokens::new(*ttl)), uptime }),
            TokenConfig::Jwt { method, public_key, private_key, ttl } => {
                let (public, private) = (load(public_key.as_ref())?, load(private_key.as_ref())?);
                let keys = (public.as_ref().map(|key| key.as_slice()), private.as_ref().map(|key| key.as_slice()));
                Ok(Self::Signed(Box::new(Jwt::new(*method, keys.0, keys.1, *ttl)?)))
            }
        }
    }

    /// Who shows a token under a policy; `None` if it is not good.
    pub(super) fn bearer(&self, token: &str, revision: impl FnOnce() -> u64) -> Option<Caller> {
        match self {
            Self::Simple { held, uptime } => {
                let name = held.lock().find(token, uptime.now())?;
                Some(Caller::User { name, revision: revision() })
            }
            Self::Signed(jwt) => jwt.verify(token, since_1970()),
        }
    }

    /// A new token for a user. `under` tells the revision under which what was checked still holds; when it does not, there is no token.
    pub(super) fn assign(&self, user: &str, under: impl FnOnce() -> Option<u64>) -> Result<Option<String>, Fault> {
        match self {
            Self::Simple { held, uptime } => {
                let mut randomness = [0; 16];
                getrandom::fill(&mut randomness)
                    .map_err(|why| Fault::Internal { what: format!("no randomness: {why}") })?;
                // Whoever ends tokens waits until this one is among them: one of an older policy is either not made or ended.
                let mut held = held.lock();
                Ok(under().map(|_| held.assign(user, u128::from_be_bytes(randomness), uptime.now())))
            }
            Self::Signed(jwt) => {
                let Some(revision) = under() else { return Ok(None) };
                jwt.sign(user, revision, since_1970()).map(Some).map_err(|why| match why {
                    SignError::VerifyOnly => AuthFault::VerifyOnly.into(),
                    SignError::Failed => Fault::Internal { what: why.to_string() },
                })
            }
        }
    }

    /// Ends the tokens that a change of the policy ends. What is signed ends by itself.
    pub(super) fn follow(&self, before: &Policy, after: &Policy) {
        match self {
            Self::Simple { held, .. } => held.lock().follow(before, after),
            Self::Signed(_) => {}
        }
    }
}

fn load(path: Option<&PathBuf>) -> Result<Option<Zeroizing<Vec<u8>>>, TokenError> {
    let read = |path: &PathBuf| {
        let file = fs::read(path).map_err(|source| TokenError::File { path: path.clone(), source })?;
        Ok(Zeroizing::new(file))
    };
    path.map(read).transpose()
}

fn since_1970() -> Duration {
    Duration::from_millis(clock::wall().0)
}
