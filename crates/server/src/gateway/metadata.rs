//! Headers of HTTP as metadata of gRPC, and back: `Authorization`, whatever begins with `Grpc-Metadata-`, and `Grpc-Timeout`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tonic::{Status, metadata::MetadataMap};

use crate::etcd::status::gateway as fault;

const PREFIX: &str = "grpc-metadata-";
/// Names that belong to the protocol itself and are no metadata.
const RESERVED: &str = "grpc-";

/// The metadata that a request's headers stand for.
pub(super) fn inward(headers: &HeaderMap) -> MetadataMap {
    let mut metadata = HeaderMap::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        metadata.append(header::AUTHORIZATION, value.clone());
    }
    for (name, value) in headers {
        let Some(bare) = name.as_str().strip_prefix(PREFIX).filter(|bare| !bare.starts_with(RESERVED)) else {
            continue;
        };
        if let Ok(bare) = HeaderName::from_bytes(bare.as_bytes()) {
            metadata.append(bare, value.clone());
        }
    }
    MetadataMap::from_headers(metadata)
}

/// Adds the headers that an answer's metadata stands for.
pub(super) fn outward(metadata: &MetadataMap, headers: &mut HeaderMap) {
    for (name, value) in metadata.as_ref() {
        if name.as_str().starts_with(RESERVED) {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(format!("{PREFIX}{name}").as_bytes()) {
            headers.append(name, value.clone());
        }
    }
}

/// How long the client gives the call, if it says so: digits and a unit, as in `500m`.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(given) = headers.get("grpc-timeout") else { return Ok(None) };
    parsed(given).map(Some).ok_or_else(|| fault::bad_timeout(&String::from_utf8_lossy(given.as_bytes())))
}

fn parsed(given: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = given.to_str().ok()?.split_at_checked(given.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => count.checked_mul(3_600).map(Duration::from_secs),
        "M" => count.checked_mul(60).map(Duration::from_secs),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_token_and_named_metadata_go_in_and_nothing_else_does() {
        let given = [
            ("authorization", "secret"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-grpc-timeout", "1S"),
            ("grpc-metadata-", "x"),
            ("cookie", "c"),
            ("x-forwarded-for", "10.0.0.1"),
            ("token", "forged"),
        ];
        let metadata = inward(&headers(&given)).into_headers();
        assert_eq!(metadata, headers(&[("authorization", "secret"), ("hasleader", "true")]));
    }

    #[test]
    fn metadata_of_answers_go_out_under_their_prefix() {
        let given = headers(&[("content-type", "application/grpc"), ("grpc-status", "0"), ("tombolo-token-bin", "AA")]);
        let mut out = HeaderMap::new();
        outward(&MetadataMap::from_headers(given), &mut out);
        let expected = [("grpc-metadata-content-type", "application/grpc"), ("grpc-metadata-tombolo-token-bin", "AA")];
        assert_eq!(out, headers(&expected));
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let parse = |text| timeout(&headers(&[("grpc-timeout", text)])).ok().flatten();
        assert_eq!(parse("500m"), Some(Duration::from_millis(500)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7_200)));
        for bad in ["", "m", "5", "5x", "-5S", "99999999999999999999S", "18446744073709551615H"] {
            assert!(timeout(&headers(&[("grpc-timeout", bad)])).is_err(), "{bad}");
        }
        assert_eq!(timeout(&HeaderMap::new()).ok(), Some(None));
    }
}
