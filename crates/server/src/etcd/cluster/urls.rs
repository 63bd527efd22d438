//! Peer URLs as etcd reads them when a member is to be added.

/// Whether etcd takes these for the URLs of a member: at least one, each of them a scheme, a host and a port, without a path.
pub(super) fn are_sound(urls: &[String]) -> bool {
    !urls.is_empty() && urls.iter().all(|url| is_sound(url.trim()))
}

fn is_sound(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let is_known = ["http", "https", "unix", "unixs"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    is_known && !path.starts_with('/') && has_port(host)
}

fn has_port(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once("]:") {
            Some(parts) => parts,
            None => return false,
        },
        None => match host.split_once(':') {
            Some(parts) => parts,
            None => return false,
        },
    };
    !name.contains(['[', ']', ' ']) && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_and_refused_as_etcd_does() {
        let sound = |url: &str| are_sound(&[url.to_owned()]);
        for url in
            ["http://a:2380", " https://10.0.0.1:2380 ", "HTTP://[::1]:1", "unix://a:1", "http://u@a:1", "http://a:"]
        {
            assert!(sound(url), "{url}");
        }
        for url in [
            "",
            "a:2380",
            "http://a",
            "http://a:2380/",
            "http://a:2380/path",
            "ftp://a:1",
            "http://a:b",
            "http://::1:1",
            "http://[::1]",
        ] {
            assert!(!sound(url), "{url}");
        }
        assert!(!are_sound(&[]));
        assert!(!are_sound(&["http://a:1".to_owned(), "b".to_owned()]));
    }
}
