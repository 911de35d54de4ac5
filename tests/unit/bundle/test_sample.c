/* The sample itself: its making, its reading back, and that it has one of everything. */
#include "tests/unit/bundle/sample.h"

#include "libmigrate/io/io.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "bundle-test-XXXXXX";

void sample_enter(void)
{
    cr_assert_eq(chdir(getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir), 0);
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void sample_leave(void)
{
    char command[64];

    cr_assert_eq(chdir(".."), 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(sample, .init = sample_enter, .fini = sample_leave);

struct mig_bundle_facts sample_facts(enum mig_stage stage)
{
    struct mig_bundle_facts facts = {.stage = stage,
                                     .run = "000102030405060708090a0b0c0d0e0f",
                                     .network = "local \"net/1\"",
                                     .as_of_ns = INT64_C(1767225600123456789),
                                     .profile = "correct",
                                     .policy_digest = "ab01"};

    if (stage == MIG_STAGE_ENVELOPES) {
        strcpy(facts.payer, "0x1111111111111111111111111111111111111111");
        strcpy(facts.originator, "0x2222222222222222222222222222222222222222");
    }
    return facts;
}

static struct mig_bytes make_bytes(struct mig_arena *arena, size_t size, unsigned seed)
{
    void *memory;
    uint8_t *bytes;

    cr_assert_eq(mig_arena_alloc(arena, size, &memory, NULL), MIG_OK);
    bytes = memory;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t) (seed * 31 + i * i * 7 + i / 9);
    return (struct mig_bytes){bytes, size};
}

struct mig_part *sample_rows(enum mig_table table, int64_t first_id, int64_t last_id)
{
    const struct mig_table_info *info = mig_table_info(table);
    struct mig_part *part = NULL;

    cr_assert_eq(mig_part_new(table, first_id, &part, NULL), MIG_OK);
    part->last_id = last_id;
    part->settled = true;
    for (int64_t id = first_id; id <= last_id; id += 3) {
        struct mig_row *row;

        cr_assert_eq(mig_part_add_row(part, &row, NULL), MIG_OK);
        row->id = id;
        for (size_t i = 0; i < info->column_count; i++) {
            const enum mig_column_type type = info->columns[i].type;

            row->values[i].is_null = info->columns[i].nullable && (id + (int64_t) i) % 4 == 0;
            if (!row->values[i].is_null && type == MIG_COLUMN_BYTES)
                row->values[i].bytes = make_bytes(&part->arena, 16 + (size_t) (id % 90),
                                                  (unsigned) id * 8 + (unsigned) i);
            else if (!row->values[i].is_null)
                row->values[i].number = type == MIG_COLUMN_INT64 || type == MIG_COLUMN_TIMESTAMP
                                            ? INT64_C(1700000000000000) + id % 1000
                                            : id % 2;
        }
    }
    part->rows_sent = part->row_count;
    return part;
}

/* The kind that rows of a table become by this route. */
static enum mig_kind kind_of(enum mig_table table, enum mig_route route)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        if (mig_kind_info((enum mig_kind) kind)->table == table &&
            mig_kind_info((enum mig_kind) kind)->route == route)
            return (enum mig_kind) kind;
    return MIG_KIND_COUNT;
}

static void build_layers(struct mig_envelope *envelope, struct mig_arena *arena)
{
    const struct mig_kind_info *kind = mig_kind_info(envelope->kind);
    struct mig_payer_layer payer = {.signature = make_bytes(arena, 65, 1),
                                    .target_originator = kind->signed_originator,
                                    .retention_days = 60};
    struct mig_unsigned_layer layer = {.originator = kind->signed_originator,
                                       .sequence_id = (uint64_t) envelope->sequence_id,
                                       .originator_ns = 1700000000000000000,
                                       .base_fee_picodollars = 100,
                                       .expiry_unixtime = 1800000000};
    struct mig_bytes payload, unsigned_envelope;

    envelope->topic = make_bytes(arena, 17, (unsigned) envelope->sequence_id);
    ((uint8_t *) (uintptr_t) envelope->topic.data)[0] = kind->topic_kind;
    cr_assert_eq(mig_key_package_build(envelope->row->values[1].bytes, arena, &payload, NULL),
                 MIG_OK);
    cr_assert_eq(mig_client_envelope_build(envelope->topic, 4, payload, arena,
                                           &envelope->client_envelope, NULL),
                 MIG_OK);
    if (envelope->route == MIG_ROUTE_CHAIN)
        return;
    payer.client_envelope = envelope->client_envelope;
    cr_assert_eq(mig_payer_envelope_build(&payer, arena, &envelope->payer_envelope, NULL), MIG_OK);
    layer.payer_envelope = envelope->payer_envelope;
    cr_assert_eq(mig_unsigned_envelope_build(&layer, arena, &unsigned_envelope, NULL), MIG_OK);
    cr_assert_eq(mig_originator_envelope_build(unsigned_envelope, payer.signature, arena,
                                               &envelope->originator_envelope, NULL),
                 MIG_OK);
}

struct mig_part *sample_envelopes(enum mig_table table, int64_t first_id, int64_t last_id)
{
    static const enum mig_route turns[] = {MIG_ROUTE_NODE, MIG_ROUTE_CHAIN, MIG_ROUTE_REJECTED,
                                           MIG_ROUTE_EXPIRED};
    struct mig_part *part = sample_rows(table, first_id, last_id);

    part->envelopes = calloc(part->row_count + 1, sizeof *part->envelopes);
    for (size_t i = 0; i < part->row_count; i++) {
        struct mig_envelope *envelope = &part->envelopes[i];
        enum mig_route route = turns[i % mig_count_of(turns)];

        if (kind_of(table, route) == MIG_KIND_COUNT && route == MIG_ROUTE_CHAIN)
            route = MIG_ROUTE_NODE;
        if (kind_of(table, route) == MIG_KIND_COUNT && route == MIG_ROUTE_NODE)
            route = MIG_ROUTE_CHAIN;
        *envelope = (struct mig_envelope){.row = &part->rows[i],
                                          .route = route,
                                          .findings = (unsigned) i % 3,
                                          .sequence_id = part->rows[i].id,
                                          .gateway_time_us = 1700000000000000};
        envelope->kind = kind_of(table, route);
        if (route == MIG_ROUTE_REJECTED || route == MIG_ROUTE_EXPIRED)
            envelope->kind =
                kind_of(table, kind_of(table, MIG_ROUTE_NODE) == MIG_KIND_COUNT ? MIG_ROUTE_CHAIN
                                                                                : MIG_ROUTE_NODE);
        if (route == MIG_ROUTE_REJECTED)
            envelope->reason = MIG_REASON_DATA_EMPTY;
        if (route == MIG_ROUTE_NODE || route == MIG_ROUTE_CHAIN)
            build_layers(envelope, &part->arena);
        mig_tally_envelope(&part->tally, envelope);
    }
    return part;
}

struct mig_part *sample_part(enum mig_stage stage, size_t place)
{
    static const struct {
        enum mig_table table;
        int64_t first_id, last_id;
        bool settled;
    } parts[SAMPLE_PARTS] = {
        {MIG_TABLE_GROUP_MESSAGES, 1, 60, true},
        {MIG_TABLE_WELCOME_MESSAGES, 1, 17, true},
        {MIG_TABLE_KEY_PACKAGES, 1, 0, true},
        {MIG_TABLE_INBOX_LOG, INT64_MAX - 20, INT64_MAX, true},
        {MIG_TABLE_GROUP_MESSAGES, 61, INT64_MAX - 1, false},
    };
    const int64_t end = place == SAMPLE_PARTS - 1 ? 99 : parts[place].last_id;
    struct mig_part *part;

    /* Stepping by 3 up to INT64_MAX would overflow. */
    part = (stage == MIG_STAGE_ROWS ? sample_rows : sample_envelopes)(
        parts[place].table, parts[place].first_id, end == INT64_MAX ? INT64_MAX - 3 : end);
    part->last_id = parts[place].last_id;
    part->settled = parts[place].settled;
    return part;
}

int sample_write(const char *path, enum mig_stage stage, struct mig_error *err)
{
    mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
    mig_cleanup(mig_blockers_release) struct mig_blockers blockers = {0};
    const struct mig_bundle_facts facts = sample_facts(stage);
    int result = mig_bundle_create(path, &facts, &writer, err);

    for (size_t i = 0; result == MIG_OK && i < SAMPLE_PARTS; i++) {
        mig_cleanup(mig_part_free) struct mig_part *part = sample_part(stage, i);

        result = mig_bundle_add(writer, part, err);
    }
    if (result != MIG_OK)
        return result;
    cr_assert_eq(mig_blockers_add(&blockers, "installation 0a", "has no package", "wait\n", NULL),
                 MIG_OK);
    cr_assert_eq(mig_blockers_add(&blockers, "commit 17", "is \"large\"", "/", NULL), MIG_OK);
    return mig_bundle_commit(writer, &blockers, err);
}

/* ---- comparing ---------------------------------------------------------------------------- */

static void assert_same_row(const struct mig_row *row, const struct mig_row *expected)
{
    const struct mig_table_info *info = mig_table_info(expected->table);

    cr_assert_eq(row->table, expected->table);
    cr_assert_eq(row->id, expected->id);
    for (size_t i = 0; i < info->column_count; i++) {
        cr_assert_eq(row->values[i].is_null, expected->values[i].is_null);
        if (row->values[i].is_null)
            continue;
        if (info->columns[i].type == MIG_COLUMN_BYTES)
            cr_assert(mig_bytes_equal(row->values[i].bytes, expected->values[i].bytes));
        else
            cr_assert_eq(row->values[i].number, expected->values[i].number);
    }
}

static void assert_same_envelope(const struct mig_envelope *envelope,
                                 const struct mig_envelope *expected)
{
    assert_same_row(envelope->row, expected->row);
    cr_assert_eq(envelope->kind, expected->kind);
    cr_assert_eq(envelope->route, expected->route);
    cr_assert_eq(envelope->reason, expected->reason);
    cr_assert_eq(envelope->findings, expected->findings);
    cr_assert_eq(envelope->sequence_id, expected->sequence_id);
    if (expected->route == MIG_ROUTE_REJECTED)
        return;
    cr_assert(mig_bytes_equal(envelope->topic, expected->topic));
    if (expected->route == MIG_ROUTE_CHAIN) {
        cr_assert(mig_bytes_equal(envelope->client_envelope, expected->client_envelope));
        return;
    }
    cr_assert_eq(envelope->client_envelope.size + envelope->payer_envelope.size, 0);
    cr_assert(mig_bytes_equal(envelope->originator_envelope, expected->originator_envelope));
    cr_assert_eq(envelope->gateway_time_us, expected->gateway_time_us);
}

/* Whether a row of the sample is in the file: all are, or those for nodes, or those for the chain.
 */
static bool belongs(const struct mig_part *expected, size_t i, bool chain)
{
    if (!expected->envelopes)
        return true;
    return expected->envelopes[i].route != MIG_ROUTE_EXPIRED &&
           (expected->envelopes[i].route == MIG_ROUTE_CHAIN) == chain;
}

static void assert_same_part(const struct mig_part *part, const struct mig_bundle_entry *entry,
                             const struct mig_part *expected)
{
    size_t place = 0;

    cr_assert_eq(part->table, expected->table);
    cr_assert_eq(part->first_id, expected->first_id);
    cr_assert_eq(part->last_id, expected->last_id);
    cr_assert_eq(part->settled, expected->settled);
    cr_assert_eq(entry->rows, part->row_count);
    if (!entry->chain)
        cr_assert_eq(memcmp(&part->tally, &expected->tally, sizeof part->tally), 0);
    for (size_t i = 0; i < expected->row_count; i++) {
        if (!belongs(expected, i, entry->chain))
            continue;
        cr_assert_lt(place, part->row_count);
        assert_same_row(&part->rows[place], &expected->rows[i]);
        if (expected->envelopes) {
            cr_assert_eq(part->envelopes[place].row, &part->rows[place]);
            assert_same_envelope(&part->envelopes[place], &expected->envelopes[i]);
        }
        place++;
    }
    cr_assert_eq(place, part->row_count);
}

static void assert_end(const struct mig_bundle_reader *reader, size_t files)
{
    const struct mig_blockers *blockers = mig_bundle_blockers(reader);
    size_t count;

    mig_bundle_entries(reader, &count);
    cr_assert_eq(count, files);
    cr_assert_eq(blockers->count, 2);
    cr_assert_str_eq(blockers->items[0].remedy, "wait\n");
    cr_assert_str_eq(blockers->items[1].what, "is \"large\"");
}

static int read_parts(struct mig_bundle_reader *reader, enum mig_stage stage, struct mig_error *err)
{
    size_t files = 0, place = 0;

    for (;; files++) {
        mig_cleanup(mig_part_free) struct mig_part *part = NULL;
        mig_cleanup(mig_part_free) struct mig_part *expected = NULL;
        const struct mig_bundle_entry *entry;
        int result = mig_bundle_next(reader, &part, &entry, err);

        if (result != MIG_OK) {
            cr_assert_null(part);
            cr_assert_eq(mig_bundle_next(reader, &part, &entry, NULL), MIG_E_CORRUPT,
                         "after a refusal there is nothing more to be had");
            return result;
        }
        if (!part)
            break;
        place += !entry->chain;
        cr_assert_leq(place, SAMPLE_PARTS);
        expected = sample_part(stage, place - 1);
        assert_same_part(part, entry, expected);
    }
    cr_assert_eq(place, SAMPLE_PARTS);
    assert_end(reader, files);
    return MIG_OK;
}

int sample_read(const char *path, bool trust_later, enum mig_stage stage, struct mig_error *err)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    const struct mig_bundle_facts facts = sample_facts(stage);
    int result = mig_bundle_open(path, trust_later, &reader, err);

    if (result != MIG_OK) {
        cr_assert_null(reader);
        return result;
    }
    cr_assert_null(bundle_find_difference(bundle_facts_members, mig_bundle_facts(reader), &facts));
    return read_parts(reader, stage, err);
}

