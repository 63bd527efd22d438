//! `tombolo.v1.Import`: takes in the contents of an etcd that a client sends.
//!
//! A replica that is empty and alone keeps the numbers ([`keep`]): all or nothing as far as anybody can see, because nobody is answered before the end, and
//! resumable, because each answer says what is durable. Any other one makes ordinary writes of it ([`fresh`]).

use std::{pin::Pin, sync::Arc};

use futures_util::stream::{self, Stream};
use prost::Message;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tombolo_proto::v1::{
    ImportAccepted, ImportBegin, ImportDone, ImportNumbers, ImportPlan, ImportRunRequest, ImportRunResponse,
    ImportStatusRequest, ImportStatusResponse, ImportTaken, ImportTransactions, import_run_request::Step,
    import_run_response::Word, import_server,
};
use tombolo_storage::{ImportFault, RequestError, Slot};
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use self::{assembly::Assembly, fresh::Fresh, keep::Keep};
use crate::{
    committer::Refusal,
    etcd::status::Fault,
    gate::{Gate, Pass},
    replica::Replica,
};

mod assembly;
mod fresh;
mod keep;

/// Takes in the contents of an etcd.
#[derive(Clone)]
pub(crate) struct ImportService {
    gate: Gate,
    /// Held by the import that runs.
    turn: Arc<Mutex<()>>,
}

impl ImportService {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate, turn: Arc::default() }
    }
}

#[tonic::async_trait]
impl import_server::Import for ImportService {
    async fn status(&self, request: Request<ImportStatusRequest>) -> Result<Response<ImportStatusResponse>, Status> {
        let (_, replica) = self.gate.admit(request).await?.into_parts();
        let under_way = replica.store.import_plan().and_then(|plan| ImportPlan::decode(plan).ok());
        Ok(Response::new(ImportStatusResponse {
            keeps_numbers: under_way.is_some() || is_empty_and_alone(replica),
            under_way,
            revision: replica.store.published().revision.get(),
        }))
    }

    type RunStream = Pin<Box<dyn Stream<Item = Result<ImportRunResponse, Status>> + Send>>;

