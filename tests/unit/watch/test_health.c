/* What counts as progress, under a clock of ours. */
#include "libmigrate/watch/watch_private.h"

#include <criterion/criterion.h>
#include <string.h>

#define SECOND MIG_NS_PER_SECOND

static const char *const nodes[] = {"alpha", "beta"};
static const struct mig_watch_options options = {
    .version = "1", .network = "local", .nodes = nodes, .node_count = 2};
static char reason[REASON_SIZE];

Test(health, is_well_until_nothing_moved_for_too_long)
{
    struct health health = {.stall_after_ns = 60 * SECOND, .moved_ns = 100 * SECOND};

    cr_expect(health_is_well(&health, 159 * SECOND, reason));
    cr_expect_str_eq(reason, "");
    cr_expect_not(health_is_well(&health, 161 * SECOND, reason));
    cr_expect_str_eq(reason, "stalled: no progress for 61 s");
    health_move(&health, 161 * SECOND);
    cr_expect(health_is_well(&health, 161 * SECOND, reason));
}

Test(health, waiting_is_no_progress_but_tells_why_there_is_none)
{
    struct health health = {.stall_after_ns = 60 * SECOND};
    const struct mig_progress moved = {.stage = "run", .subject = "inbox_log", .done = 7};
    struct mig_progress waits = {
        .stage = "run", .waiting = "pid 7\nholds it", .only_waiting = true};

    health_take_progress(&health, &moved, 50 * SECOND);
    cr_expect_eq(health.moved_ns, 50 * SECOND);
    health_take_progress(&health, &waits, 100 * SECOND);
    waits = moved;
    waits.waiting = "pid 7\nholds it";
    health_take_progress(&health, &waits, 101 * SECOND);
    cr_expect_not(health_is_well(&health, 111 * SECOND, reason));
    cr_expect_str_eq(reason, "stalled: no progress for 61 s in run; waiting: pid 7 holds it");
    waits.done = 8;
    health_take_progress(&health, &waits, 112 * SECOND);
    cr_expect(health_is_well(&health, 171 * SECOND, reason));
}

Test(health, is_ready_once_all_are_there_and_something_moved)
{
    struct health health = {.stall_after_ns = 60 * SECOND};
    struct registry registry;

    cr_assert_eq(registry_open(&registry, &options, NULL), MIG_OK);
    cr_expect_not(health_is_ready(&health, &registry, reason));
    cr_expect_str_eq(reason, "awaiting: the source");
    registry_report(&registry, MIG_MEASURE_UP, NULL, NULL, 1);
    registry_report(&registry, MIG_MEASURE_UP, NULL, "beta", 1);
    cr_expect_not(health_is_ready(&health, &registry, reason));
    cr_expect_str_eq(reason, "awaiting: node 'alpha'");
    registry_report(&registry, MIG_MEASURE_UP, NULL, "alpha", 1);
    cr_expect_not(health_is_ready(&health, &registry, reason));
    cr_expect_str_eq(reason, "awaiting: the first rows");
    health_move(&health, SECOND);
    cr_expect(health_is_ready(&health, &registry, reason));
    registry_report(&registry, MIG_MEASURE_UP, NULL, "beta", 0);
    cr_expect_not(health_is_ready(&health, &registry, reason));
    registry_release(&registry);
}
