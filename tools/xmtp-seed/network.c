/* The made-up network: which groups, installations and inboxes there are, and what their rows hold.
 * A row follows from the seed and its id alone, so that rows can be made in any order. */
#include "tools/xmtp-seed/seed.h"

#include "libmigrate/io/io.h"

#include <stdlib.h>

/* Kinds of numbers besides those of the rows of a table, which use the table's own. */
enum { OF_GROUP = 100, OF_INSTALLATION, OF_INBOX, OF_PACKAGE };

#define XWING_KEY_SIZE 1216

void seed_maker_init(struct seed_maker *maker, struct seed_network *network)
{
    *maker = (struct seed_maker){.network = network,
                                 .writer = {.buffer = MIG_BUFFER_INIT(SEED_ROW_LIMIT)}};
}

void seed_maker_release(struct seed_maker *maker)
{
    mig_buffer_release(&maker->writer.buffer);
    mig_arena_release(&maker->arena);
}

void seed_network_release(struct seed_network *network)
{
    free(network->installations);
    network->installations = NULL;
}

/* ---- identifiers -------------------------------------------------------------------------- */

static int make_run(struct seed_maker *maker, struct seed_random random, size_t size,
                    struct mig_bytes *ret_bytes, struct mig_error *err)
{
    seed_put_random(&maker->writer, &random, size);
    return seed_finish(&maker->writer, &maker->arena, ret_bytes, err);
}

int seed_random_run(struct seed_maker *maker, size_t size, struct mig_bytes *ret_bytes,
                    struct mig_error *err)
{
    seed_put_random(&maker->writer, &maker->random, size);
    return seed_finish(&maker->writer, &maker->arena, ret_bytes, err);
}

int seed_group_id(struct seed_maker *maker, uint64_t index, struct mig_bytes *ret_id,
                  struct mig_error *err)
{
    return make_run(maker, seed_random_of(maker->network->seed, OF_GROUP, index), 16, ret_id, err);
}

int seed_installation_id(struct seed_maker *maker, uint64_t index, struct mig_bytes *ret_id,
                         struct mig_error *err)
{
    return make_run(maker, seed_random_of(maker->network->seed, OF_INSTALLATION, index), 32, ret_id,
                    err);
}

/* A few are talked about much, most hardly ever. */
static uint64_t pick_skewed(struct seed_random *random, uint64_t count)
{
    const uint64_t once = seed_random_between(random, 0, count - 1);

    return seed_random_between(random, 0, once);
}

/* Rows come in the order of their ids but for some jitter; the newest ones end at until. */
static int64_t row_time_ns(struct seed_maker *maker, enum mig_table table, int64_t place)
{
    const struct seed_network *network = maker->network;
    const double step =
        (double) (network->until_ns - network->from_ns) / (double) network->rows[table];
    const double jitter = (double) seed_random_between(&maker->random, 0, 3000) / 1000;
    const int64_t time_ns = network->from_ns + (int64_t) (((double) place + jitter) * step) +
                            (int64_t) seed_random_between(&maker->random, 0, 999999);

    return time_ns < network->until_ns ? time_ns : network->until_ns;
}

/* ---- values ------------------------------------------------------------------------------- */

static struct mig_value null_value(void)
{
    return (struct mig_value){.is_null = true};
}

static struct mig_value number_value(int64_t number)
{
    return (struct mig_value){.number = number};
}

static struct mig_value time_value(int64_t unix_ns)
{
    return number_value(unix_ns / 1000 - MIG_PG_EPOCH_US);
}

/* ---- group messages ----------------------------------------------------------------------- */

static const struct seed_mls ordinary_messages[] = {
    {1, SEED_MLS_PRIVATE, MIG_MLS_APPLICATION, 0, .body_min = 220, .body_max = 800},
    {1, SEED_MLS_PRIVATE, MIG_MLS_APPLICATION, 0, .body_min = 800, .body_max = 1900},
    {1, SEED_MLS_PRIVATE, MIG_MLS_PROPOSAL, 0, .body_min = 200, .body_max = 600},
    {1, SEED_MLS_PUBLIC, MIG_MLS_PROPOSAL, SEED_SENDER_MEMBER, .body_min = 200, .body_max = 600},
    {1, SEED_MLS_PRIVATE, MIG_MLS_COMMIT, 0, .body_min = 400, .body_max = 3800},
    {1, SEED_MLS_PUBLIC, MIG_MLS_COMMIT, SEED_SENDER_MEMBER, .body_min = 400, .body_max = 3800},
    {1, SEED_MLS_PUBLIC, MIG_MLS_COMMIT, SEED_SENDER_COMMIT, .body_min = 400, .body_max = 3800},
    {1, SEED_MLS_PRIVATE, MIG_MLS_COMMIT, 0, .body_min = 4000, .body_max = 60000},
};
static const uint8_t shares[mig_count_of(ordinary_messages)] = {76, 12, 3, 1, 5, 1, 1, 1};

