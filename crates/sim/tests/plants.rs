//! Every planted bug is found, and not by chance alone: soon, and by the promise that it breaks.

use tombolo_sim::{
    Options, Plant, Size,
    checker::{Claim, Violation},
    run,
};

/// Runs seeds until the bug shows. More than a hundred must not be needed.
fn found(plant: Plant) -> Violation {
    let options = Options { size: Size::Small, fjall_percent: 0, plant: Some(plant), keeps_lines: false };
    let violation = (0..100).find_map(|seed| run(seed, &options).violation);
    violation.unwrap_or_else(|| panic!("`{plant}` was not found within 100 seeds"))
}

/// Bugs inside the product are switched on for the whole process: one test at a time.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

macro_rules! plants {
    ($($(#[$on:meta])? $name:ident: $plant:ident => $($claim:ident)|+;)+) => {
        $($(#[$on])?
        #[test]
        fn $name() {
            let _turn = TURN.lock();
            let violation = found(Plant::$plant);
            assert!(matches!(violation.claim, $(Claim::$claim)|+), "found as {violation}");
        })+

        #[test]
        fn no_planted_bug_is_left_out() {
            let here = [$(Plant::$plant),+];
            assert!(here.len() >= 25);
            assert!(Plant::ALL.iter().all(|plant| here.contains(plant)));
        }
    };
}

plants! {
    a_log_read_newest_first_is_found: NewestFirst => Protocol;
    a_record_left_out_of_a_load_is_found: ForgottenRecord => Protocol | Convergence;
    an_answer_before_the_disk_is_found: AckBeforeDurable => Durability | Revisions | Causality;
    an_offer_before_the_disk_is_found: OfferBeforeDurable => Durability;
    a_disk_that_loses_its_last_rows_is_found: LostSuffix => Durability;
    a_backup_under_the_old_name_is_found: RestoredBackup => Durability;
    records_entered_as_own_writes_are_found: Reauthored => Identity;
    a_clock_that_goes_before_causality_is_found: ClockBeforeCausality => Protocol | Convergence;
    records_dropped_under_load_are_found: DroppedWhenBusy => Protocol | Convergence;
    a_frontier_told_ahead_is_found: FrontierAhead => Durability;
    half_a_transaction_in_a_watch_is_found: TornWatch => Watch;
    events_told_again_are_found: RepeatedEvents => Watch;
    merges_that_watchers_do_not_hear_of_are_found: SilentMerge => Watch;
    reads_that_are_behind_are_found: StaleRead => Causality | Sessions;
    reads_of_two_moments_are_found: FracturedRead => Causality | Atomicity | Sessions;
    a_client_that_moves_without_its_token_is_found: MovingClient => Causality | Sessions;
    a_log_truncated_too_early_is_found: EarlyTruncation => Protocol | Convergence;
    a_lease_that_takes_more_than_its_own_is_found: LeaseExpiryByKey => Leases;
    a_cloned_disk_is_found: ClonedDisk => Identity | Protocol;
    foreign_revisions_compared_as_numbers_are_found: NumericCompare => Revisions;
    stability_that_counts_at_once_is_found: HeartbeatsCountAtOnce => Stability;
    a_token_that_is_ignored_is_found: TokenIgnored => Sessions;
    a_batch_torn_by_a_stop_is_found: TornBatch => Service | Durability | Protocol;
    a_sync_that_was_none_is_found: LyingSync => Durability;
    stamps_taken_for_causes_are_found: StampOrder => Protocol;
    removals_remembered_by_time_are_found: TombstoneByTime => Protocol | Convergence;
    a_write_asked_for_twice_is_found: BlindRetry => Identity;
    stability_from_acks_is_found: StabilityFromAcks => Stability;
    a_relay_that_leaves_things_out_is_found: FilteredRelay => Protocol | Identity;
    records_taken_beyond_an_end_are_found: TakenBeyondTheEnd => Protocol | Membership;
    the_rest_of_a_log_told_as_all_of_it_is_found: RestForWhole => Protocol | Convergence;
    #[cfg(feature = "museum")]
    effects_before_their_causes_are_found: GateOff => Merge;
    #[cfg(feature = "museum")]
    digests_that_pass_unlooked_at_are_found: DigestsPass => Silence;
    #[cfg(feature = "museum")]
    a_clock_that_follows_every_stamp_is_found: UnboundedClock => Clocks;
    #[cfg(feature = "museum")]
    a_winner_by_arrival_is_found: LastArrivalWins => Merge | Revisions;
    #[cfg(feature = "museum")]
    records_applied_twice_are_found: DuplicatesApplied => Merge | Protocol;
    #[cfg(feature = "museum")]
    damaged_rows_that_are_served_are_found: RowsUnverified => Identity | Merge | Causality | Sessions | Protocol | Watch | Service;
    #[cfg(feature = "museum")]
    a_frontier_that_moves_before_its_data_is_found: VectorBeforeData => Merge | Durability;
    #[cfg(feature = "museum")]
    a_sweep_in_pieces_is_found: SweptInPieces => Service;
    #[cfg(feature = "museum")]
    a_range_removal_of_the_unseen_is_found: RangeRemovesUnseen => Merge | Revisions;
    #[cfg(feature = "museum")]
    a_digest_that_drifts_is_found: DigestDrifts => Convergence;
    #[cfg(feature = "museum")]
    siblings_that_are_left_are_found: SiblingsLeft => Merge;
    #[cfg(feature = "museum")]
    half_a_join_that_is_shown_is_found: HalfJoinVisible => Service | Merge | Durability;
    #[cfg(feature = "museum")]
    elements_joined_blindly_are_found: StagedBlindly => Merge | Resurrection | Convergence;
    #[cfg(feature = "museum")]
    absence_taken_for_removal_is_found: AbsentMeansRemoved => Merge | Convergence | Durability;
    #[cfg(feature = "museum")]
    removals_by_dot_are_found: DotsForElements => Merge | Resurrection | Convergence;
    #[cfg(feature = "museum")]
    a_vector_ahead_of_its_state_is_found: VectorAheadOfState => Merge | Convergence;
    #[cfg(feature = "museum")]
    a_join_under_an_old_revision_is_found: JoinTakesNoRevision => Merge | Revisions | Service;
    #[cfg(feature = "museum")]
    numbers_that_a_successor_gives_out_again_are_found: NumbersAgain => Revisions | Merge | Watch;
    #[cfg(feature = "museum")]
    leases_that_a_successor_does_not_count_are_found: LeasesLeftBehind => Convergence | Leases;
}
