//! Reads the few query parameters of the health paths.

/// The values of `name` in a query string, in order; a name without a value has the empty one.
pub(super) fn values<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_and_bare_names_are_found() {
        let query = Some("verbose&exclude=NOSPACE&exclude=CORRUPT&serializable=true");
        assert_eq!(values(query, "exclude").collect::<Vec<_>>(), ["NOSPACE", "CORRUPT"]);
        assert_eq!(values(query, "verbose").collect::<Vec<_>>(), [""]);
        assert_eq!(values(query, "absent").count() + values(None, "verbose").count(), 0);
    }
}