static const struct seed_mls *pick_message(struct seed_random *random)
{
    uint64_t point = seed_random_between(random, 0, 99);
    size_t i = 0;

    for (; point >= shares[i]; i++)
        point -= shares[i];
    return &ordinary_messages[i];
}

static int make_group_message(struct seed_maker *maker, int64_t place, struct mig_row *row,
                              struct mig_error *err)
{
    struct seed_random *random = &maker->random;
    const int64_t time_ns = row_time_ns(maker, row->table, place);
    const uint64_t group = pick_skewed(random, maker->network->groups);
    const struct seed_mls *message = pick_message(random);
    const bool is_commit = message->content == MIG_MLS_COMMIT;
    struct mig_value *values = row->values;
    int result;

    values[MIG_GM_CREATED_AT] = time_value(time_ns);
    values[MIG_GM_IS_COMMIT] =
        seed_random_percent(random, 10) ? null_value() : number_value(is_commit);
    values[MIG_GM_SENDER_HMAC] = null_value();
    values[MIG_GM_SHOULD_PUSH] = null_value();
    result = seed_group_id(maker, group, &values[MIG_GM_GROUP_ID].bytes, err);
    if (result == MIG_OK)
        result = seed_mls_message(maker, values[MIG_GM_GROUP_ID].bytes, message,
                                  &values[MIG_GM_DATA].bytes, err);
    if (result != MIG_OK || is_commit || seed_random_percent(random, 15))
        return result;
    values[MIG_GM_SENDER_HMAC].is_null = false;
    result = seed_random_run(maker, 32, &values[MIG_GM_SENDER_HMAC].bytes, err);
    if (!seed_random_percent(random, 10))
        values[MIG_GM_SHOULD_PUSH] = number_value(seed_random_percent(random, 60));
    return result;
}

/* ---- welcomes ----------------------------------------------------------------------------- */

enum { CURVE25519, XWING, SYMMETRIC };

static int pick_installation(struct seed_maker *maker, struct mig_bytes *ret_id,
                             struct mig_error *err)
{
    const struct seed_network *network = maker->network;

    if (network->installation_count == 0)
        return seed_random_run(maker, 32, ret_id, err);
    return seed_installation_id(
        maker,
        network->installations[pick_skewed(&maker->random, network->installation_count)].index,
        ret_id, err);
}

static int make_welcome(struct seed_maker *maker, int64_t place, struct mig_row *row,
                        struct mig_error *err)
{
    struct seed_random *random = &maker->random;
    const int64_t time_ns = row_time_ns(maker, row->table, place);
    const bool pointer = seed_random_percent(random, 10);
    const uint64_t algorithm_point = seed_random_between(random, 0, 9);
    const int64_t algorithm = pointer || algorithm_point < 3 ? XWING
                              : algorithm_point < 4          ? SYMMETRIC
                                                             : CURVE25519;
    const size_t data_size = (size_t) (pointer ? seed_random_between(random, 90, 300)
                                               : seed_random_between(random, 1500, 3600));
    struct mig_value *values = row->values;
    int result;

