//! `get`: reads a key or a range of keys, now or at an older revision.

use std::ffi::OsString;

use clap::Args;
use tombolo_proto::etcdserverpb::{
    RangeRequest,
    range_request::{SortOrder, SortTarget},
};

use super::selection;
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Answer, Format},
};

#[derive(Debug, Args)]
#[command(override_usage = "tombolo get [OPTIONS] <KEY> [RANGE_END]")]
pub(crate) struct GetArgs {
    /// The key, and the end of a range
    #[arg(value_name = "KEY RANGE_END")]
    args: Vec<OsString>,
    /// Linearizable(l) or Serializable(s)
    #[arg(long, default_value = "l")]
    consistency: String,
    /// Order of results; ASCEND or DESCEND (ASCEND by default)
    #[arg(long, default_value = "")]
    order: String,
    /// Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION
    #[arg(long, default_value = "")]
    sort_by: String,
    /// Maximum number of results
    #[arg(long, default_value_t = 0)]
    limit: i64,
    /// Get keys with matching prefix
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Get keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
    /// Specify the kv revision
    #[arg(long, default_value_t = 0)]
    pub(crate) rev: i64,
    /// Get only the keys
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Get only the count (with --write-out=fields)
    #[arg(long)]
    count_only: bool,
    /// Only write values when using the "simple" output format
    #[arg(long)]
    print_value_only: bool,
}

impl GetArgs {
    /// The request these arguments stand for.
    pub(crate) fn request(&self) -> Result<RangeRequest, Failure> {
        let range = selection::key_range("get", &self.args, self.prefix, self.from_key)?;
        if self.keys_only && self.count_only {
            let text = "`--keys-only` and `--count-only` cannot be set at the same time, choose one";
            return Err(Failure::arguments(text));
        }
        let target = self.sort_target()?;
        // Keys come in ascending order anyway, and a server that need not sort can stop at the limit.
        let order = match (target, self.sort_order()?) {
            (SortTarget::Key, SortOrder::Ascend) => SortOrder::None,
            (_, order) => order,
        };
        Ok(RangeRequest {
            key: range.key,
            range_end: range.end,
            limit: self.limit,
            revision: self.rev.max(0),
            sort_order: order.into(),
            sort_target: target.into(),
            serializable: self.serializable()?,
            keys_only: self.keys_only,
            count_only: self.count_only,
            ..Default::default()
        })
    }

    fn serializable(&self) -> Result<bool, Failure> {
        match self.consistency.as_str() {
            "l" => Ok(false),
            "s" => Ok(true),
            other => Err(Failure::new(Exit::BadFeature, format!("unknown consistency flag {other:?}"))
                .hint("it is l (linearizable) or s (serializable)")),
        }
    }

    fn sort_order(&self) -> Result<SortOrder, Failure> {
        match self.order.to_uppercase().as_str() {
            "" => Ok(SortOrder::None),
            "ASCEND" => Ok(SortOrder::Ascend),
            "DESCEND" => Ok(SortOrder::Descend),
            _ => Err(Failure::new(Exit::BadFeature, format!("bad sort order {}", self.order))
                .hint("it is ASCEND or DESCEND")),
        }
    }

    fn sort_target(&self) -> Result<SortTarget, Failure> {
        match self.sort_by.to_uppercase().as_str() {
            "" | "KEY" => Ok(SortTarget::Key),
            "CREATE" => Ok(SortTarget::Create),
            "MODIFY" => Ok(SortTarget::Mod),
            "VALUE" => Ok(SortTarget::Value),
            "VERSION" => Ok(SortTarget::Version),
            _ => Err(Failure::new(Exit::BadFeature, format!("bad sort target {}", self.sort_by))
                .hint("it is CREATE, KEY, MODIFY, VALUE or VERSION")),
        }
    }

    /// Two flags make sense in one format each.
    fn check_format(&self, format: Format) -> Result<(), Failure> {
        if self.count_only && format != Format::Fields {
            return Err(Failure::arguments("--count-only is only for `--write-out=fields`"));
        }
        if self.print_value_only && format != Format::Simple {
            return Err(Failure::arguments("print-value-only is only for `--write-out=simple`"));
        }
        Ok(())
    }
}

pub(crate) async fn run(context: Context, args: &GetArgs) -> Result<(), Failure> {
    let request = args.request()?;
    args.check_format(context.printer.format)?;
    context.printer.refuse_table()?;
    let response = context.call(context.client.kv().range(request)).await?;
    let printer = if args.print_value_only { context.printer.value_only() } else { context.printer };
    printer.print(&Answer::Get(&response))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;
    use crate::args::habits;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        get: GetArgs,
    }

    fn get(line: &str) -> GetArgs {
        let words = std::iter::once("get").chain(line.split(' '));
        let matches = habits::like_etcdctl(Line::command()).try_get_matches_from(words).expect(line);
        Line::from_arg_matches(&matches).expect(line).get
    }

    #[test]
    fn flags_become_fields_of_the_request() {
        let request = get("a --limit 3 --rev 7 --keys-only --consistency s --sort-by version --order descend");
        let request = request.request().expect("a request");
        let expected = RangeRequest {
            key: "a".into(),
            limit: 3,
            revision: 7,
            keys_only: true,
            serializable: true,
            sort_target: SortTarget::Version.into(),
            sort_order: SortOrder::Descend.into(),
            ..Default::default()
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn the_natural_order_is_not_asked_for() {
        let order = |line: &str| get(line).request().expect(line).sort_order();
        assert_eq!(order("a --order ASCEND"), SortOrder::None);
        assert_eq!(order("a --order ASCEND --sort-by KEY"), SortOrder::None);
        assert_eq!(order("a --order ASCEND --sort-by CREATE"), SortOrder::Ascend);
        assert_eq!(order("a --order DESCEND"), SortOrder::Descend);
    }

    #[test]
    fn values_that_flags_do_not_know_are_bad_features() {
        for line in ["a --consistency x", "a --order x", "a --sort-by x"] {
            assert_eq!(get(line).request().expect_err(line).exit, Exit::BadFeature, "{line}");
        }
    }

    #[test]
    fn contradictions_are_bad_arguments() {
        assert_eq!(get("a --keys-only --count-only").request().expect_err("both").exit, Exit::BadArguments);
        assert!(get("a --count-only").check_format(Format::Json).is_err());
        assert!(get("a --count-only").check_format(Format::Fields).is_ok());
        assert!(get("a --print-value-only").check_format(Format::Fields).is_err());
        assert!(get("a --print-value-only").check_format(Format::Simple).is_ok());
    }
}