    async fn run(&self, request: Request<Streaming<ImportRunRequest>>) -> Result<Response<Self::RunStream>, Status> {
        let (requests, pass) = self.gate.open(request).await?;
        let busy = || Fault::CannotImport { what: "another import is running".to_owned() };
        let turn = Arc::clone(&self.turn).try_lock_owned().map_err(|_| busy())?;
        let (words, answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        tokio::spawn(Session { requests, pass, words, _turn: turn }.run());
        let answers = stream::unfold(answers, |mut answers| async move { Some((answers.recv().await?, answers)) });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Answers that wait for a client that does not read them; it is not read from meanwhile.
const ANSWERS_WAITING_MAX: usize = 8;

/// One import.
struct Session {
    requests: Streaming<ImportRunRequest>,
    pass: Pass,
    words: mpsc::Sender<Result<ImportRunResponse, Status>>,
    _turn: OwnedMutexGuard<()>,
}

/// Where what is sent goes.
enum Target {
    Keep(Keep),
    Fresh(Fresh),
}

impl Session {
    async fn run(mut self) {
        let mut stopping = self.pass.replica().stopping.clone();
        let outcome = tokio::select! {
            outcome = self.carry_out() => outcome,
            () = stopping.told() => Err(Fault::Stopped.into()),
        };
        if let Err(status) = outcome {
            warn!(why = status.message(), "an import did not come to its end");
            // Whoever went does not hear it.
            let _ = self.words.send(Err(status)).await;
        }
    }

    async fn carry_out(&mut self) -> Result<(), Status> {
        let Some(Step::Begin(begin)) = self.next().await? else {
            return Err(bad("an import begins with what is imported").into());
        };
        let (mut target, reached) = self.begin(begin).await?;
        let keeps_numbers = matches!(target, Target::Keep(_));
        self.say(Word::Accepted(ImportAccepted { keeps_numbers, reached })).await?;
        let mut assembly = Assembly::default();
        loop {
            match self.next().await? {
                Some(Step::Begin(_)) => return Err(bad("an import was begun twice").into()),
                Some(Step::Leases(leases)) => match &mut target {
                    Target::Keep(keep) => keep.leases(leases.leases)?,
                    Target::Fresh(fresh) => fresh.leases(leases.leases).await?,
                },
                Some(Step::Transactions(transactions)) => {
                    let taken = self.transactions(&mut target, &mut assembly, transactions).await?;
                    self.say(Word::Taken(taken)).await?;
                }
                Some(Step::End(_)) => {
                    assembly.finish()?;
                    let done = match target {
                        Target::Keep(keep) => keep.end().await?,
                        Target::Fresh(fresh) => fresh.end(),
                    };
                    info!(puts = done.puts, kept_numbers = done.kept_numbers, "an import has come to its end");
                    return self.say(Word::Done(done)).await;
                }
                // The client went; what it has sent stays. One that keeps the numbers can be gone on with.
                None => return Err(Fault::CannotImport { what: "the import was broken off".to_owned() }.into()),
            }
        }
    }

    async fn transactions(
        &self,
        target: &mut Target,
        assembly: &mut Assembly,
        sent: ImportTransactions,
    ) -> Result<ImportTaken, Fault> {
        let transactions = assembly.add(sent.transactions)?;
        let revision = match target {
            Target::Keep(keep) => keep.take(transactions).await?,
            Target::Fresh(fresh) => fresh.take(transactions).await?,
        };
        Ok(ImportTaken { revision })
    }

    /// Decides which way it goes. Answers also the revision that an interrupted import has reached.
    async fn begin(&self, begin: ImportBegin) -> Result<(Target, i64), Fault> {
        let replica = Arc::clone(self.pass.replica());
        let numbers = begin.numbers();
        let plan = begin.plan.ok_or_else(|| bad("an import begins with a plan"))?;
        let keeps = match replica.store.import_plan() {
            Some(under_way) if under_way == plan.encode_to_vec() && numbers != ImportNumbers::New => true,
            Some(_) => return Err(refused(&ImportFault::OtherPlan)),
            None => numbers != ImportNumbers::New && is_empty_and_alone(&replica),
        };
        if !keeps && numbers == ImportNumbers::Kept {
            return Err(refused(&ImportFault::NotEmpty));
        }
        if !keeps {
            return Ok((Target::Fresh(Fresh::new(replica, begin.overwrite, begin.dry_run)), 0));
        }
        let (keep, reached) = Keep::begin(replica, plan, begin.dry_run).await?;
        Ok((Target::Keep(keep), reached))
    }

    /// The next step, if there is one; each is judged.
    async fn next(&mut self) -> Result<Option<Step>, Status> {
        let Some(request) = self.requests.message().await? else { return Ok(None) };
        self.pass.permits(&request).await?;
        Ok(Some(request.step.ok_or_else(|| bad("a step of an import says nothing"))?))
    }

    async fn say(&self, word: Word) -> Result<(), Status> {
        let sent = self.words.send(Ok(ImportRunResponse { word: Some(word) })).await;
        sent.map_err(|_| Status::cancelled("the client went"))
    }
}

/// Whether nobody has seen a number of this replica, and nobody replicates with it: then an import can bring numbers along.
fn is_empty_and_alone(replica: &Replica) -> bool {
    let published = replica.store.published();
    let own = replica.mesh.own();
    let is_alone = replica.mesh.roster().members().all(|known| known.replica() == own)
        && replica.store.frontier().iter().all(|dot| dot.replica == own);
    replica.store.identity().slot == Slot::FIRST
        && published.revision == Slot::FIRST.beginning()
        && published.compacted <= 0
        && replica.leases.count() == 0
        && is_alone
}

fn bad(what: &str) -> Fault {
    Fault::BadImport { what: what.to_owned() }
}

fn refused(why: &ImportFault) -> Fault {
    why.into()
}

impl From<&ImportFault> for Fault {
    fn from(why: &ImportFault) -> Self {
        let what = why.to_string();
        match why {
            ImportFault::NotEmpty => {
                let what = "the replica is not empty, or not alone in its mesh: numbers cannot be kept".to_owned();
                Self::CannotImport { what }
            }
            ImportFault::OtherPlan | ImportFault::NotBegun => Self::CannotImport { what },
            ImportFault::Revision { .. }
            | ImportFault::Counts { .. }
            | ImportFault::Key { .. }
            | ImportFault::Absent { .. }
            | ImportFault::Lease { .. }
            | ImportFault::Compaction { .. } => Self::BadImport { what },
        }
    }
}

/// What a refusal by the committer means to an importer: the limits of a record have no other words here.
fn of_refusal(refusal: Refusal) -> Fault {
    match &refusal {
        Refusal::Request(why) => match **why {
            RequestError::RecordTooLarge { .. } | RequestError::TooManyOperations { .. } => {
                Fault::BadImport { what: format!("a transaction is too large: {why}") }
            }
            _ => refusal.into(),
        },
        _ => refusal.into(),
    }
}

/// What both ways count.
#[derive(Debug, Default)]
struct Counts {
    puts: u64,
    removals: u64,
}

impl Counts {
    fn done(self, replica: &Replica) -> ImportDone {
        let published = replica.store.published();
        ImportDone {
            revision: published.revision.get(),
            compacted_revision: published.compacted.max(0),
            puts: self.puts,
            removals: self.removals,
            ..ImportDone::default()
        }
    }
}
