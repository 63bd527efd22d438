//! The whole mesh in one thread: takes the next happening off the agenda until all is quiet, or something is found.
//!
//! What the server does around stores, sessions and watch hubs is done here by hand: the queue before the committer, the group
//! on its way to the disk, dialling, reading history. Those are the seams at which the checkers look and bugs are planted.

use std::collections::BTreeMap;

use tombolo_crdt::ReplicaId;
use tombolo_net::{Limits, Roster};
use tombolo_storage::{MeshId, Revision, Slot};

use crate::{
    History, MS, Marks, Plan, Plant, Random, S, Time, Trace,
    agenda::{Agenda, Happening},
    checker::{
        Claim, Violation, convergence::Digests, durability::Promises, log::Log, membership::Ends, records::Records,
        resurrection::Removals, revisions::Revisions,
    },
    client::Client,
    disk::Habit,
    keys::Keys,
    network::Network,
    rows::Rows,
    site::Site,
    time::Clocks,
    trouble,
    watching::Watching,
};

mod clients;
mod committing;
mod ending;
mod identities;
mod ingesting;
mod joining;
mod leases;
mod lives;
mod meets;
mod members;
mod observing;
mod operators;
mod peers;
mod sessions;
mod transfers;
mod troubles;
mod watches;

pub(crate) use self::sessions::standing;

/// One simulation.
pub(crate) struct Simulation<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) plant: Option<Plant>,
    pub(crate) trace: &'a mut Trace,
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) agenda: Agenda,
    pub(crate) network: Network,
    pub(crate) limits: Limits,
    pub(crate) sites: Vec<Site>,
    /// Whom every site believes.
    pub(crate) roster: Roster,
    pub(crate) keys: Keys,
    /// Whose leases some site counts that has joined anew in their place.
    pub(crate) bequeathed: BTreeMap<ReplicaId, usize>,
    pub(crate) clients: Vec<Client>,
    pub(crate) watching: Vec<Watching>,
    pub(crate) records: Records,
    pub(crate) digests: Digests,
    pub(crate) removals: Removals,
    pub(crate) ends: Ends,
    /// Who was parked first when, as far as any site has learned of it.
    pub(crate) parked: BTreeMap<usize, Time>,
    /// Who was removed, once any site has learned of it.
    pub(crate) removed: Option<usize>,
    /// The first difference between digests. It is for the sessions to name it: only when they have not, it is named here.
    pub(crate) diverged: Option<Violation>,
    pub(crate) history: History,
    /// Writes whose answer was lost, by the session that they would end.
    pub(crate) doubtful: Vec<(usize, crate::client::Asked)>,
    /// Who dialled, and in which life, until the connection is open or lost.
    pub(crate) dialling: BTreeMap<crate::network::ConnectionId, peers::Dialling>,
    /// The last value given out.
    pub(crate) values: u64,
    pub(crate) counts: Counts,
    pub(crate) marks: Marks,
    calm_since: Option<Time>,
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Happenings.
    pub steps: u64,
    /// Requests and reads of clients that were answered.
    pub answers: u64,
    /// Records written, by whomever.
    pub records: u64,
    /// Connections made.
    pub connections: u64,
    /// Times a site stopped.
    pub stops: u64,
    /// Events that watching clients read.
    pub events: u64,
    /// Virtual milliseconds from the end of the troubles until all was quiet.
    pub calm_ms: u64,
}

/// The mesh that all sites belong to.
pub(crate) const MESH: MeshId = MeshId(0x746f_6d62_6f6c_6f00_7369_6d00_0000_0001);

/// A run that goes on beyond this is stuck in a loop.
const STEPS_MAX: u64 = 5_000_000;

