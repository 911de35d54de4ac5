/* The table of installations: V3's truth about which package is the current one, where that is not
 * simply the newest row. */
#include "tools/xmtp-seed/seed.h"

/* Installations that only the table knows (hostile): a package that lies nowhere else blocks a
 * migration; one that was appended once has been pruned since. */
static const struct {
    enum { NOT_SAID, NOT_APPENDED, APPENDED } standing;
    int days_ago;
} rowless[] = {{NOT_SAID, 3},      {NOT_APPENDED, 3}, {NOT_SAID, 20},
               {NOT_APPENDED, 40}, {APPENDED, 101},   {APPENDED, 140}};

static int put_installation(struct mig_pg *pg, struct mig_bytes id, int64_t created_ns,
                            int64_t updated_ns, struct mig_bytes package, int is_appended,
                            struct mig_error *err)
{
    int result = mig_pg_put_row(pg, 5, err);

    if (result == MIG_OK)
        result = mig_pg_put_bytes(pg, id, err);
    if (result == MIG_OK)
        result = mig_pg_put_int64(pg, created_ns, err);
    if (result == MIG_OK)
        result = mig_pg_put_int64(pg, updated_ns, err);
    if (result == MIG_OK)
        result = mig_pg_put_bytes(pg, package, err);
    if (result != MIG_OK)
        return result;
    return is_appended == NOT_SAID ? mig_pg_put_null(pg, err)
                                   : mig_pg_put_bool(pg, is_appended == APPENDED, err);
}

static int put_known(struct mig_pg *pg, struct seed_maker *maker,
                     const struct seed_installation *installation, struct mig_error *err)
{
    const struct seed_network *network = maker->network;
    struct seed_random *random = &maker->random;
    int64_t row = installation->last_row, updated_ns = installation->updated_ns;
    struct mig_bytes id, package;
    int is_appended, result;

    *random = seed_random_of(network->seed, MIG_TABLE_COUNT, installation->index);
    is_appended = !seed_random_percent(random, 4)   ? APPENDED
                  : seed_random_percent(random, 50) ? NOT_APPENDED
                                                    : NOT_SAID;
    /* An older package uploaded again makes no row: only this table tells. */
    if (installation->first_row != row && seed_random_percent(random, 10)) {
        row = installation->first_row;
        updated_ns +=
            (int64_t) (seed_random_next(random) % (uint64_t) (network->until_ns - updated_ns + 1));
    }
    result = seed_installation_id(maker, installation->index, &id, err);
    if (result == MIG_OK)
        result = seed_key_package(maker, row, id, &package, err);
    if (result == MIG_OK)
        result = put_installation(pg, id, installation->created_ns, updated_ns, package,
                                  is_appended, err);
    return result;
}

static int put_rowless(struct mig_pg *pg, struct seed_maker *maker, size_t which,
                       struct mig_error *err)
{
    const struct seed_network *network = maker->network;
    const int64_t time_ns = network->until_ns - rowless[which].days_ago * MIG_NS_PER_DAY;
    struct mig_bytes id, package;
    int result;

    maker->random =
        seed_random_of(network->seed, MIG_TABLE_COUNT + 1, network->installation_base + which);
    result = seed_random_run(maker, 32, &id, err);
    if (result == MIG_OK)
        result = seed_random_run(maker, 900, &package, err);
    return result == MIG_OK ? put_installation(pg, id, time_ns, time_ns, package,
                                               (int) rowless[which].standing, err)
                            : result;
}

int seed_copy_installations(struct mig_pg *pg, struct seed_maker *maker, struct mig_error *err)
{
    const struct seed_network *network = maker->network;
    uint64_t ignored;
    int result = mig_pg_copy_in(pg,
                                "COPY public.installations (id, created_at, updated_at,"
                                " key_package, is_appended) FROM STDIN (FORMAT binary)",
                                err);

    for (size_t i = 0; result == MIG_OK && i < network->installation_count; i++) {
        result = put_known(pg, maker, &network->installations[i], err);
        if (i % 256 == 0)
            mig_arena_release(&maker->arena);
    }
    for (size_t i = 0; result == MIG_OK && network->hostile && i < mig_count_of(rowless); i++)
        result = put_rowless(pg, maker, i, err);
    return result == MIG_OK ? mig_pg_copy_in_end(pg, &ignored, err) : result;
}
