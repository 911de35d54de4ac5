/* Rising lists side by side, and the cutting of a table's ids into segments. */
#include "libmigrate/parity/parity_private.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#define SIDE_MAX 8
#define NODES 2

struct sides {
    struct mig_row rows[SIDE_MAX];
    struct mig_node_row held[NODES][SIDE_MAX];
    struct parity_slice slices[NODES];
    struct parity_job job;
};

struct ids {
    int64_t ids[SIDE_MAX];
    size_t count;
};
#define IDS(...) ((struct ids){{__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)})
#define NONE ((struct ids){0})

/* "1s 2sab": who has each id: the source, the first node, the second. */
static const char *merge(struct ids source, struct ids alpha, struct ids beta)
{
    static char text[512];
    const struct ids *const nodes[NODES] = {&alpha, &beta};
    struct sides sides = {.job = {.rows = sides.rows,
                                  .row_count = source.count,
                                  .slices = sides.slices,
                                  .slice_count = NODES}};
    const struct mig_row *row;
    size_t used = 0;
    int64_t id;

    for (size_t i = 0; i < source.count; i++)
        sides.rows[i].id = source.ids[i];
    for (size_t n = 0; n < NODES; n++) {
        sides.slices[n] = (struct parity_slice){.rows = sides.held[n], .count = nodes[n]->count};
        for (size_t i = 0; i < nodes[n]->count; i++)
            sides.held[n][i].sequence_id = nodes[n]->ids[i];
    }
    text[0] = '\0';
    while (parity_job_next(&sides.job, &id, &row)) {
        cr_assert(!row || row->id == id);
        used += (size_t) snprintf(text + used, sizeof text - used, "%s%" PRId64 "%s",
                                  used ? " " : "", id, row ? "s" : "");
        for (size_t n = 0; n < NODES; n++)
            if (parity_slice_take(&sides.slices[n], id))
                used += (size_t) snprintf(text + used, sizeof text - used, "%c", 'a' + (int) n);
    }
    return text;
}

#define assert_merged(source, alpha, beta, expected)                                               \
    do {                                                                                           \
        const char *merged = merge(source, alpha, beta);                                           \
        cr_assert_str_eq(merged, expected, "found: %s", merged);                                   \
    } while (0)

Test(merge, of_empty_sides_is_empty)
{
    assert_merged(NONE, NONE, NONE, "");
}

Test(merge, with_other_sides_empty_gives_the_one)
{
    assert_merged(IDS(1, 2), NONE, NONE, "1s 2s");
    assert_merged(NONE, IDS(1, 2), NONE, "1a 2a");
    assert_merged(NONE, NONE, IDS(1, 2), "1b 2b");
}

Test(merge, finds_extras_before_between_and_after)
{
    assert_merged(IDS(10, 20, 30), IDS(5, 10, 15, 20, 30, 35), IDS(10, 15, 20, 30),
                  "5a 10sab 15ab 20sab 30sab 35a");
}

Test(merge, finds_missing_before_between_and_after)
{
    assert_merged(IDS(5, 10, 15, 20, 25), IDS(10, 20), IDS(5, 25), "5sb 10sa 15s 20sa 25sb");
}

Test(merge, takes_the_least_and_the_greatest_id_like_any_other)
{
    assert_merged(IDS(INT64_MIN, 0, INT64_MAX), IDS(INT64_MIN, -1, INT64_MAX), IDS(INT64_MAX),
                  "-9223372036854775808sa -1a 0s 9223372036854775807sab");
    assert_merged(NONE, IDS(INT64_MAX), NONE, "9223372036854775807a");
}

Test(merge, knows_how_far_a_batch_reaches)
{
    struct mig_node_row rows[] = {{.sequence_id = 3}, {.sequence_id = 9}};
    struct parity_batch batch = {.rows = rows, .count = 2};

    cr_assert_eq(parity_batch_reach(&batch), 9);
    batch.ended = true;
    cr_assert_eq(parity_batch_reach(&batch), INT64_MAX);
    batch = (struct parity_batch){.ended = true};
    cr_assert_eq(parity_batch_reach(&batch), INT64_MAX, "an empty end tells all");
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
