//! What to try after a failure, for those whose text does not say it.

/// Words of a server's error, and the advice that goes with them.
const ADVICE: [(&str, &str); 19] = [
    ("revision has been compacted", "history before that revision is gone: use a later one, or leave --rev out"),
    ("is a future revision", "the store has not reached that revision: leave --rev out to read what is current"),
    ("requested lease not found", "it expired or was revoked: `tombolo lease list` shows those alive"),
    ("lease already exists", "leave the id to the server"),
    ("too large lease TTL", "choose a shorter time to live"),
    ("key is not provided", "an empty key names nothing: use --prefix or --from-key for every key"),
    ("duplicate key given", "a transaction may write a key once"),
    ("too many operations", "split the transaction, or raise the server's --max-txn-ops"),
    ("request is too large", "split the value, or raise the server's --max-request-bytes"),
    ("key not found", "--ignore-value and --ignore-lease update a key that exists"),
    ("lease is provided", "give either --lease or --ignore-lease"),
    (
        "unknown service tombolo.v1",
        "that server is no Tombolo, or an older one: `tombolo endpoint status` shows what it is",
    ),
    ("authentication failed", "check --user and --password (or ETCDCTL_USER and ETCDCTL_PASSWORD)"),
    ("user name is empty", "the server asks who calls: give --user"),
    ("permission denied", "`tombolo user get` and `tombolo role get` show what a user may do"),
    ("root user does not exist", "`tombolo user add root` makes it"),
    ("user name not found", "`tombolo user list` shows who there is"),
    ("NOSLOTS", "invite from another site: `tombolo mesh members` shows who has slots to hand on"),
    (
        "context deadline exceeded",
        "the server is slow or stuck: raise --command-timeout, or see `tombolo endpoint health`",
    ),
];

/// The advice for an error's text, if there is some.
pub(crate) fn for_message(message: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(words, _)| message.contains(words)).map(|(_, advice)| *advice)
}

/// The advice when nobody answers, by what was said instead of an answer.
pub(crate) fn for_unreachable(message: &str) -> &'static str {
    let known = UNREACHABLE.iter().find(|(words, _)| message.contains(words));
    known.map_or("is the server running? check --endpoints (or ETCDCTL_ENDPOINTS)", |(_, advice)| advice)
}

const UNREACHABLE: [(&str, &str); 5] = [
    ("UnknownIssuer", "its certificate is of a CA that is not trusted: name it with --cacert (or ETCDCTL_CACERT)"),
    ("not valid for name", "its certificate is for another name: use one of those in --endpoints"),
    ("CertificateRequired", "it wants to see a certificate: give --cert and --key"),
    ("breaks the handshake off", "it does not accept this client's certificate: check --cert and --key"),
    ("InvalidContentType", "it does not speak TLS: use http:// in --endpoints, or leave the certificates out"),
];

/// The advice when a connection broke under a call.
pub(crate) const DISCONNECTED: &str = "it may or may not have taken effect: read before trying again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_come_with_advice_and_unknown_ones_with_none() {
        let compacted = for_message("etcdserver: mvcc: required revision has been compacted");
        assert!(compacted.is_some_and(|advice| advice.contains("--rev")));
        assert_eq!(for_message("etcdserver: something new"), None);
    }
}
