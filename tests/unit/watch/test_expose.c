/* Figures and how they are told. */
#include "libmigrate/watch/watch_private.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define SECOND MIG_NS_PER_SECOND

static const char *const tables[] = {"group_messages", "inbox_log"};
static const char *const nodes[] = {"alpha", "be\"ta\\"};
static const struct mig_watch_options options = {.version = "1.2.3",
                                                 .network = "local",
                                                 .tables = tables,
                                                 .table_count = 2,
                                                 .nodes = nodes,
                                                 .node_count = 2};
static struct registry registry;
static struct health health = {.stall_after_ns = 60 * SECOND};
static struct mig_buffer text = MIG_BUFFER_INIT(1 << 20);

static void open_registry(void)
{
    cr_assert_eq(registry_open(&registry, &options, NULL), MIG_OK);
}

static void close_registry(void)
{
    registry_release(&registry);
    mig_buffer_release(&text);
}

TestSuite(expose, .init = open_registry, .fini = close_registry);

static const char *told(void)
{
    struct mig_error err = MIG_ERROR_INIT;

    text.size = 0;
    cr_assert_eq(expose(&registry, &health, 10 * SECOND, &text, &err), MIG_OK, "%s", err.message);
    return (const char *) text.data;
}

static void expect_line(const char *line)
{
    const char *found = strstr(told(), line);

    cr_expect(found && (found == (const char *) text.data || found[-1] == '\n'), "no line %s",
              line);
}

static void report(enum mig_measure measure, const char *table, const char *node, double value)
{
    cr_expect(registry_report(&registry, measure, table, node, value));
}

Test(expose, counters_are_zero_and_gauges_unsaid_until_they_are_reported)
{
    expect_line("xmtp_migrate_idle_looks_total 0\n");
    expect_line("xmtp_migrate_node_retries_total{node=\"alpha\"} 0\n");
    expect_line("xmtp_migrate_node_up{node=\"alpha\"} 0\n");
    expect_line("xmtp_migrate_source_up 0\n");
    cr_expect_null(strstr(told(), "xmtp_migrate_lag_seconds"));
    cr_expect_null(strstr(told(), "xmtp_migrate_run_info"));
}

Test(expose, sets_adds_and_raises)
{
    report(MIG_MEASURE_LAG_ROWS, "inbox_log", NULL, 7);
    report(MIG_MEASURE_LAG_ROWS, "inbox_log", NULL, 3);
    expect_line("xmtp_migrate_lag_rows{table=\"inbox_log\"} 3\n");
    report(MIG_MEASURE_ROWS_READ, "inbox_log", NULL, 4096);
    report(MIG_MEASURE_ROWS_READ, "inbox_log", NULL, 4);
    expect_line("xmtp_migrator_reader_num_rows_found{table=\"inbox_log\"} 4100\n");
    expect_line("xmtp_migrator_reader_num_rows_found{table=\"group_messages\"} 0\n");
    report(MIG_MEASURE_SOURCE_LAST_ID, "inbox_log", NULL, -5);
    report(MIG_MEASURE_SOURCE_LAST_ID, "inbox_log", NULL, -9);
    expect_line("xmtp_migrator_source_last_sequence_id{table=\"inbox_log\"} -5\n");
}

Test(expose, a_report_without_a_node_is_the_sources)
{
    report(MIG_MEASURE_UP, NULL, NULL, 1);
    report(MIG_MEASURE_RETRIES, NULL, "alpha", 2);
    expect_line("xmtp_migrate_source_up 1\n");
    expect_line("xmtp_migrate_node_up{node=\"alpha\"} 0\n");
    expect_line("xmtp_migrate_node_retries_total{node=\"alpha\"} 2\n");
    expect_line("xmtp_migrate_source_retries_total 0\n");
}

Test(expose, of_several_nodes_one_figure_in_the_go_migrators_names)
{
    report(MIG_MEASURE_NODE_LAST_ID, "inbox_log", nodes[0], 900);
    expect_line("xmtp_migrator_destination_last_sequence_id{table=\"inbox_log\"} 900\n");
    report(MIG_MEASURE_NODE_LAST_ID, "inbox_log", nodes[1], 500);
    expect_line("xmtp_migrator_destination_last_sequence_id{table=\"inbox_log\"} 500\n");
    expect_line("xmtp_migrator_target_last_sequence_id{table=\"inbox_log\"} 500\n");
    report(MIG_MEASURE_ROWS_LOADED, "inbox_log", nodes[0], 90);
    report(MIG_MEASURE_ROWS_LOADED, "inbox_log", nodes[1], 50);
    expect_line("xmtp_migrator_writer_rows_migrated{table=\"inbox_log\"} 90\n");
    expect_line(
        "xmtp_migrate_node_rows_loaded_total{table=\"inbox_log\",node=\"be\\\"ta\\\\\"} 50\n");
}

