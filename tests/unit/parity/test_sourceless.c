/* Which rows that the source lacks must be on every node. */
#include "libmigrate/parity/parity_private.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define NOW_S 1000

static struct parity_sourceless held;

static void forget(void)
{
    free(held.rows);
    held = (struct parity_sourceless){0};
}

static void hold(int64_t id, size_t node, enum parity_outcome outcome, int64_t expiry)
{
    const struct mig_node_row row = {.sequence_id = id, .expiry = expiry};

    cr_assert_eq(parity_sourceless_add(&held, node, &row, outcome, NULL), MIG_OK);
}

TestSuite(sourceless, .fini = forget);

Test(sourceless, rows_of_one_id_come_together_in_the_order_of_nodes)
{
    size_t at = 0, first;

    hold(7, 1, PARITY_PRUNED, NOW_S + 1);
    hold(3, 2, PARITY_PRUNED, NOW_S + 1);
    hold(3, 0, PARITY_PRUNED, NOW_S + 1);
    parity_sourceless_sort(&held);
    cr_assert(parity_sourceless_next(&held, NOW_S, &at, &first));
    cr_assert(first == 0 && at == 2);
    cr_assert(held.rows[0].id == 3 && held.rows[0].node == 0 && held.rows[1].node == 2);
    cr_assert(parity_sourceless_next(&held, NOW_S, &at, &first));
    cr_assert(first == 2 && at == 3 && held.rows[2].id == 7);
    cr_assert_not(parity_sourceless_next(&held, NOW_S, &at, &first));
}

Test(sourceless, an_expired_row_and_an_extra_one_need_not_be_on_every_node)
{
    size_t at = 0, first;

    hold(1, 0, PARITY_PRUNED, NOW_S);
    hold(2, 0, PARITY_EXTRA, NOW_S + 1);
    hold(3, 0, PARITY_EXTRA, NOW_S);
    hold(3, 1, PARITY_PRUNED, NOW_S + 1);
    parity_sourceless_sort(&held);
    cr_assert(parity_sourceless_next(&held, NOW_S, &at, &first));
    cr_assert_eq(held.rows[first].id, 3);
    cr_assert_not(parity_sourceless_next(&held, NOW_S, &at, &first));
}

Test(sourceless, holds_more_rows_than_it_began_with)
{
    for (int64_t id = 2000; id > 0; id--)
        hold(id, 0, PARITY_PRUNED, NOW_S);
    parity_sourceless_sort(&held);
    cr_assert_eq(held.count, 2000);
    for (size_t i = 0; i < held.count; i++)
        cr_assert_eq(held.rows[i].id, (int64_t) i + 1);
}
