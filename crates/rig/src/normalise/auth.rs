//! What may differ between two servers that know the same users.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::header;
use crate::request::auth::AuthAnswer;

pub(super) fn auth(answer: &mut AuthAnswer) {
    header(answer.header_mut());
    match answer {
        // A token is random, in a form of its own, or signed: then what is signed counts.
        AuthAnswer::Authenticate(login) if is_simple(&login.token) => login.token.clear(),
        AuthAnswer::Authenticate(login) => {
            if let Some(claims) = claims_of(&login.token) {
                login.token = claims;
            }
        }
        _ => (),
    }
}

/// Early releases of etcd 3.5 had no word for a token of an older policy: it came as it was.
pub(super) fn refusal(code: &mut String, message: &mut String) {
    if code == "Unknown" && message == "auth: revision in header is old" {
        *code = "InvalidArgument".to_owned();
        *message = "etcdserver: revision of auth store is old".to_owned();
    }
}

/// Sixteen letters, a dot and a number.
fn is_simple(token: &str) -> bool {
    let Some((word, number)) = token.split_once('.') else { return false };
    word.len() == 16 && word.bytes().all(|letter| letter.is_ascii_alphabetic()) && number.parse::<u64>().is_ok()
}

/// What a signed token says, but for when it expires.
fn claims_of(token: &str) -> Option<String> {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (header, claims, _signature) = (parts.next()??, parts.next()??, parts.next()??);
    let claims = String::from_utf8(claims).ok()?;
    // etcd writes the claims in alphabetical order, `exp` first.
    let (_, rest) = claims.strip_prefix("{\"exp\":")?.split_once(',')?;
    Some(format!("{} {rest}", String::from_utf8(header).ok()?))
}

#[cfg(test)]
mod tests {
    use tombolo_proto::etcdserverpb::AuthenticateResponse;

    use super::*;

    #[test]
    fn a_token_is_free_only_in_its_form() {
        let of = |token: &str| {
            let mut answer =
                AuthAnswer::Authenticate(AuthenticateResponse { token: token.to_owned(), ..Default::default() });
            auth(&mut answer);
            answer
        };
        assert_eq!(of("abcdefghijklmnop.1"), of("ABCDEFGHIJKLMNOP.22"));
        assert_ne!(of("abcdefghijklmnop.1"), of("abc.1"));
        assert_ne!(of("abcdefghijklmnop.1"), of("abcdefghijklmnop.x"));
    }

    #[test]
    fn of_a_signed_token_everything_counts_but_its_end_and_its_signature() {
        let of = |claims: &str, signature: &str| {
            let parts = [r#"{"alg":"ES256"}"#, claims, signature].map(|part| URL_SAFE_NO_PAD.encode(part));
            claims_of(&parts.join("."))
        };
        let claims_of_ann = r#"{"exp":1,"revision":3,"username":"ann"}"#;
        assert!(of(claims_of_ann, "s").is_some());
        assert_eq!(of(claims_of_ann, "s"), of(r#"{"exp":2,"revision":3,"username":"ann"}"#, "t"));
        assert_ne!(of(claims_of_ann, "s"), of(r#"{"exp":1,"revision":4,"username":"ann"}"#, "s"));
    }
}