    values[MIG_WM_CREATED_AT] = time_value(time_ns);
    values[MIG_WM_WRAPPER_ALGORITHM] = number_value(algorithm);
    values[MIG_WM_MESSAGE_TYPE] = number_value(pointer);
    values[MIG_WM_METADATA] = null_value();
    values[MIG_WM_HPKE_PUBLIC_KEY] = null_value();
    result = pick_installation(maker, &values[MIG_WM_INSTALLATION_KEY].bytes, err);
    if (result == MIG_OK)
        result = seed_random_run(maker, data_size, &values[MIG_WM_DATA].bytes, err);
    if (result == MIG_OK && !seed_random_percent(random, 4)) {
        values[MIG_WM_HPKE_PUBLIC_KEY].is_null = false;
        result = seed_random_run(maker, algorithm == XWING ? XWING_KEY_SIZE : 32,
                                 &values[MIG_WM_HPKE_PUBLIC_KEY].bytes, err);
    }
    if (result == MIG_OK && !pointer && seed_random_percent(random, 60)) {
        values[MIG_WM_METADATA].is_null = false;
        result = seed_random_run(maker, (size_t) seed_random_between(random, 20, 70),
                                 &values[MIG_WM_METADATA].bytes, err);
    }
    return result;
}

/* ---- key packages ------------------------------------------------------------------------- */

int seed_key_package(struct seed_maker *maker, int64_t id, struct mig_bytes installation_id,
                     struct mig_bytes *ret_package, struct mig_error *err)
{
    struct seed_random random = seed_random_of(maker->network->seed, OF_PACKAGE, (uint64_t) id);
    struct seed_writer *writer = &maker->writer;

    seed_put_number(writer, 1, 2); /* mls10 */
    seed_put_number(writer, 3, 2); /* the cipher suite */
    for (int key = 0; key < 2; key++) {
        seed_put_length(writer, 32, false);
        seed_put_random(writer, &random, 32);
    }
    seed_put_length(writer, installation_id.size, false);
    seed_put(writer, installation_id.data, installation_id.size);
    seed_put_number(writer, 1, 2); /* a basic credential */
    seed_put_random(writer, &random, (size_t) seed_random_between(&random, 400, 1700));
    return seed_finish(writer, &maker->arena, ret_package, err);
}

static int add_installation(struct seed_network *network, int64_t time_ns,
                            struct seed_installation **ret_installation, struct mig_error *err)
{
    const size_t count = network->installation_count;
    const size_t wanted = network->installation_capacity * 2 + 64;

    if (count == network->installation_capacity) {
        struct seed_installation *grown =
            reallocarray(network->installations, wanted, sizeof *grown);

        if (!grown)
            return mig_fail(err, MIG_E_NOMEM, "cannot hold %zu installations", wanted);
        network->installations = grown;
        network->installation_capacity = wanted;
    }
    network->installations[count] = (struct seed_installation){
        .index = network->installation_base + count, .created_ns = time_ns};
    network->installation_count++;
    *ret_installation = &network->installations[count];
    return MIG_OK;
}

static int make_key_package(struct seed_maker *maker, int64_t place, struct mig_row *row,
                            struct mig_error *err)
{
    struct seed_network *network = maker->network;
    struct seed_random *random = &maker->random;
    const int64_t time_ns = row_time_ns(maker, row->table, place);
    struct seed_installation *installation = NULL;
    struct mig_value *values = row->values;
    int result;

    if (network->installation_count == 0 || seed_random_percent(random, 55)) {
        result = add_installation(network, time_ns, &installation, err);
        if (result != MIG_OK)
            return result;
        installation->first_row = row->id;
    } else {
        installation =
            &network
                 ->installations[seed_random_between(random, 0, network->installation_count - 1)];
    }
    installation->last_row = row->id;
    if (time_ns > installation->updated_ns)
        installation->updated_ns = time_ns;
    /* V3's own backfill wrote some rows with the installation's time, not the upload's. */
    values[MIG_KP_CREATED_NS] =
        number_value(seed_random_percent(random, 4) ? installation->created_ns : time_ns);
    result = seed_installation_id(maker, installation->index, &values[MIG_KP_INSTALLATION_ID].bytes,
                                  err);
    if (result == MIG_OK)
        result = seed_key_package(maker, row->id, values[MIG_KP_INSTALLATION_ID].bytes,
                                  &values[MIG_KP_KEY_PACKAGE].bytes, err);
    return result;
}

/* A row whose installation has no other, and none in the table of them. */
static int make_stray_package(struct seed_maker *maker, int64_t place, struct mig_row *row,
                              struct mig_error *err)
{
    struct mig_value *values = row->values;
    int result;