Test(expose, a_histogram_counts_upwards)
{
    report(MIG_MEASURE_LATENCY_SECONDS, "inbox_log", NULL, 0.2);
    report(MIG_MEASURE_LATENCY_SECONDS, "inbox_log", NULL, 3.5);
    report(MIG_MEASURE_LATENCY_SECONDS, "inbox_log", NULL, 100);
    expect_line("# TYPE xmtp_migrator_e2e_latency_seconds histogram\n");
#define OF "{table=\"inbox_log\",destination=\"database\""
    expect_line("xmtp_migrator_e2e_latency_seconds_bucket" OF ",le=\"0.1\"} 0\n");
    expect_line("xmtp_migrator_e2e_latency_seconds_bucket" OF ",le=\"0.2\"} 1\n");
    expect_line("xmtp_migrator_e2e_latency_seconds_bucket" OF ",le=\"5\"} 2\n");
    expect_line("xmtp_migrator_e2e_latency_seconds_bucket" OF ",le=\"60\"} 2\n");
    expect_line("xmtp_migrator_e2e_latency_seconds_bucket" OF ",le=\"+Inf\"} 3\n");
    expect_line("xmtp_migrator_e2e_latency_seconds_sum" OF "} 103.7\n");
    expect_line("xmtp_migrator_e2e_latency_seconds_count" OF "} 3\n");
}

Test(expose, names_that_nobody_knows_make_no_series)
{
    mig_cleanup(mig_free_text) char *before = strdup(told());

    cr_expect_not(registry_report(&registry, MIG_MEASURE_ROWS_READ, "pg_class", NULL, 1));
    cr_expect_not(registry_report(&registry, MIG_MEASURE_UP, NULL, "gamma", 1));
    cr_expect_str_eq(told(), before);
}

Test(expose, ids_and_odd_numbers_stay_what_they_are)
{
    report(MIG_MEASURE_SETTLED_BOUND, "inbox_log", NULL, 9007199254740991.0);
    expect_line("xmtp_migrate_settled_bound{table=\"inbox_log\"} 9007199254740991\n");
    report(MIG_MEASURE_LAG_SECONDS, "inbox_log", NULL, NAN);
    expect_line("xmtp_migrate_lag_seconds{table=\"inbox_log\"} NaN\n");
    report(MIG_MEASURE_LAG_SECONDS, "inbox_log", NULL, -INFINITY);
    expect_line("xmtp_migrate_lag_seconds{table=\"inbox_log\"} -Inf\n");
    report(MIG_MEASURE_LAG_SECONDS, "inbox_log", NULL, 0.1);
    expect_line("xmtp_migrate_lag_seconds{table=\"inbox_log\"} 0.1\n");
}

Test(expose, there_is_one_run_at_a_time)
{
    report(MIG_MEASURE_RUN, "aa11", NULL, 1);
    report(MIG_MEASURE_RUN, "bb22", NULL, 1);
    expect_line("xmtp_migrate_run_info{run=\"bb22\",network=\"local\"} 1\n");
    cr_expect_null(strstr(told(), "aa11"));
    expect_line("xmtp_migrate_build_info{version=\"1.2.3\"} 1\n");
}

Test(expose, every_metric_has_a_head_once_and_a_name_of_ours_or_the_go_migrators)
{
    for (size_t i = 0; i < metric_count; i++) {
        const struct metric *metric = &metrics[i];

        cr_expect(strncmp(metric->name, "xmtp_migrate_", 13) == 0 ||
                      strncmp(metric->name, "xmtp_migrator_", 14) == 0,
                  "%s", metric->name);
        cr_expect_eq((metric->type == HISTOGRAM),
                     (measure_infos[metric->measure].effect == EFFECT_OBSERVE), "%s", metric->name);
        cr_expect_eq((metric->type == COUNTER),
                     (measure_infos[metric->measure].effect == EFFECT_ADD), "%s", metric->name);
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(metric->name, metrics[j].name);
    }
}
