//! The list of cases: a case that is not named here does not run.

mod append;
mod cleanup;
mod entry;
mod expiry;
mod ledger;
mod lifecycle;
mod limits;
mod list;
mod model;
mod names;
mod store;

use futures::FutureExt as _;

use crate::{Case, Space};

macro_rules! cases {
    ($($module:ident: $($case:ident)*;)*) => {
        [$($((
            concat!(stringify!($module), "::", stringify!($case)),
            (|space: Space| $module::$case(space).boxed_local()) as fn(Space) -> _,
        ),)*)*]
    };
}

pub(crate) fn all() -> impl Iterator<Item = Case> {
    cases! {
        append:
            a_new_fragment_is_added
            the_same_fragment_again_is_a_duplicate
            any_order_gives_the_same_correlation
            any_number_of_retries_gives_the_same_correlation
            fragments_of_one_batch_may_share_a_correlation
            the_same_fragment_twice_in_one_batch_is_added_once
            spans_and_logs_join_one_correlation
            outcomes_come_in_the_order_of_the_batch
            concurrent_appends_of_two_clients_lose_nothing
            concurrent_appends_of_one_fragment_add_it_once
            an_empty_batch_is_confirmed
            a_duplicate_counts_as_an_arrival
            first_seen_stays_and_last_updated_moves
            fragments_are_read_in_order_of_arrival
            payloads_of_any_bytes_come_back
            a_payload_of_a_megabyte_comes_back;
        names:
            unicode_and_longest_ids_are_kept
            names_that_look_like_patterns_are_only_names
            tenants_are_apart
            a_tenant_and_an_id_do_not_run_together
            a_key_value_correlation_has_no_trace_id;
        entry:
            an_unknown_correlation_is_none
            every_field_round_trips
            an_entry_without_fragments_round_trips
            set_replaces_what_was_there
            what_was_set_stays_when_fragments_are_added
            a_fragment_that_was_set_is_known
            a_fragment_that_was_replaced_is_new
            setting_another_id_is_refused
            delete_answers_whether_it_was_there
            what_arrives_after_a_delete_starts_anew
            concurrent_sets_leave_one_of_them_whole;
        limits:
            a_fragment_over_spans_max_is_refused
            a_fragment_over_bytes_max_is_refused
            spans_and_logs_are_bounded_apart
            a_full_correlation_knows_its_duplicates
            a_refusal_leaves_the_rest_of_the_batch
            a_refused_first_fragment_creates_nothing
            an_entry_over_a_limit_is_refused;
        expiry:
            a_correlation_is_gone_after_its_ttl
            an_expired_correlation_is_not_listed
            an_expired_correlation_is_not_counted
            an_own_ttl_may_be_shorter
            an_own_ttl_may_be_longer
            an_arrival_renews_the_ttl
            an_own_ttl_is_kept_by_later_arrivals
            what_arrives_after_expiry_starts_anew
            deleting_what_has_expired_finds_nothing
            expire_answers_how_many_it_freed
            expire_leaves_what_is_alive
            an_own_ttl_of_zero_is_refused;
        list:
            the_newest_arrival_comes_first
            from_is_included_and_to_is_not
            an_empty_range_lists_nothing
            pages_hold_every_correlation_once
            equal_times_are_paged_by_id
            what_stays_is_listed_once_while_others_move
            an_updated_correlation_moves_to_the_front
            a_service_that_took_part_is_found
            a_deleted_correlation_is_not_listed
            a_summary_says_what_the_entry_says
            filters_by_what_correlations_are_like
            a_key_leads_to_all_that_carry_it
            tenants_list_their_own;
        cleanup:
            what_is_older_than_the_cutoff_goes
            what_is_as_old_as_the_cutoff_stays
            a_late_arrival_saves_an_old_correlation
            the_count_is_exact_for_many
            cleanup_reaches_every_tenant
            a_second_cleanup_finds_nothing
            what_arrives_after_a_cleanup_starts_anew;
        ledger:
            an_empty_state_has_an_empty_ledger
            spans_and_logs_have_accounts_of_their_own
            a_duplicate_is_received_and_not_kept
            what_exceeds_a_limit_is_refused_by_its_name
            a_close_moves_what_was_pending
            a_repeated_close_changes_nothing
            what_came_again_within_other_batches_is_found_at_the_close
            an_event_that_is_removed_is_delivered_once
            deleting_counts_what_was_not_delivered
            setting_replaces_what_was_there_in_the_ledger_too
            what_expires_is_counted_by_where_it_was
            what_arrives_after_expiry_leaves_the_old_one_expired
            refusals_from_outside_are_entered
            the_ledger_outlives_the_client_that_wrote_it;
        lifecycle:
            a_quiet_correlation_is_claimed_with_its_content
            a_correlation_that_is_not_quiet_is_not_due
            a_correlation_is_due_once_it_is_quiet
            an_old_correlation_is_due_although_it_grows
            a_full_correlation_is_due_at_once
            what_is_active_can_be_claimed_before_it_is_due
            what_is_claimed_is_nobody_elses
            claims_are_at_most_what_was_asked_for
            a_claim_ends_with_its_lease
            finishing_puts_one_event_into_the_outbox
            a_closed_correlation_stays_and_is_not_due
            finishing_again_answers_the_same_and_tells_nothing_twice
            what_has_changed_is_looked_at_again
            a_duplicate_does_not_change_what_is_claimed
            what_is_gone_cannot_be_finished
            a_late_fragment_opens_the_next_generation
            a_late_duplicate_opens_nothing
            what_came_again_in_other_batches_is_not_told_again
            a_repeated_finish_leaves_the_next_generation_open
            a_released_correlation_is_due_when_it_was_said
            releasing_what_has_grown_does_not_put_it_off
            a_removed_event_is_gone
            a_claimed_event_is_nobody_elses_until_the_lease_ends
            an_event_is_left_to_whoever_closed_for_a_while
            an_event_for_nobody_counts_as_a_generation_and_is_not_kept
            an_event_that_was_put_back_knows_who_has_it
            events_go_with_their_correlation
            what_was_set_is_closed_like_any_other
            an_expired_correlation_is_not_claimed
            claimers_share_the_work_and_none_is_done_twice;
        model:
            random_steps_do_what_the_model_does;
        store:
            the_count_follows_every_change
            an_open_store_is_ready
            a_closed_store_refuses_and_says_so
            who_shares_a_state_knows_it_by_the_same_id
            the_state_outlives_its_clients;
    }
    .into_iter()
}
