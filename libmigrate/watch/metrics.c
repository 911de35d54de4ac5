/*
 * Every figure that is told, a row each: where it comes from and what it is called. The first group
 * has the names, types and labels of the Go migrator, so that its dashboards work; the second is
 * our own.
 */
#include "libmigrate/watch/watch_private.h"

const double bucket_bounds[BUCKETS_MAX] = {0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60};

const struct measure_info measure_infos[MIG_MEASURE_COUNT] = {
    [MIG_MEASURE_RUN] = {EFFECT_SET},
    [MIG_MEASURE_UP] = {EFFECT_SET},
    [MIG_MEASURE_ROWS_READ] = {EFFECT_ADD, .moves = true},
    [MIG_MEASURE_ROWS_COUNTED] = {EFFECT_ADD, .moves = true},
    [MIG_MEASURE_ROWS_PRUNED] = {EFFECT_ADD},
    /* What is read once more for the chain goes to no node. */
    [MIG_MEASURE_READ_SECONDS] = {EFFECT_OBSERVE, .moves = true},
    /* A pass for a node that was left behind begins further below. */
    [MIG_MEASURE_SOURCE_LAST_ID] = {EFFECT_RAISE},
    [MIG_MEASURE_SETTLED_BOUND] = {EFFECT_SET},
    [MIG_MEASURE_OLDEST_WRITER_SECONDS] = {EFFECT_SET},
    [MIG_MEASURE_LAG_ROWS] = {EFFECT_SET},
    [MIG_MEASURE_LAG_SECONDS] = {EFFECT_SET},
    [MIG_MEASURE_LATENCY_SECONDS] = {EFFECT_OBSERVE},
    [MIG_MEASURE_ROWS_LOADED] = {EFFECT_ADD, .moves = true},
    [MIG_MEASURE_ROWS_REJECTED] = {EFFECT_ADD},
    [MIG_MEASURE_CONFLICTS] = {EFFECT_ADD},
    [MIG_MEASURE_LOAD_SECONDS] = {EFFECT_OBSERVE},
    [MIG_MEASURE_NODE_LAST_ID] = {EFFECT_RAISE},
    [MIG_MEASURE_RETRIES] = {EFFECT_ADD},
    [MIG_MEASURE_GIVEN_UP] = {EFFECT_ADD},
    /* Waiting as the manifest asks for is nothing to be restarted for. */
    [MIG_MEASURE_THROTTLED_SECONDS] = {EFFECT_ADD, .moves = true},
    [MIG_MEASURE_IDLE] = {EFFECT_ADD, .moves = true},
};