impl<'a> Simulation<'a> {
    /// The mesh of a plan, before anything has happened.
    pub(crate) fn new(plan: &'a Plan, plant: Option<Plant>, trace: &'a mut Trace) -> Result<Self, Violation> {
        let random = Random::new(plan.seed);
        let network = Network::new(&plan.links(), plan.delay_us, plan.loss, random.fork("network"));
        // A cloned disk has its original's name, and whatever was drawn for it.
        let original = |site: usize| if plant == Some(Plant::ClonedDisk) && site == 2 { 1 } else { site };
        let habit = plant.map_or(Habit::Sound, Plant::habit);
        let mut keys = Keys::of(MESH.0);
        let sites = (0..plan.sites).map(|site| new_site(plan, habit, site, original(site), &random, &mut keys));
        let sites = sites.collect::<Result<_, _>>()?;
        Ok(Self {
            plan,
            plant,
            trace,
            now: Time(0),
            agenda: Agenda::default(),
            network,
            limits: limits(&mut random.fork("limits"), plan.troubles.rot),
            sites,
            roster: keys.roster(),
            keys,
            bequeathed: BTreeMap::new(),
            clients: Vec::new(),
            watching: Vec::new(),
            records: Records::default(),
            digests: Digests::default(),
            removals: Removals::default(),
            ends: Ends::default(),
            parked: BTreeMap::new(),
            removed: None,
            diverged: None,
            history: History::default(),
            doubtful: Vec::new(),
            dialling: BTreeMap::new(),
            values: 0,
            counts: Counts::default(),
            marks: Marks::default(),
            calm_since: None,
            random: random.fork("happenings"),
        })
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// The first promise that did not hold.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        for site in 0..self.plan.sites {
            match self.plan.late_us.filter(|_| site + 1 == self.plan.sites) {
                None => self.start(site)?,
                Some(late_us) => {
                    let starts = Happening::Trouble(trouble::Trouble::Start { site });
                    self.agenda.at(Time(late_us), starts);
                }
            }
        }
        self.add_clients();
        self.add_watching();
        self.plan_removal();
        self.agenda.at(Time(self.plan.trouble_us), Happening::NextTrouble);
        self.agenda.at(Time(self.plan.storm_us), Happening::Calm);
        while let Some((time, happening)) = self.agenda.next() {
            self.now = time;
            self.counts.steps += 1;
            if self.counts.steps > STEPS_MAX {
                return Err(Violation::of_mesh(Claim::Convergence, "there is no end to what happens"));
            }
            if matches!(happening, Happening::Look) && self.look()? {
                return self.end();
            }
            self.happen(happening)?;
            self.notice_stops()?;
        }
        Err(Violation::of_mesh(Claim::Convergence, "nothing happens any more"))
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Client { client } => self.step_client(client),
            Happening::Persisted { site, life } => self.persisted(site, life),
            Happening::Ready { site, life } => self.ready(site, life),
            Happening::Synced { site, life } => self.synced(site, life),
            Happening::Told { site, life } => self.told(site, life),
            Happening::Deadline { site, connection, ticket } => self.deadline(site, connection, ticket),
            Happening::Load { site, connection } => self.load(site, connection),
            Happening::Parcel { connection, at, turn } => self.parcel(connection, at, turn),
            Happening::TransferDue { site, life } => self.transfer_due(site, life),
            Happening::Prepare { site, life } => self.prepare(site, life),
            Happening::Page { site, connection, id, body } => self.page(site, connection, id, body),
            Happening::Dial { from, to, ticket } => self.dial(from, to, ticket),
            Happening::Accepted { connection } => self.accepted(connection),
            Happening::Opened { connection } => self.opened(connection),
            Happening::Drain { watcher, life } => self.drain(watcher, life),
            Happening::Rewatch { watcher } => self.rewatch(watcher),
            Happening::Replay { site, life } => self.replay(site, life),
            Happening::LeasesDue { site, life } => self.leases_due(site, life),
            Happening::Housekeeping { site, life } => self.keep_house(site, life),
            Happening::Upkeep { site, life } => self.keep_states(site, life),
            Happening::Trouble(trouble) => self.trouble(trouble),
            Happening::NextTrouble => self.next_trouble(),
            Happening::Calm => self.calm(),
            Happening::Look => Ok(()),
        }
    }

    pub(crate) fn is_planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    /// A moment up to so many microseconds from now.
    pub(crate) fn soon(&mut self, us: u64) -> Time {
        self.now.after(self.random.between(1, us.max(1)))
    }

    /// Chooses what goes wrong next.
    fn next_trouble(&mut self) -> Result<(), Violation> {
        if self.calm_since.is_none() {
            let is_up: Vec<bool> = self.sites.iter().map(Site::is_up).collect();
            trouble::choose(self.plan, &mut self.random, &is_up, self.now, &mut self.agenda);
            let next = self.soon(self.plan.trouble_us);
            self.agenda.at(next, Happening::NextTrouble);
        }
        Ok(())
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm_since.is_some()
    }
}

