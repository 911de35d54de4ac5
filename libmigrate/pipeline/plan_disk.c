/*
 * What a row costs a node's server. The formula, in bytes, for a topic of t and an envelope of e:
 *
 *   heap    = meta tuple (28 + 24 + t + up to 24 of alignment and ids) + blob tuple (44 + 4 + e, or
 *             64 when e does not fit a quarter of a page: then ceil(e / 1996) TOAST tuples of
 *             40 + 1996 with an index entry of 20 each), on pages of 8192 that are 97 % full
 *   keys    = 28 for each of the two primary keys, on pages 90 % full
 *   indexes = 36 (expiry) + two of 44 + t (topic), on pages 90 % full when built, 68 % when each
 * row was inserted on its own WAL     = what is stored, and when rows are inserted one by one 60
 * for each tuple and entry
 */
#include "libmigrate/pipeline/plan_private.h"

#define TUPLE 28 /* header and line pointer */
#define ENTRY 12 /* of an index: header and line pointer */
#define INLINE_MAX 2000
#define CHUNK 1996
#define CHUNK_COST (TUPLE + 12)
#define CHUNK_ENTRY 20
#define KEY 28
#define EXPIRY 36
#define RECORD 60 /* head of a WAL record */
#define RECORDS 7 /* two tuples, five entries */
#define HEAP_FILL 0.97
#define KEY_FILL 0.9
#define BUILT_FILL 0.9
#define INSERTED_FILL 0.68

static double aligned(size_t size)
{
    const size_t words = (size + 7) / 8;

    return (double) (words * 8);
}

void plan_cost_add(struct plan_cost *cost, size_t topic_size, size_t envelope_size)
{
    const bool inlined = envelope_size <= INLINE_MAX;
    const size_t chunks = inlined ? 0 : (envelope_size + CHUNK - 1) / CHUNK;
    const double meta = TUPLE + aligned(24 + 1 + topic_size + 4) + 8;
    const double blob = TUPLE + (inlined ? aligned(16 + 4 + envelope_size) : aligned(16 + 18));
    const double toast = inlined ? 0 : (double) envelope_size + (double) (chunks * CHUNK_COST);
    const double heap = (meta + blob + toast) / HEAP_FILL;
    const double keys = 2 * KEY + (double) (chunks * CHUNK_ENTRY);
    const double topics = EXPIRY + 2 * (ENTRY + aligned(1 + topic_size + 4) + 24);

    cost->bulk_bytes += heap + keys / KEY_FILL + topics / BUILT_FILL;
    cost->staged_bytes += heap + keys / KEY_FILL + topics / INSERTED_FILL;
    cost->bulk_wal_bytes += heap + keys / KEY_FILL + topics / BUILT_FILL;
    cost->staged_wal_bytes += heap + keys + topics + (double) (RECORDS + 2 * chunks) * RECORD;
}
