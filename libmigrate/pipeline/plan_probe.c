/* How fast this machine signs: rows go the pipeline's own way for some seconds, on all threads,
 * with keys that nobody will ever use. */
#include "libmigrate/pipeline/plan_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MADE_UP_ROWS 256
#define MADE_UP_SIZE 700
#define SHARE 64
#define SHARES_A_ROUND 4 /* for each thread, before the clock is looked at */

struct probe {
    const struct mig_transform *transform;
    const struct mig_row *const *rows;
    size_t count;
};

static int sign_share(void *context, unsigned worker, size_t first, size_t end,
                      struct mig_error *err)
{
    const struct probe *probe = context;
    mig_cleanup(mig_arena_release) struct mig_arena scratch = MIG_ARENA_INIT;
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    int result = mig_part_new(probe->rows[0]->table, 1, &part, err);

    (void) worker;
    for (size_t i = first; i < end && result == MIG_OK; i++) {
        struct mig_row *row;

        result = mig_part_add_row(part, &row, err);
        if (result == MIG_OK)
            *row = *probe->rows[i % probe->count];
    }
    return result == MIG_OK ? mig_transform_part(probe->transform, &scratch, part, err) : result;
}

static int make_key(struct mig_signer **ret_signer, struct mig_error *err)
{
    uint8_t key[MIG_KEY_SIZE];
    char text[2 * MIG_KEY_SIZE + 1];

    if (getrandom(key, sizeof key, 0) != (ssize_t) sizeof key)
        return mig_fail(err, MIG_E_IO, "cannot draw a key to try signing with");
    key[0] &= 0x7f; /* below the order of the group */
    mig_hex_encode((struct mig_bytes){key, sizeof key}, text);
    return mig_signer_open(text, sizeof text - 1, ret_signer, err);
}

/* Application messages of the usual size that have not expired. */
static int make_up(int64_t as_of_ns, struct mig_part **ret_part, struct mig_error *err)
{
    static const uint8_t head[] = {0,  1,  0,  2,  16, 1,  2, 3, 4, 5, 6, 7, 8, 9, 10,
                                   11, 12, 13, 14, 15, 16, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    uint8_t data[MADE_UP_SIZE] = {0};
    int result = mig_part_new(MIG_TABLE_GROUP_MESSAGES, 1, &part, err);

    memcpy(data, head, sizeof head);
    for (int i = 0; i < MADE_UP_ROWS && result == MIG_OK; i++) {
        struct mig_row *row;

        if ((result = mig_part_add_row(part, &row, err)) != MIG_OK)
            break;
        row->table = MIG_TABLE_GROUP_MESSAGES;
        row->id = i + 1;
        row->values[MIG_GM_CREATED_AT].number = as_of_ns / 1000 - MIG_PG_EPOCH_US;
        row->values[MIG_GM_IS_COMMIT].is_null = true;
        if ((result = mig_arena_copy(&part->arena, (struct mig_bytes){head + 5, 16},
                                     &row->values[MIG_GM_GROUP_ID].bytes, err)) == MIG_OK)
            result = mig_arena_copy(&part->arena, (struct mig_bytes){data, sizeof data},
                                    &row->values[MIG_GM_DATA].bytes, err);
    }
    if (result == MIG_OK)
        *ret_part = mig_take(part);
    return result;
}

/* Which rows are signed: of a part that was transformed, those for nodes. */
static size_t choose_rows(const struct mig_part *part, const struct mig_row **rows)
{
    size_t count = 0;

    for (size_t i = 0; part && i < part->row_count; i++)
        if (!part->envelopes || part->envelopes[i].route == MIG_ROUTE_NODE)
            rows[count++] = &part->rows[i];
    return count;
}

static int sign_for(struct probe *probe, struct mig_pool *pool, unsigned seconds,
                    const struct mig_stop *stop, uint64_t *ret_rows_per_second,
                    struct mig_error *err)
{
    const size_t round = (size_t) SHARE * SHARES_A_ROUND * mig_pool_threads(pool);
    const int64_t began_ns = mig_time_monotonic_ns();
    int64_t took_ns = 0;
    uint64_t signed_rows = 0;

    while (took_ns < seconds * MIG_NS_PER_SECOND) {
        int result;

        if ((result = mig_stop_check(stop, err)) != MIG_OK ||
            (result = mig_pool_run(pool, round, SHARE, sign_share, probe, err)) != MIG_OK)
            return result;
        signed_rows += round;
        took_ns = mig_time_monotonic_ns() - began_ns;
    }
    *ret_rows_per_second =
        (uint64_t) ((double) signed_rows * (double) MIG_NS_PER_SECOND / (double) took_ns);
    return MIG_OK;
}

static void free_rows(const struct mig_row ***rows)
{
    free(*rows);
}

int plan_probe(const struct mig_manifest *manifest, int64_t as_of_ns, const struct mig_part *rows,
               struct mig_pool *pool, unsigned seconds, const struct mig_stop *stop,
               uint64_t *ret_rows_per_second, struct mig_error *err)
{
    mig_cleanup(pipeline_keys_release) struct pipeline_keys keys = {0};
    mig_cleanup(mig_transform_free) struct mig_transform *transform = NULL;
    mig_cleanup(mig_part_free) struct mig_part *made_up = NULL;
    const size_t room = MADE_UP_ROWS + (rows ? rows->row_count : 0);
    mig_cleanup(free_rows) const struct mig_row **chosen = calloc(room, sizeof *chosen);
    size_t count = chosen ? choose_rows(rows, chosen) : 0;
    int result;

    if (!chosen)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (count == 0 && (result = make_up(as_of_ns, &made_up, err)) != MIG_OK)
        return result;
    if (count == 0)
        count = choose_rows(made_up, chosen);
    if ((result = make_key(&keys.payer, err)) != MIG_OK ||
        (result = make_key(&keys.originator, err)) != MIG_OK ||
        (result = mig_transform_open(manifest, as_of_ns, keys.payer, keys.originator, &transform,
                                     err)) != MIG_OK)
        return result;
    return sign_for(&(struct probe){transform, chosen, count}, pool, seconds, stop,
                    ret_rows_per_second, err);
}