fn new_site(
    plan: &Plan,
    habit: Habit,
    number: usize,
    original: usize,
    random: &Random,
    keys: &mut Keys,
) -> Result<Site, Violation> {
    let mut random = random.fork("sites").nth(original);
    let broken = |cause: String| Violation::at(number, Claim::Service, cause);
    // Ascending by site, and otherwise as good as random.
    let replica = (original as u64 + 1) << 48 | random.word() >> 16;
    let replica = ReplicaId::new(replica).ok_or_else(|| broken("0 names no replica".to_owned()))?;
    let slot = Slot::new(original as u16 * 8).ok_or_else(|| broken("there are not that many slots".to_owned()))?;
    let beginning: Revision = slot.beginning();
    let entropy = random.entropy();
    let signer = keys.admit(replica, slot.number(), &entropy);
    Ok(Site {
        replica,
        names: vec![replica],
        slot,
        entropy,
        signer: signer.ok_or_else(|| broken("a seed makes no key".to_owned()))?,
        clocks: Clocks {
            monotonic_base_ms: random.between(0, 1_000_000),
            ahead_ms: trouble::clock_error(plan, &mut random),
        },
        rows: Rows::new(plan.engine, habit, plan.troubles.identities).map_err(|error| broken(error.to_string()))?,
        slower_us: 0,
        stops_sweeping: None,
        stops_joining: None,
        is_rotten: false,
        has_failing_disk: false,
        is_busy: false,
        is_unreadable: false,
        kept: None,
        has_lost: false,
        lives: 0,
        life: None,
        log: Log::new(number, replica, slot),
        promises: Promises::new(number),
        revisions: Revisions::new(number, beginning),
        leased: BTreeMap::new(),
        joined_at: None,
        buried: BTreeMap::new(),
    })
}

/// The product's limits, or much narrower ones: then batches are cut and windows fill with the little that is written here. Where rows rot the window
/// is not: what was signed apart may have to be told as one then.
fn limits(random: &mut Random, has_rot: bool) -> Limits {
    let usual = Limits::default();
    if random.chance(30) {
        return usual;
    }
    let narrow = Limits {
        batch_bytes: random.pick(&[1, 200, 4_000]),
        batch_records: random.pick(&[1, 3, 64]),
        load_commits: random.pick(&[1, 5, 100]),
        window_bytes: random.pick(&[1_000, 10_000, 1_000_000]),
        standings_remembered: random.pick(&[1, 8, 128]),
        have_delay_ms: random.pick(&[1, 10, 100]),
        ..usual.clone()
    };
    if has_rot { Limits { window_bytes: usual.window_bytes, ..narrow } } else { narrow }
}

/// How long a site takes to read a little.
const READ_US: u64 = 2 * MS;

/// The time between two looks at whether all is quiet.
const LOOK_US: u64 = 200 * MS;

/// After which all must be quiet when nothing goes wrong any more: the longest silence, lease and pause between attempts
/// several times over.
const QUIET_WITHIN_US: u64 = 120 * S;