    values[MIG_KP_CREATED_NS] = number_value(row_time_ns(maker, row->table, place));
    result = seed_random_run(maker, 32, &values[MIG_KP_INSTALLATION_ID].bytes, err);
    if (result == MIG_OK)
        result = seed_key_package(maker, row->id, values[MIG_KP_INSTALLATION_ID].bytes,
                                  &values[MIG_KP_KEY_PACKAGE].bytes, err);
    return result;
}

/* ---- identity updates --------------------------------------------------------------------- */

static int make_inbox_row(struct seed_maker *maker, int64_t place, struct mig_row *row,
                          struct mig_error *err)
{
    struct seed_network *network = maker->network;
    struct seed_random *random = &maker->random;
    const int64_t time_ns = row_time_ns(maker, row->table, place);
    const bool is_new = network->inboxes == 0 || seed_random_percent(random, 50);
    const uint64_t inbox =
        is_new ? network->inboxes++ : seed_random_between(random, 0, network->inboxes - 1);
    const enum seed_update update =
        is_new
            ? SEED_UPDATE_CREATE
            : (enum seed_update) seed_random_between(random, SEED_UPDATE_ADD, SEED_UPDATE_RECOVERY);
    struct mig_value *values = row->values;
    int result =
        make_run(maker, seed_random_of(network->seed, OF_INBOX, network->inbox_base + inbox), 32,
                 &values[MIG_IL_INBOX_ID].bytes, err);

    values[MIG_IL_CREATED_NS] = number_value(time_ns);
    if (result == MIG_OK)
        result = seed_identity_update(maker, values[MIG_IL_INBOX_ID].bytes, update, time_ns,
                                      &values[MIG_IL_UPDATE].bytes, err);
    return result;
}

/* ---- rows --------------------------------------------------------------------------------- */

static int (*const makers[MIG_TABLE_COUNT])(struct seed_maker *maker, int64_t place,
                                            struct mig_row *row, struct mig_error *err) = {
    [MIG_TABLE_GROUP_MESSAGES] = make_group_message,
    [MIG_TABLE_WELCOME_MESSAGES] = make_welcome,
    [MIG_TABLE_KEY_PACKAGES] = make_key_package,
    [MIG_TABLE_INBOX_LOG] = make_inbox_row,
};

static int hash_of(struct seed_maker *maker, const struct mig_value *key,
                   const struct mig_value *data, struct mig_value *ret_hash, struct mig_error *err)
{
    const struct mig_bytes pieces[] = {key->bytes, data->bytes};
    uint8_t digest[MIG_SHA256_SIZE];
    int result = mig_sha256(pieces, mig_count_of(pieces), digest, err);

    if (result != MIG_OK)
        return result;
    ret_hash->is_null = false;
    return mig_arena_copy(&maker->arena, (struct mig_bytes){digest, sizeof digest},
                          &ret_hash->bytes, err);
}

static int make_hash(struct seed_maker *maker, struct mig_row *row, struct mig_error *err)
{
    struct mig_value *values = row->values;

    if (row->table == MIG_TABLE_GROUP_MESSAGES)
        return hash_of(maker, &values[MIG_GM_GROUP_ID], &values[MIG_GM_DATA], &values[MIG_GM_HASH],
                       err);
    if (row->table == MIG_TABLE_WELCOME_MESSAGES)
        return hash_of(maker, &values[MIG_WM_INSTALLATION_KEY], &values[MIG_WM_DATA],
                       &values[MIG_WM_HASH], err);
    return MIG_OK;
}

int seed_make_row(struct seed_maker *maker, enum mig_table table, int64_t place, int64_t id,
                  struct mig_row *ret_row, struct mig_error *err)
{
    const struct seed_network *network = maker->network;
    const struct seed_fault *fault = seed_fault_at(network, table, place);
    struct mig_row row = {.table = table, .id = id};
    int result;

    maker->random = seed_random_of(network->seed, table, (uint64_t) id);
    /* An installation's current package is an ordinary row, whatever else there is. */
    if (table == MIG_TABLE_KEY_PACKAGES && (fault || place >= network->rows[table]))
        result = make_stray_package(maker, place, &row, err);
    else
        result = makers[table](maker, place, &row, err);
    if (result == MIG_OK && fault)
        result = fault->apply(maker, &row, fault->argument, err);
    if (result == MIG_OK)
        result = make_hash(maker, &row, err);
    if (result == MIG_OK)
        *ret_row = row;
    return result;
}
