/* What a check may hold is shared out among the ends it reads. */
#include "libmigrate/parity/parity_private.h"

#include <criterion/criterion.h>

#define MEBIBYTE ((size_t) 1 << 20)

Test(memory, what_is_held_stays_under_the_bound_however_many_nodes_there_are)
{
    for (size_t nodes = 1; nodes < 100; nodes++)
        for (size_t most = 64 * MEBIBYTE; most <= 1024 * MEBIBYTE; most *= 2) {
            const struct parity_memory memory = parity_share_memory(most, nodes);

            cr_assert_gt(memory.ahead_bytes, 0);
            cr_assert_leq(memory.ahead_bytes * (nodes + 1) + memory.in_hand_bytes, most / 2);
        }
}

Test(memory, no_more_is_held_than_helps)
{
    const struct parity_memory unbounded = parity_share_memory(0, 7),
                               generous = parity_share_memory(4096 * MEBIBYTE, 7);

    cr_assert_eq(unbounded.ahead_bytes, generous.ahead_bytes);
    cr_assert_eq(unbounded.in_hand_bytes, generous.in_hand_bytes);
    cr_assert_lt(unbounded.in_hand_bytes, 64 * MEBIBYTE);
}
