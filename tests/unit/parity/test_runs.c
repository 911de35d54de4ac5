/* Which of the runs in the books a node is judged by, and how far. */
#include "libmigrate/parity/parity_private.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define NOW (1000 * MIG_NS_PER_SECOND)

static struct mig_run make(const char *name, int64_t as_of_ns, int64_t bound, bool finished)
{
    struct mig_run run = {.finished = finished};

    snprintf(run.facts.run, sizeof run.facts.run, "%s", name);
    run.facts.as_of_ns = as_of_ns;
    for (size_t table = 0; table < MIG_TABLE_COUNT; table++)
        run.bounds[table] = bound + (int64_t) table;
    return run;
}

static void assert_chosen(struct mig_run *items, size_t count, const char *name, int64_t bound)
{
    const struct mig_runs runs = {items, count};
    struct mig_run run;

    cr_assert(parity_choose_run(&runs, NOW, &run));
    cr_assert_str_eq(run.facts.run, name, "chose %s", run.facts.run);
    for (size_t table = 0; table < MIG_TABLE_COUNT; table++)
        cr_assert_eq(run.bounds[table], bound + (int64_t) table);
}

Test(runs, none_is_chosen_of_none)
{
    struct mig_run run;

    cr_assert_not(parity_choose_run(&(struct mig_runs){0}, NOW, &run));
}

Test(runs, the_latest_as_of_is_chosen_whichever_was_begun_last)
{
    struct mig_run items[] = {make("newer", 20, 9, true), make("older", 10, 5, true)};

    assert_chosen(items, 2, "newer", 9);
}

Test(runs, the_later_begun_is_chosen_of_equals)
{
    struct mig_run items[] = {make("first", 10, 5, true), make("second", 10, 9, true)};

    assert_chosen(items, 2, "second", 9);
}

Test(runs, the_bound_is_the_highest_of_all_that_finished)
{
    struct mig_run items[] = {make("clock ahead", 20, 5, true), make("clock right", 10, 9, true),
                              make("unfinished", 15, 30, false)};

    assert_chosen(items, 3, "clock ahead", 9);
}

Test(runs, an_unfinished_one_is_chosen_only_where_none_has_finished)
{
    struct mig_run items[] = {make("begun", 20, 9, false), make("done", 10, 5, true)};

    assert_chosen(items, 2, "done", 5);
    assert_chosen(items, 1, "begun", 9);
}

Test(runs, one_that_is_still_to_come_is_chosen_only_where_there_is_no_other)
{
    struct mig_run items[] = {make("mistyped", 2 * NOW, 9, true), make("right", NOW, 5, true),
                              make("begun", NOW, 7, false)};

    assert_chosen(items, 3, "right", 9);
    assert_chosen(items, 1, "mistyped", 9);
}

Test(runs, a_clock_that_is_a_little_ahead_is_no_other_time)
{
    struct mig_run items[] = {make("a minute ahead", NOW + 60 * MIG_NS_PER_SECOND, 5, true),
                              make("right", NOW, 5, true)};

    assert_chosen(items, 2, "a minute ahead", 5);
    items[0].facts.as_of_ns++;
    assert_chosen(items, 2, "right", 5);
}

Test(runs, one_that_ended_on_a_node_has_ended_on_all)
{
    struct mig_run alpha[] = {make("a", 10, 5, true), make("b", 20, 9, true)};
    struct mig_run beta[] = {make("b", 20, 9, false), make("c", 30, 11, false)};
    struct mig_runs nodes[] = {{alpha, 2}, {beta, 2}};

    parity_share_ends(nodes, 2);
    cr_assert(beta[0].finished);
    cr_assert_not(beta[1].finished);
    assert_chosen(beta, 2, "b", 9);
}
