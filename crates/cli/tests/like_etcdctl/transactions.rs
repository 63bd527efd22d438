//! `txn`, with the scripts that people and programs feed it.

use crate::side_by_side::{Case, SideBySide, Step::Put, case};

const TWO: &[crate::side_by_side::Step] = &[Put("a", "1"), Put("b", "2"), Put("a", "3")];
const NAMES: &str = "3.4 names the answers ResponsePut and not response_put";

#[tokio::test]
async fn transactions_are_committed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases: Vec<Case> = [
        "\n\n\n",
        "mod(\"a\") > \"0\"\nver(\"a\") = \"2\"\n\nput c 1\nget a\n\nget b\n\n",
        "value(\"a\") = \"other\"\n\nput c 1\n\nget --prefix a\ndel b\nput c \"hello world\"\n\n",
        "val(\"a\") != \"\\x33\"\n\nput c yes\n\nput c no\n\n",
        "create(\"nothing\") = \"0\"\nc(\"a\") < \"1\"\n\nput c yes\n\nput d no --prev-kv\n\n",
        "m( \"a\")   >   `0`\n\nput a 4 --prev-kv\ndel b --prev-kv\nget --prefix \"\" --keys-only --limit=1\n\n\n",
        "\nput \"a key\\n\" \"with\\t\\\"escapes\\\"\"\nget \"a key\\n\"\n\n\n",
        "\nput c it's\nput d b\"c\nget --prefix c\n\n\n",
        "version(\"a\") = \"2\"\n\n\nget a\n\n",
        "\nput c 1\nput c 2\n\n\n",
        "\nput c 1 --lease 7b\n\n\n",
        "\nput \"\" 1\n\n\n",
        "\nget a --rev 99999999\n\n\n",
    ]
    .map(|input| case(TWO, "txn").with_input(input).older_differs(&["json"], NAMES))
    .to_vec();
    bench.compare(&["simple", "json", "fields"], &cases).await;
    let interactive = case(TWO, "txn -i").with_input("mod(\"a\") > \"0\"\n\nput c 1\n\n\n");
    let interactive = interactive.older_differs(&["json"], NAMES);
    bench.compare(&["simple", "json", "fields"], &[interactive]).await;
}

#[tokio::test]
async fn malformed_transactions_are_refused_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases: Vec<Case> = [
        "",
        "mod(\"a\") > \"0\"\n",
        "mod(\"a\") > \"0\"",
        "\nput a b\n\n",
        "mod\n\n\n\n",
        "mod(\"a\")\n\n\n\n",
        "mod(a) > \"0\"\n\n\n\n",
        "mod(\"a\")> \"0\"\n\n\n\n",
        "mod(\"a\") >\"0\"\n\n\n\n",
        "mod(\"a\" ) > \"0\"\n\n\n\n",
        "mod(\"a\") > 0\n\n\n\n",
        "mod (\"a\") > \"0\"\n\n\n\n",
        "foo(\"a\") > \"0\"\n\n\n\n",
        "mod(\"a\") > \"x\"\n\n\n\n",
        "\nput\n\n\n",
        "\nput a\n\n\n",
        "\nfoo bar\n\n\n",
        "\nget --bogus a\n\n\n",
        "\nget a --prefix --from-key\n\n\n",
        "\nput a b --lease zz\n\n\n",
    ]
    .map(|input| case(&[], "txn").with_input(input))
    .to_vec();
    bench.compare(&["simple"], &cases).await;
    bench.compare(&["simple"], &[case(&[], "txn word")]).await;
}
