//! Every planted bug is found, and not by chance alone: soon, and by the promise that it breaks.

use tombolo_sim::{Options, Plant, Size, checker::Claim, run};

/// Runs seeds until the bug shows. More than a hundred must not be needed.
fn found(plant: Plant) -> Claim {
    let options = Options { size: Size::Small, fjall_percent: 0, plant: Some(plant), keeps_lines: false };
    let violation = (0..100).find_map(|seed| run(seed, &options).violation);
    violation.unwrap_or_else(|| panic!("`{plant}` was not found within 100 seeds")).claim
}

macro_rules! plants {
    ($($name:ident: $plant:ident => $($claim:ident)|+;)+) => {
        $(#[test]
        fn $name() {
            let claim = found(Plant::$plant);
            assert!(matches!(claim, $(Claim::$claim)|+), "found as {claim}");
        })+

        #[test]
        fn no_planted_bug_is_left_out() {
            let here = [$(Plant::$plant),+];
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
    a_batch_torn_by_a_stop_is_found: TornBatch => Service | Durability;
    a_sync_that_was_none_is_found: LyingSync => Durability;
    batches_written_in_another_order_are_found: ReorderedWrites => Service | Durability;
}
