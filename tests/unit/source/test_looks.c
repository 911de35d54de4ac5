/* What is settled when: by who writes, and by time. */
#include "libmigrate/source/looks.h"

#include <criterion/criterion.h>

static void look(struct source_looks *looks, int64_t latest, const char *const *names,
                 int64_t *bound)
{
    struct source_writers now = {0};

    for (; *names; names++)
        cr_assert_eq(source_add_writer(&now, *names, NULL), MIG_OK);
    cr_assert_eq(source_look(looks, latest, &now, bound, NULL), MIG_OK);
    source_writers_release(&now);
}
#define WRITERS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

Test(looks, whoever_writes_holds_up_what_was_given_out_since_he_came)
{
    struct source_looks looks = {0};
    int64_t bound = 10;

    look(&looks, 11, WRITERS(), &bound);
    cr_expect_eq(bound, 11);
    look(&looks, 12, WRITERS("3/1"), &bound);
    look(&looks, 13, WRITERS("3/1", "4/7"), &bound);
    cr_expect_eq(bound, 11);
    look(&looks, 14, WRITERS("4/7", "5/1"), &bound);
    cr_expect_eq(bound, 12, "the first has ended, the second has not");
    look(&looks, 14, WRITERS("4/8", "5/1"), &bound);
    cr_expect_eq(bound, 13, "a session's next transaction is another one");
    look(&looks, 14, WRITERS("4/9"), &bound);
    cr_expect_eq(bound, 14);
    source_looks_release(&looks);
}

Test(looks, who_is_prepared_meanwhile_counts)
{
    struct source_looks looks = {0};
    int64_t bound = 0;

    look(&looks, 1, WRITERS("3/1"), &bound);
    look(&looks, 1, WRITERS("-1/700"), &bound);
    cr_expect_eq(bound, 0);
    look(&looks, 1, WRITERS(), &bound);
    cr_expect_eq(bound, 1);
    source_looks_release(&looks);
}

Test(looks, no_more_are_open_than_there_is_room_for)
{
    struct source_looks looks = {0};
    int64_t bound = 0;

    for (int64_t id = 1; id < 3 * LOOKS_MAX; id++)
        look(&looks, id, WRITERS("3/1"), &bound);
    cr_expect_eq(looks.count, (size_t) LOOKS_MAX);
    look(&looks, 1000, WRITERS("3/2"), &bound);
    cr_expect_eq(bound, LOOKS_MAX, "all that were open tell at once");
    look(&looks, 1000, WRITERS(), &bound);
    cr_expect_eq(bound, 1000);
    source_looks_release(&looks);
}

/* ---- by time ------------------------------------------------------------------------------------
 */

#define HOLD INT64_C(1000)

Test(looks, by_time_an_id_is_seen_for_a_while_before_numbers_count)
{
    struct source_looks looks = {0};
    int64_t bound = 5;

    source_look_by_time(&looks, 9, (struct source_numbers){100, 100, false}, 1, HOLD, &bound);
    source_look_by_time(&looks, 9, (struct source_numbers){100, 100, false}, HOLD, HOLD, &bound);
    cr_expect_eq(bound, 5);
    source_look_by_time(&looks, 9, (struct source_numbers){100, 103, false}, 1 + HOLD, HOLD,
                        &bound);
    cr_expect_eq(bound, 5, "100 to 102 may have drawn something");
    source_look_by_time(&looks, 9, (struct source_numbers){102, 110, false}, 2 + HOLD, HOLD,
                        &bound);
    cr_expect_eq(bound, 5);
    source_look_by_time(&looks, 9, (struct source_numbers){103, 110, false}, 3 + HOLD, HOLD,
                        &bound);
    cr_expect_eq(bound, 9);
    source_looks_release(&looks);
}

Test(looks, no_time_passes_on_a_standby_that_stalls)
{
    struct source_looks looks = {0};
    int64_t bound = 5;

    source_look_by_time(&looks, 9, (struct source_numbers){100, 100, false}, 1, HOLD, &bound);
    source_look_by_time(&looks, 9, (struct source_numbers){100, 100, true}, 2 * HOLD, HOLD, &bound);
    source_look_by_time(&looks, 9, (struct source_numbers){100, 100, false}, 2 * HOLD + 1, HOLD,
                        &bound);
    cr_expect_eq(bound, 5);
    source_look_by_time(&looks, 9, (struct source_numbers){100, 100, false}, 3 * HOLD, HOLD,
                        &bound);
    cr_expect_eq(bound, 9);
    source_looks_release(&looks);
}

Test(looks, by_time_looks_are_apart_and_rise)
{
    struct source_looks looks = {0};
    int64_t bound = 0, before = 0;

    for (int64_t now = 1; now < 100 * HOLD; now++) {
        source_look_by_time(&looks, now, (struct source_numbers){now, now, false}, now, HOLD,
                            &bound);
        cr_assert_leq(looks.count, (size_t) LOOKS_MAX);
        cr_assert_geq(bound, before);
        cr_assert_leq(bound, now > HOLD ? now - HOLD : 0, "nothing is settled too early");
        before = bound;
    }
    cr_expect_geq(bound, 98 * HOLD, "nor much too late");
    source_looks_release(&looks);
}
