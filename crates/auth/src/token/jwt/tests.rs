//! Every method signs and verifies with the keys that people have; nothing else is let through.

use aws_lc_rs::{
    encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    },
};
use base64::engine::general_purpose::STANDARD;

use super::*;

const TTL: Duration = Duration::from_secs(300);
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn pem(kind: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der)).into_bytes()
}

fn public(der: &PublicKeyX509Der<'_>) -> Vec<u8> {
    pem("PUBLIC KEY", der.as_ref())
}

/// Private and public key for a method, as PEM.
fn keys(method: JwtMethod) -> (Vec<u8>, Vec<u8>) {
    match method {
        JwtMethod::Hs256 | JwtMethod::Hs384 | JwtMethod::Hs512 => (b"a secret of some length".to_vec(), Vec::new()),
        JwtMethod::Es256 => curve(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
        JwtMethod::Es384 => curve(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
        JwtMethod::Es512 => curve(EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap()),
        JwtMethod::EdDsa => {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
            (pem("PRIVATE KEY", document.as_ref()), public(&pair.public_key().as_der().unwrap()))
        }
        _ => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            (pem("PRIVATE KEY", private.as_ref()), public(&pair.public_key().as_der().unwrap()))
        }
    }
}

fn curve(pair: EcdsaKeyPair) -> (Vec<u8>, Vec<u8>) {
    let private: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    // What `openssl ecparam -genkey` writes has the curve before the key.
    let file = [pem("EC PARAMETERS", b"\x06\x00"), pem("EC PRIVATE KEY", private.as_ref())].concat();
    (file, public(&pair.public_key().as_der().unwrap()))
}

fn ann(revision: u64) -> Option<Caller> {
    Some(Caller::User { name: "ann".into(), revision })
}

/// A token with these claims, signed by the secret of the test.
fn token(header: &Value, claims: &Value) -> String {
    let signer = Signer::new(JwtMethod::Hs256, b"secret").unwrap();
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = signer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64.encode(signature))
}

fn of_secret() -> Jwt {
    Jwt::new(JwtMethod::Hs256, None, Some(b"secret"), TTL).unwrap()
}

#[test]
fn each_method_signs_and_verifies_until_expiry() {
    for method in JwtMethod::ALL {
        let (private, public) = keys(method);
        let jwt = Jwt::new(method, None, Some(&private), TTL).unwrap_or_else(|why| panic!("{method}: {why}"));
        let token = jwt.sign("ann", 7, NOW).unwrap();
        assert_eq!(jwt.verify(&token, NOW), ann(7), "{method}");
        assert_eq!(jwt.verify(&token, NOW + TTL), None, "{method}: it has expired");
        if !method.has_secret() {
            let reader = Jwt::new(method, Some(&public), None, TTL).unwrap();
            assert_eq!(reader.verify(&token, NOW), ann(7), "{method}");
            assert_eq!(reader.sign("ann", 7, NOW), Err(SignError::VerifyOnly));
            assert!(Jwt::new(method, Some(&public), Some(&private), TTL).is_ok());
        }
    }
}

#[test]
fn keys_of_another_kind_and_of_another_pair_are_refused() {
    let (private, public) = keys(JwtMethod::Es256);
    let (_, other) = keys(JwtMethod::Es256);
    let with =
        |method, public: Option<&[u8]>, private: Option<&[u8]>| Jwt::new(method, public, private, TTL).unwrap_err();
    assert_eq!(with(JwtMethod::Es384, None, Some(&private)), JwtError::PrivateKey(JwtMethod::Es384));
    assert_eq!(with(JwtMethod::Rs256, None, Some(&private)), JwtError::PrivateKey(JwtMethod::Rs256));
    assert_eq!(with(JwtMethod::Rs256, Some(&public), None), JwtError::PublicKey(JwtMethod::Rs256));
    assert_eq!(with(JwtMethod::Es256, Some(b"no key"), None), JwtError::PublicKey(JwtMethod::Es256));
    assert_eq!(with(JwtMethod::Es256, Some(&other), Some(&private)), JwtError::Mismatch);
    assert_eq!(with(JwtMethod::Es256, None, None), JwtError::MissingKey);
    assert_eq!(with(JwtMethod::Hs256, Some(&public), None), JwtError::MissingKey, "whoever verifies could sign");
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let (private, public) = keys(JwtMethod::Rs256);
    let jwt = Jwt::new(JwtMethod::Rs256, Some(&public), Some(&private), TTL).unwrap();
    let forger = Jwt::new(JwtMethod::Hs256, None, Some(&public), TTL).unwrap();
    assert_eq!(jwt.verify(&forger.sign("root", 7, NOW).unwrap(), NOW), None);
}

#[test]
fn what_is_not_signed_is_no_token() {
    let jwt = of_secret();
    let good = token(&json!({ "alg": "HS256" }), &json!({ "username": "ann", "revision": 3 }));
    assert_eq!(jwt.verify(&good, NOW), ann(3), "without an expiry it has none");
    let unsigned = token(&json!({ "alg": "none" }), &json!({ "username": "ann", "revision": 3 }));
    let (signed, _) = unsigned.rsplit_once('.').unwrap();
    for bad in [&unsigned, &format!("{signed}."), &good[..good.len() - 2], "", ".", "..", "a.b.c", "a.b.c.d"] {
        assert_eq!(jwt.verify(bad, NOW), None, "{bad}");
    }
    let (head, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let other = BASE64.encode(json!({ "username": "root", "revision": 3 }).to_string());
    assert_eq!(jwt.verify(&format!("{head}.{other}.{signature}"), NOW), None);
}

#[test]
fn claims_are_read_as_etcd_reads_them() {
    let jwt = of_secret();
    let claims = |extra: Value| {
        let mut claims = json!({ "username": "ann", "revision": 3 });
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        jwt.verify(&token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims), NOW)
    };
    let now = NOW.as_secs();
    assert_eq!(claims(json!({ "exp": now + 1, "nbf": now, "iat": now })), ann(3));
    assert_eq!(claims(json!({ "exp": 0 })), ann(3));
    assert_eq!(claims(json!({ "revision": 4.0 })), ann(4));
    for bad in [
        json!({ "exp": now }),
        json!({ "exp": "later" }),
        json!({ "nbf": now + 1 }),
        json!({ "iat": now + 1 }),
        json!({ "username": 7 }),
        json!({ "revision": "3" }),
        json!({ "revision": -1 }),
    ] {
        assert_eq!(claims(bad.clone()), None, "{bad}");
    }
    let critical = token(&json!({ "alg": "HS256", "crit": ["b64"] }), &json!({ "username": "ann", "revision": 3 }));
    assert_eq!(jwt.verify(&critical, NOW), None);
}