/* ---- files -------------------------------------------------------------------------------- */

struct mig_buffer sample_file(const char *path)
{
    struct mig_buffer file = MIG_BUFFER_INIT((size_t) 1 << 30);

    cr_assert_eq(mig_file_read(path, file.limit, &file.data, &file.size, NULL, NULL), MIG_OK, "%s",
                 path);
    file.capacity = file.size;
    return file;
}

void sample_put_file(const char *path, struct mig_bytes bytes)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    cr_assert_eq(fclose(file), 0);
}

void sample_input(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    close(fd);
}

Test(sample, has_rows_of_every_route_and_an_empty_part)
{
    struct mig_tally total = {0};
    struct mig_kind_tally all = {0};

    for (size_t i = 0; i < SAMPLE_PARTS; i++) {
        mig_cleanup(mig_part_free) struct mig_part *part = sample_part(MIG_STAGE_ENVELOPES, i);

        mig_tally_add(&total, &part->tally);
    }
    for (size_t kind = 0; kind < MIG_KIND_COUNT; kind++) {
        all.for_nodes += total.kinds[kind].for_nodes;
        all.for_chain += total.kinds[kind].for_chain;
        all.expired += total.kinds[kind].expired;
        all.rejected += total.kinds[kind].rejected;
    }
    cr_assert(all.for_nodes && all.for_chain && all.expired && all.rejected);
    cr_assert_eq(total.kinds[MIG_KIND_KEY_PACKAGES].counted, 0);
}
