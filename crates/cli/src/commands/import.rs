//! `import`: moves the contents of an etcd into a running Tombolo, from a file of its or from the live server.
//!
//! An empty replica that is alone in its mesh keeps the revisions; any other one gives new ones. Which way it went is said.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::v1::{
    ImportAccepted, ImportBegin, ImportDone, ImportLeases, ImportNumbers, ImportPlan, ImportRunRequest,
    ImportRunResponse, ImportStatusRequest, import_run_request::Step, import_run_response::Word,
};
use tonic::Streaming;

use self::{
    from::From,
    outlet::{Outlet, Sent},
    progress::Progress,
    source::{Source, Survey},
};
use crate::{
    context::Context,
    exit::{Exit, Failure},
};

mod accounts;
mod from;
mod live;
mod outlet;
mod progress;
mod report;
mod snapshot;
mod source;
mod spool;

/// Leases in one message.
const LEASES_SENT_MAX: usize = 10_000;
/// What to do when it did not come to its end.
const AGAIN: &str = "run the same command again: it goes on where it was";
/// Messages that wait for the server.
const WAITING_MAX: usize = 4;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["from_snapshot", "from_endpoints"])))]
pub(crate) struct ImportArgs {
    /// A file that `etcdctl snapshot save` wrote, or the file `db` of a member that is stopped
    #[arg(long, value_name = "FILE")]
    from_snapshot: Option<PathBuf>,
    #[command(flatten)]
    from: From,
    /// Bring along what happened since the last compaction too, so that older revisions can be read and watched
    #[arg(long)]
    history: bool,
    /// Only the keys that begin with this, with the leases that hold some of them
    #[arg(long, default_value = "")]
    prefix: String,
    /// Replace what keys hold that are there already
    #[arg(long)]
    overwrite: bool,
    /// The users, roles and permissions of a snapshot too; passwords stay what they are
    #[arg(long, requires = "from_snapshot")]
    auth: bool,
    /// Write nothing: only say what would happen
    #[arg(long)]
    dry_run: bool,
}

/// What is wanted of a source.
#[derive(Clone, Debug)]
struct Wanted {
    history: bool,
    prefix: Vec<u8>,
}

pub(crate) async fn run(context: &Context, args: &ImportArgs) -> Result<(), Failure> {
    context.printer.refuse_table()?;
    let status = context.call(context.client.import().status(ImportStatusRequest {})).await?;
    if args.history && !status.keeps_numbers {
        return Err(Failure::new(
            Exit::Error,
            "history can only be imported into an empty replica that is alone in its mesh",
        )
        .hint("leave --history out, or start one with a fresh --data-dir"));
    }
    let wanted = Wanted { history: args.history, prefix: args.prefix.clone().into_bytes() };
    let mut source = match &args.from_snapshot {
        Some(path) => Source::snapshot(path, wanted)?,
        None => Source::live(args.from.client(context)?, wanted),
    };
    let survey = source.survey(status.under_way.as_ref()).await?;
    if let Some(under_way) = status.under_way.filter(|under_way| *under_way != survey.plan) {
        return Err(other_import(&under_way));
    }
    let numbers = if args.history { ImportNumbers::Kept } else { ImportNumbers::Either };
    let begin = ImportBegin {
        plan: Some(survey.plan.clone()),
        numbers: numbers.into(),
        overwrite: args.overwrite,
        dry_run: args.dry_run,
    };
    let accounts = if args.auth { Some(source.accounts()?) } else { None };
    let done = send(context, begin, source, survey).await?;
    let made = match accounts {
        Some(accounts) if !args.dry_run => Some(accounts::make(context, accounts, args.overwrite).await?),
        Some(_) | None => None,
    };
    report::print(&context.printer, &done, made.as_ref(), args.dry_run)?;
    match done.conflicts {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Error, format!("{count} keys hold something else and were left as they are"))
            .hint("--overwrite replaces them")),
    }
}

fn other_import(under_way: &ImportPlan) -> Failure {
    let ImportPlan { revision, compacted_revision, prefix, .. } = under_way;
    let prefix = String::from_utf8_lossy(prefix);
    Failure::new(
        Exit::Error,
        format!(
            "another import was interrupted here: of revision {revision}, with history from {compacted_revision}, prefix {prefix:?}"
        ),
    )
    .hint("go on with it, from the same source and with the same options, or start with a fresh --data-dir")
}

/// Runs the import over one stream, and waits until everything is durable at the target.
async fn send(context: &Context, begin: ImportBegin, source: Source, survey: Survey) -> Result<ImportDone, Failure> {
    let explain = |status| context.explain(status);
    let (requests, waiting) = mpsc::channel(WAITING_MAX);
    // There is room, and the server's first word comes after it.
    let _ = requests.send(step(Step::Begin(begin))).await;
    let answers = context.client.import().run(ReceiverStream::new(waiting)).await.map_err(explain)?;
    let mut answers = answers.into_inner();
    let Some(Word::Accepted(ImportAccepted { reached, .. })) = next(context, &mut answers).await? else {
        return Err(out_of_turn());
    };
    let sent = Sent::default();
    let outlet = Outlet::new(requests, sent.clone());
    let mut progress = Progress::begin("imported", survey.changes);
    let mut sender = tokio::spawn(produce(source, survey.leases, reached, outlet));
    let mut has_sent = false;
    loop {
        tokio::select! {
            biased;
            word = next(context, &mut answers) => match word? {
                Some(Word::Taken(taken)) => progress.reached(sent.up_to(taken.revision), taken.revision),
                Some(Word::Done(done)) => {
                    progress.end();
                    return Ok(done);
                }
                Some(Word::Accepted(_)) | None => return Err(out_of_turn()),
            },
            outcome = &mut sender, if !has_sent => {
                has_sent = true;
                let crashed = |error| Failure::new(Exit::Error, format!("reading the source failed: {error}"));
                outcome.map_err(crashed)??;
            }
            () = progress.tick() => {}
        }
    }
}

async fn produce(
    source: Source,
    leases: Vec<tombolo_proto::v1::ImportLease>,
    reached: i64,
    mut outlet: Outlet,
) -> Result<(), Failure> {
    for some in leases.chunks(LEASES_SENT_MAX) {
        outlet.send(Step::Leases(ImportLeases { leases: some.to_vec() })).await;
    }
    source.send(reached, &mut outlet).await?;
    outlet.finish().await;
    Ok(())
}

async fn next(context: &Context, answers: &mut Streaming<ImportRunResponse>) -> Result<Option<Word>, Failure> {
    let answer = answers.message().await.map_err(|status| {
        let failure = context.explain(status);
        if failure.exit == Exit::BadConnection { failure.hint(AGAIN) } else { failure }
    })?;
    Ok(answer.and_then(|answer| answer.word))
}

fn step(step: Step) -> ImportRunRequest {
    ImportRunRequest { step: Some(step) }
}

fn out_of_turn() -> Failure {
    Failure::new(Exit::BadConnection, "the server ended the import without a word").hint(AGAIN)
}
