//! Signed tokens (JWT): a user's name and the policy's revision, readable by everybody who has the key.
//!
//! One method is agreed on beforehand, and a token that names another is none. A token stays good until it expires, whatever happens to its user; but
//! rights on keys it gives only while the policy is the one it was issued under, as in etcd.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Map, Value, json};
use thiserror::Error;

pub use self::method::{JwtMethod, UnknownMethod};
use self::{
    key::{Signer, Verifier},
    pem::Pem,
};
use crate::Caller;

mod key;
mod method;
mod pem;

/// Signs and verifies tokens, or verifies only.
#[derive(Debug)]
pub struct Jwt {
    method: JwtMethod,
    ttl: Duration,
    signer: Option<Signer>,
    verifier: Verifier,
}

/// What is wrong with the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JwtError {
    /// There is no key of the kind that the method needs.
    #[error("there is no key")]
    MissingKey,
    /// The private key is none for this method.
    #[error("the private key is not one for {0}")]
    PrivateKey(JwtMethod),
    /// The public key is none for this method.
    #[error("the public key is not one for {0}")]
    PublicKey(JwtMethod),
    /// What the private key signs the public one does not verify.
    #[error("public and private key do not belong together")]
    Mismatch,
}

/// Why a token was not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// There is only a public key.
    #[error("there is no private key to sign with")]
    VerifyOnly,
    /// The library of ciphers could not.
    #[error("signing failed")]
    Failed,
}

impl Jwt {
    /// Takes keys as files have them: PEM, but for the secret of the `HS` methods, which is what the file of the private key holds. A public key may be
    /// left out when there is a private one.
    pub fn new(
        method: JwtMethod,
        public: Option<&[u8]>,
        private: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<Self, JwtError> {
        let signer = private.filter(|key| !key.is_empty()).map(|key| Signer::new(method, key)).transpose()?;
        let public = public.filter(|key| !key.is_empty() && !method.has_secret());
        let verifier = match (public, &signer) {
            (Some(key), _) => Verifier::new(method, &Pem::read(key).ok_or(JwtError::PublicKey(method))?)?,
            (None, Some(signer)) => signer.verifier(method)?,
            (None, None) => return Err(JwtError::MissingKey),
        };
        if let Some(signer) = &signer {
            let proof = signer.sign(b"probe").ok_or(JwtError::PrivateKey(method))?;
            if !verifier.verifies(b"probe", &proof) {
                return Err(JwtError::Mismatch);
            }
        }
        Ok(Self { method, ttl, signer, verifier })
    }

    /// A token for a user under a revision of the policy. `now` is the time since 1970.
    pub fn sign(&self, user: &str, revision: u64, now: Duration) -> Result<String, SignError> {
        let signer = self.signer.as_ref().ok_or(SignError::VerifyOnly)?;
        let header = json!({ "alg": self.method.name(), "typ": "JWT" });
        let expiry = now.saturating_add(self.ttl).as_secs();
        let claims = json!({ "username": user, "revision": revision, "exp": expiry });
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = signer.sign(signed.as_bytes()).ok_or(SignError::Failed)?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// Whose token it is, if it is good now.
    pub fn verify(&self, token: &str, now: Duration) -> Option<Caller> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.'))?;
        let header = object(header)?;
        // What must be understood and is not makes the whole not understood.
        if header.get("alg")?.as_str()? != self.method.name() || header.contains_key("crit") {
            return None;
        }
        if !self.verifier.verifies(signed.as_bytes(), &BASE64.decode(signature).ok()?) {
            return None;
        }
        let claims = object(claims)?;
        if !is_timely(&claims, now.as_secs_f64())? {
            return None;
        }
        let (name, revision) = (claims.get("username")?.as_str()?, claims.get("revision")?);
        let revision = revision.as_u64().or_else(|| whole(revision.as_f64()?))?;
        Some(Caller::User { name: Arc::from(name), revision })
    }
}

/// Whether a token's times allow it now; none is no bound. `None` if one is no number.
fn is_timely(claims: &Map<String, Value>, now: f64) -> Option<bool> {
    let moment = |name: &str| claims.get(name).map_or(Some(None), |value| value.as_f64().map(Some));
    let (expiry, not_before, issued) = (moment("exp")?, moment("nbf")?, moment("iat")?);
    // As in etcd's library, zero is no moment.
    let has_ended = expiry.is_some_and(|expiry| expiry != 0.0 && now >= expiry);
    let has_begun = [not_before, issued].into_iter().flatten().all(|moment| now >= moment);
    Some(!has_ended && has_begun)
}

/// A number that another library may have written as `7.0`.
fn whole(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (0.0..9e15).contains(&number);
    is_whole.then_some(number as u64)
}

fn object(part: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&BASE64.decode(part).ok()?).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
