/* Which ids of a table are judged: a run's range, and what was written past every sequence. */
#include "libmigrate/parity/parity_private.h"

static void add(struct parity_segment *segments, size_t *count, struct parity_segment segment)
{
    if (segment.first_id <= segment.last_id)
        segments[(*count)++] = segment;
}

size_t parity_segments(const struct mig_settled *settled, int64_t bound,
                       struct parity_segment ret_segments[PARITY_SEGMENTS_MAX])
{
    const int64_t end = bound < settled->bound ? bound : settled->bound;
    const bool strays = settled->has_strays && settled->stray_first > end;
    size_t count = 0;

    add(ret_segments, &count,
        (struct parity_segment){INT64_MIN, end, .settled = true, .judged = true});
    if (end == INT64_MAX)
        return count;
    add(ret_segments, &count,
        (struct parity_segment){end + 1, strays ? settled->stray_first - 1 : INT64_MAX,
                                .settled = false, .judged = false});
    if (strays)
        add(ret_segments, &count,
            (struct parity_segment){settled->stray_first, INT64_MAX, .settled = false,
                                    .judged = true});
    return count;
}
