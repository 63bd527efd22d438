//! One compare of a transaction: `mod("key") > "0"`.
//!
//! The target is `version`, `create`, `mod`, `value` or `lease`, or a short form; the key and the value are quoted, with
//! spaces around the operator. Numbers are decimal, and leases hexadecimal as everywhere on this command line.

use tombolo_proto::etcdserverpb::{
    Compare,
    compare::{CompareResult, CompareTarget, TargetUnion},
};

use crate::{
    exit::Failure,
    notation::{integer, quote::Quoted, unquote::unquote},
};

/// Reads a compare.
pub(crate) fn parse(line: &str) -> Result<Compare, Failure> {
    let malformed = |detail: &str| {
        Failure::input(format!("malformed comparison: {line}{detail}")).hint(r#"write it as mod("key") > "0""#)
    };
    let (target, rest) = line.split_once('(').ok_or_else(|| malformed(""))?;
    let mut parts = Parts::default();
    if parts.read(rest).is_none() {
        let (key, value) = (Quoted(&parts.key), Quoted(&parts.value));
        return Err(malformed(&format!("; got {target}({key}) {} {value}", parts.operator)));
    }
    let Parts { key, operator, value } = parts;
    let result = match operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(malformed(&format!(" (unknown operator {operator})"))),
    };
    let number = |base| {
        let text = std::str::from_utf8(&value).ok();
        let number = text.and_then(|text| integer::parse(text, base).ok());
        number
            .ok_or_else(|| Failure::input(format!("invalid txn compare request: {line}")).hint("a number is expected"))
    };
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        _ => return Err(malformed(&format!(" (unknown target {target})"))),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..Default::default()
    })
}

/// What follows the target, as far as it can be read.
#[derive(Default)]
struct Parts<'a> {
    key: Vec<u8>,
    operator: &'a str,
    value: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Reads `"key") > "0"`. What was read before a mistake stays, so that the error can show it.
    fn read(&mut self, text: &'a str) -> Option<()> {
        let (key, rest) = unquote(text.trim_start()).ok()?;
        self.key = key;
        let rest = rest.strip_prefix(')')?.strip_prefix(char::is_whitespace)?.trim_start();
        let (operator, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        self.operator = operator;
        let (value, rest) = unquote(rest.trim_start()).ok()?;
        self.value = value;
        rest.trim().is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn parsed(line: &str) -> (CompareTarget, CompareResult, TargetUnion) {
        let compare = parse(line).expect(line);
        assert_eq!(&compare.key[..], b"k", "{line}");
        (compare.target(), compare.result(), compare.target_union.expect(line))
    }

    #[test]
    fn every_target_has_its_short_form() {
        for line in [r#"ver("k") = "3""#, r#"version("k") = "3""#] {
            assert_eq!(parsed(line), (CompareTarget::Version, CompareResult::Equal, TargetUnion::Version(3)));
        }
        for line in [r#"c("k") != "3""#, r#"create("k") != "3""#] {
            assert_eq!(parsed(line), (CompareTarget::Create, CompareResult::NotEqual, TargetUnion::CreateRevision(3)));
        }
        for line in [r#"m("k") > "-3""#, r#"mod("k") > "-3""#] {
            assert_eq!(parsed(line), (CompareTarget::Mod, CompareResult::Greater, TargetUnion::ModRevision(-3)));
        }
        for line in [r#"val("k") < "a\xff""#, r#"value("k") < "a\xff""#] {
            let value = TargetUnion::Value(b"a\xff".to_vec().into());
            assert_eq!(parsed(line), (CompareTarget::Value, CompareResult::Less, value));
        }
        assert_eq!(
            parsed(r#"lease("k") = "ff""#),
            (CompareTarget::Lease, CompareResult::Equal, TargetUnion::Lease(255))
        );
    }

    #[test]
    fn spaces_may_be_wide_and_quotes_may_be_back_quotes() {
        for line in [r#"mod("k")   >   "0""#, r#"mod( "k") > "0""#, "mod(`k`) > `0`", "mod(\"k\")\t>\t\"0\""] {
            assert_eq!(parsed(line).2, TargetUnion::ModRevision(0), "{line}");
        }
    }

    #[test]
    fn malformed_compares_are_invalid_input_and_quoted() {
        for line in [
            "mod",
            r#"mod("k")"#,
            r#"mod(k) > "0""#,
            r#"mod("k" ) > "0""#,
            r#"mod("k")> "0""#,
            r#"mod("k") >"0""#,
            r#"mod("k") > 0"#,
            r#"mod("k") > "0" x"#,
            r#"mod("k") >= "0""#,
            r#"mod ("k") > "0""#,
            r#"foo("k") > "0""#,
        ] {
            let failure = parse(line).expect_err(line);
            assert_eq!(failure.exit, Exit::InvalidInput, "{line}");
            assert!(failure.to_string().starts_with(&format!("malformed comparison: {line}")), "{failure}");
        }
    }

    #[test]
    fn a_malformed_compare_is_shown_as_far_as_it_was_read() {
        let failure = parse(r#"mod("k") >"0""#).expect_err("no space");
        assert!(failure.to_string().contains(r#"; got mod("k") >"0" """#), "{failure}");
        let failure = parse("mod(k) > \"0\"").expect_err("no quotes");
        assert!(failure.to_string().contains(r#"; got mod("")  """#), "{failure}");
    }

    #[test]
    fn a_number_that_is_none_is_invalid_input() {
        for line in [r#"mod("k") > "x""#, r#"ver("k") = """#, r#"lease("k") = "zz""#, r#"c("k") = "\xff""#] {
            let failure = parse(line).expect_err(line);
            assert_eq!(failure.exit, Exit::InvalidInput);
            assert!(failure.to_string().starts_with("invalid txn compare request"), "{failure}");
        }
    }
}
