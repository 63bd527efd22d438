//! Keys that sign and keys that verify, each bound to one method.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    signature::{
        self as algorithm, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RsaEncoding, RsaKeyPair,
    },
};

use super::{JwtError, JwtMethod, Pem};

/// Signs.
pub(super) enum Signer {
    Secret(Box<hmac::Key>),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Curve(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

/// Verifies.
pub(super) enum Verifier {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Signer {
    /// Takes the contents of a file.
    pub(super) fn new(method: JwtMethod, file: &[u8]) -> Result<Self, JwtError> {
        if let Some(secret) = secret(method) {
            return Ok(Self::Secret(Box::new(hmac::Key::new(secret, file))));
        }
        let signer = Pem::read(file).and_then(|pem| {
            let der = pem.0.as_slice();
            let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok();
            let curve = |curve| EcdsaKeyPair::from_private_key_der(curve, der).ok().map(Self::Curve);
            match method {
                JwtMethod::Hs256 | JwtMethod::Hs384 | JwtMethod::Hs512 => None,
                JwtMethod::Rs256 => Some(Self::Rsa(rsa()?, &algorithm::RSA_PKCS1_SHA256)),
                JwtMethod::Rs384 => Some(Self::Rsa(rsa()?, &algorithm::RSA_PKCS1_SHA384)),
                JwtMethod::Rs512 => Some(Self::Rsa(rsa()?, &algorithm::RSA_PKCS1_SHA512)),
                JwtMethod::Ps256 => Some(Self::Rsa(rsa()?, &algorithm::RSA_PSS_SHA256)),
                JwtMethod::Ps384 => Some(Self::Rsa(rsa()?, &algorithm::RSA_PSS_SHA384)),
                JwtMethod::Ps512 => Some(Self::Rsa(rsa()?, &algorithm::RSA_PSS_SHA512)),
                JwtMethod::Es256 => curve(&algorithm::ECDSA_P256_SHA256_FIXED_SIGNING),
                JwtMethod::Es384 => curve(&algorithm::ECDSA_P384_SHA384_FIXED_SIGNING),
                JwtMethod::Es512 => curve(&algorithm::ECDSA_P521_SHA512_FIXED_SIGNING),
                JwtMethod::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Edwards),
            }
        });
        signer.ok_or(JwtError::PrivateKey(method))
    }

    /// The other half.
    pub(super) fn verifier(&self, method: JwtMethod) -> Result<Verifier, JwtError> {
        let public = |der: Result<PublicKeyX509Der<'_>, _>| {
            let der = der.map_err(|_: aws_lc_rs::error::Unspecified| JwtError::PrivateKey(method))?;
            Verifier::of(method, der.as_ref()).ok_or(JwtError::PrivateKey(method))
        };
        match self {
            Self::Secret(key) => Ok(Verifier::Secret(key.clone())),
            Self::Rsa(pair, _) => public(pair.public_key().as_der()),
            Self::Curve(pair) => public(pair.public_key().as_der()),
            Self::Edwards(pair) => public(pair.public_key().as_der()),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Self::Curve(pair) => pair.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Self::Edwards(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl Verifier {
    pub(super) fn new(method: JwtMethod, key: &Pem) -> Result<Self, JwtError> {
        Self::of(method, &key.0).ok_or(JwtError::PublicKey(method))
    }

    fn of(method: JwtMethod, der: &[u8]) -> Option<Self> {
        let algorithm: &'static dyn algorithm::VerificationAlgorithm = match method {
            JwtMethod::Hs256 | JwtMethod::Hs384 | JwtMethod::Hs512 => return None,
            JwtMethod::Rs256 => &algorithm::RSA_PKCS1_2048_8192_SHA256,
            JwtMethod::Rs384 => &algorithm::RSA_PKCS1_2048_8192_SHA384,
            JwtMethod::Rs512 => &algorithm::RSA_PKCS1_2048_8192_SHA512,
            JwtMethod::Ps256 => &algorithm::RSA_PSS_2048_8192_SHA256,
            JwtMethod::Ps384 => &algorithm::RSA_PSS_2048_8192_SHA384,
            JwtMethod::Ps512 => &algorithm::RSA_PSS_2048_8192_SHA512,
            JwtMethod::Es256 => &algorithm::ECDSA_P256_SHA256_FIXED,
            JwtMethod::Es384 => &algorithm::ECDSA_P384_SHA384_FIXED,
            JwtMethod::Es512 => &algorithm::ECDSA_P521_SHA512_FIXED,
            JwtMethod::EdDsa => &algorithm::ED25519,
        };
        ParsedPublicKey::new(algorithm, der).ok().map(Self::Public)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

fn secret(method: JwtMethod) -> Option<hmac::Algorithm> {
    match method {
        JwtMethod::Hs256 => Some(hmac::HMAC_SHA256),
        JwtMethod::Hs384 => Some(hmac::HMAC_SHA384),
        JwtMethod::Hs512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}
