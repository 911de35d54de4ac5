/* Two rising lists side by side, and the cutting of a table's ids into segments. */
#include "libmigrate/parity/parity_private.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#define SIDE_MAX 8

struct sides {
    struct mig_envelope envelopes[SIDE_MAX];
    struct mig_node_row rows[SIDE_MAX];
    struct parity_plan plan;
    struct parity_batch batch;
    struct parity_pair pairs[2 * SIDE_MAX];
};

static void fill(struct sides *sides, const int64_t *planned, size_t planned_count,
                 const int64_t *held, size_t held_count)
{
    *sides = (struct sides){0};
    for (size_t i = 0; i < planned_count; i++)
        sides->envelopes[i].sequence_id = planned[i];
    for (size_t i = 0; i < held_count; i++)
        sides->rows[i].sequence_id = held[i];
    sides->plan = (struct parity_plan){sides->envelopes, NULL, planned_count, 0};
    sides->batch = (struct parity_batch){.rows = sides->rows, .count = held_count};
}

#define FILL(sides, planned, held)                                                                 \
    fill(sides, planned, sizeof(planned) / sizeof(int64_t), held, sizeof(held) / sizeof(int64_t))
#define IDS(...) ((const int64_t[]){__VA_ARGS__})

/* "1- 2= 3+": only planned, both, only held. */
static const char *pair_up(struct sides *sides, int64_t up_to)
{
    static char text[512];
    const size_t count = parity_pair_up(&sides->plan, &sides->batch, up_to, sides->pairs);
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const struct parity_pair *pair = &sides->pairs[i];

        used +=
            (size_t) snprintf(text + used, sizeof text - used, "%s%" PRId64 "%s", i ? " " : "",
                              pair->planned ? pair->planned->sequence_id : pair->held->sequence_id,
                              pair->planned && pair->held ? "="
                              : pair->planned             ? "-"
                                                          : "+");
    }
    return text;
}

Test(merge, of_two_empty_sides_is_empty)
{
    struct sides sides;

    fill(&sides, NULL, 0, NULL, 0);
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "");
}

Test(merge, with_one_side_empty_gives_the_other)
{
    struct sides sides;

    fill(&sides, IDS(1, 2), 2, NULL, 0);
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "1- 2-");
    fill(&sides, NULL, 0, IDS(1, 2), 2);
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "1+ 2+");
}

Test(merge, finds_extras_before_between_and_after)
{
    struct sides sides;

    FILL(&sides, IDS(10, 20, 30), IDS(5, 10, 15, 20, 30, 35));
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "5+ 10= 15+ 20= 30= 35+");
}

Test(merge, finds_missing_before_between_and_after)
{
    struct sides sides;

    FILL(&sides, IDS(5, 10, 15, 20, 25), IDS(10, 20));
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "5- 10= 15- 20= 25-");
}

Test(merge, takes_the_least_and_the_greatest_id_like_any_other)
{
    struct sides sides;

    FILL(&sides, IDS(INT64_MIN, 0, INT64_MAX), IDS(INT64_MIN, -1, INT64_MAX));
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "-9223372036854775808= -1+ 0- "
                                                 "9223372036854775807=");
}

Test(merge, stops_where_it_is_told_and_goes_on_from_there)
{
    struct sides sides;

    FILL(&sides, IDS(1, 2, 5, 6), IDS(2, 3, 4, 6));
    cr_assert_str_eq(pair_up(&sides, 0), "");
    cr_assert_str_eq(pair_up(&sides, 2), "1- 2=");
    cr_assert_str_eq(pair_up(&sides, 4), "3+ 4+");
    cr_assert_str_eq(pair_up(&sides, 5), "5-");
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "6=");
    cr_assert_str_eq(pair_up(&sides, INT64_MAX), "");
}

Test(merge, knows_how_far_a_batch_reaches)
{
    struct sides sides;

    fill(&sides, NULL, 0, IDS(3, 9), 2);
    cr_assert_eq(parity_batch_reach(&sides.batch), 9);
    sides.batch.ended = true;
    cr_assert_eq(parity_batch_reach(&sides.batch), INT64_MAX);
    fill(&sides, NULL, 0, NULL, 0);
    sides.batch.ended = true;
    cr_assert_eq(parity_batch_reach(&sides.batch), INT64_MAX, "an empty end tells all");
}

/* ---- segments ----------------------------------------------------------------------------- */

static void check_segment(const struct parity_segment *segment, int64_t first_id, int64_t last_id,
                          bool settled, bool judged)
{
    cr_assert_eq(segment->first_id, first_id);
    cr_assert_eq(segment->last_id, last_id);
    cr_assert_eq(segment->settled, settled);
    cr_assert_eq(segment->judged, judged);
}

Test(segments, judge_up_to_the_bound_and_leave_no_id_out)
{
    const struct mig_settled settled = {.bound = 100};
    struct parity_segment segments[PARITY_SEGMENTS_MAX];

    cr_assert_eq(parity_segments(&settled, 70, segments), 2);
    check_segment(&segments[0], INT64_MIN, 70, true, true);
    check_segment(&segments[1], 71, INT64_MAX, false, false);
}

Test(segments, never_judge_what_is_not_settled_now)
{
    const struct mig_settled settled = {.bound = 100};
    struct parity_segment segments[PARITY_SEGMENTS_MAX];

    cr_assert_eq(parity_segments(&settled, 500, segments), 2);
    check_segment(&segments[0], INT64_MIN, 100, true, true);
}

Test(segments, judge_strays_above_everything)
{
    const struct mig_settled settled = {.bound = 100, .has_strays = true, .stray_first = 121};
    struct parity_segment segments[PARITY_SEGMENTS_MAX];

    cr_assert_eq(parity_segments(&settled, 100, segments), 3);
    check_segment(&segments[1], 101, 120, false, false);
    check_segment(&segments[2], 121, INT64_MAX, false, true);
}

Test(segments, leave_out_an_empty_one)
{
    const struct mig_settled settled = {.bound = 100, .has_strays = true, .stray_first = 101};
    const struct mig_settled all = {.bound = INT64_MAX};
    struct parity_segment segments[PARITY_SEGMENTS_MAX];

    cr_assert_eq(parity_segments(&settled, 100, segments), 2);
    check_segment(&segments[1], 101, INT64_MAX, false, true);
    cr_assert_eq(parity_segments(&all, INT64_MAX, segments), 1);
    check_segment(&segments[0], INT64_MIN, INT64_MAX, true, true);
}