const struct metric metrics[] = {
    {"xmtp_migrator_source_last_sequence_id", "Last id read from the source", GAUGE,
     MIG_MEASURE_SOURCE_LAST_ID, LABEL_TABLE},
    {"xmtp_migrator_destination_last_sequence_id", "Last id that every node has", GAUGE,
     MIG_MEASURE_NODE_LAST_ID, LABEL_TABLE, FOLD_LEAST},
    {"xmtp_migrator_target_last_sequence_id", "Last id that every node has", GAUGE,
     MIG_MEASURE_NODE_LAST_ID, LABEL_TABLE, FOLD_LEAST},
    {"xmtp_migrator_reader_num_rows_found", "Rows read from the source", COUNTER,
     MIG_MEASURE_ROWS_READ, LABEL_TABLE},
    {"xmtp_migrator_reader_fetch_duration_seconds", "Time that reading a part took", HISTOGRAM,
     MIG_MEASURE_READ_SECONDS, LABEL_TABLE},
    {"xmtp_migrator_transformer_errors_total", "Rows that were rejected, however many nodes",
     COUNTER, MIG_MEASURE_ROWS_REJECTED, LABEL_TABLE, FOLD_MOST},
    {"xmtp_migrator_writer_rows_migrated", "Rows brought to nodes, however many nodes", COUNTER,
     MIG_MEASURE_ROWS_LOADED, LABEL_TABLE, FOLD_MOST},
    {"xmtp_migrator_e2e_latency_seconds", "From being made at the source to being on the last node",
     HISTOGRAM, MIG_MEASURE_LATENCY_SECONDS, LABEL_TABLE | LABEL_DESTINATION},

    {"xmtp_migrate_source_up", "Whether the source is connected", GAUGE, MIG_MEASURE_UP,
     .known_from_the_start = true},
    {"xmtp_migrate_node_up", "Whether a node is connected", GAUGE, MIG_MEASURE_UP, LABEL_NODE,
     .known_from_the_start = true},
    {"xmtp_migrate_settled_bound", "Last id that is final at the source", GAUGE,
     MIG_MEASURE_SETTLED_BOUND, LABEL_TABLE},
    {"xmtp_migrate_oldest_writer_seconds",
     "Age of the oldest writer at the source that holds up the settled bound", GAUGE,
     MIG_MEASURE_OLDEST_WRITER_SECONDS, LABEL_TABLE},
    {"xmtp_migrate_lag_rows", "Settled ids still to be brought, gaps among them", GAUGE,
     MIG_MEASURE_LAG_ROWS, LABEL_TABLE},
    {"xmtp_migrate_lag_seconds", "Age that the oldest of the rows brought last had come to", GAUGE,
     MIG_MEASURE_LAG_SECONDS, LABEL_TABLE},
    {"xmtp_migrate_node_last_sequence_id", "Last id that a node has", GAUGE,
     MIG_MEASURE_NODE_LAST_ID, LABEL_TABLE | LABEL_NODE},
    {"xmtp_migrate_node_rows_loaded_total", "Rows loaded into a node or already there", COUNTER,
     MIG_MEASURE_ROWS_LOADED, LABEL_TABLE | LABEL_NODE},
    {"xmtp_migrate_node_load_seconds", "Time that loading a part into a node took", HISTOGRAM,
     MIG_MEASURE_LOAD_SECONDS, LABEL_TABLE | LABEL_NODE},
    {"xmtp_migrate_rejected_rows_total", "Rows rejected and kept as dead letters", COUNTER,
     MIG_MEASURE_ROWS_REJECTED, LABEL_TABLE | LABEL_NODE},
    {"xmtp_migrate_conflicts_total", "Rows that a node holds with other bytes", COUNTER,
     MIG_MEASURE_CONFLICTS, LABEL_TABLE | LABEL_NODE},
    {"xmtp_migrate_counted_rows_total", "Rows counted at the source, to compare with what was read",
     COUNTER, MIG_MEASURE_ROWS_COUNTED, LABEL_TABLE},
    {"xmtp_migrate_pruned_rows_total", "Rows that the source pruned before they were read", COUNTER,
     MIG_MEASURE_ROWS_PRUNED, LABEL_TABLE},
    {"xmtp_migrate_source_retries_total", "Work at the source tried again", COUNTER,
     MIG_MEASURE_RETRIES},
    {"xmtp_migrate_node_retries_total", "Work at a node tried again", COUNTER, MIG_MEASURE_RETRIES,
     LABEL_NODE},
    {"xmtp_migrate_source_given_up_total", "Times that retries at the source were used up", COUNTER,
     MIG_MEASURE_GIVEN_UP},
    {"xmtp_migrate_node_given_up_total", "Times that retries at a node were used up", COUNTER,
     MIG_MEASURE_GIVEN_UP, LABEL_NODE},
    {"xmtp_migrate_source_throttled_seconds_total", "Time that reading paused for limits", COUNTER,
     MIG_MEASURE_THROTTLED_SECONDS},
    {"xmtp_migrate_node_throttled_seconds_total", "Time that loading a node paused for its limits",
     COUNTER, MIG_MEASURE_THROTTLED_SECONDS, LABEL_NODE},
    {"xmtp_migrate_idle_looks_total", "Looks at the source that found every node up to date",
     COUNTER, MIG_MEASURE_IDLE},
};
const size_t metric_count = mig_count_of(metrics);
