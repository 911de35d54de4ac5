/* What the tests of transform share. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define BYTES(literal) ((struct mig_bytes){(const uint8_t *) (literal), sizeof(literal) - 1})
#define MLS_HEAD "\0\1\0\2\20ABCDEFGHIJKLMNOP\0\0\0\0\0\0\0\0"
#define ID_32 "0123456789abcdef0123456789abcdef"

static void print_rates(struct mig_buffer *text, struct json_object *rates)
{
    for (size_t i = 0; i < json_object_array_length(rates); i++) {
        struct json_object *rate = json_object_array_get_idx(rates, i);
        char start[MIG_TIME_TEXT_SIZE];

        mig_time_format(golden_number(rate, "start_ns"), start);
        cr_assert_eq(mig_buffer_print(text, NULL,
                                      "%s{\"start\":\"%s\",\"message_fee\":%lld,"
                                      "\"storage_fee\":%lld}",
                                      i == 0 ? "" : ",", start,
                                      (long long) golden_number(rate, "message_fee"),
                                      (long long) golden_number(rate, "storage_fee")),
                     MIG_OK);
    }
}

static struct mig_manifest *parse_manifest(struct json_object *context, const char *profile,
                                           long long days, const char *expired)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(1 << 16);
    struct mig_manifest *manifest = NULL;
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_buffer_print(
                     &text, NULL,
                     "{\"schema\":\"xmtp-migrate/manifest/1\",\"network\":\"local\","
                     "\"source\":{\"dsn\":\"host=nowhere\"},"
                     "\"nodes\":[{\"name\":\"alpha\",\"node_id\":100,\"dsn\":\"host=nowhere\"}],"
                     "\"keys\":{\"payer\":\"env:P\",\"originator\":\"env:O\"},"
                     "\"policy\":{\"profile\":\"%s\",\"expired\":\"%s\",\"retention_days\":"
                     "{\"group_messages\":%lld,\"welcome_messages\":%lld,\"key_packages\":%lld},"
                     "\"allow_shorter_than_source\":[\"welcome_messages\",\"key_packages\"]},"
                     "\"rates\":[",
                     profile, expired, days, days, days),
                 MIG_OK);
    print_rates(&text, golden_member(context, "rates"));
    cr_assert_eq(mig_buffer_print(&text, NULL, "]}"), MIG_OK);
    cr_assert_eq(mig_manifest_parse(mig_buffer_bytes(&text), "m.json", &manifest, NULL, &err),
                 MIG_OK, "%s", err.message);
    return manifest;
}

static struct mig_signer *open_signer(struct json_object *context, const char *name)
{
    const char *key = golden_text(context, name);
    struct mig_signer *signer = NULL;

    cr_assert_eq(mig_signer_open(key, strlen(key), &signer, NULL), MIG_OK);
    return signer;
}

struct fixture fixture_load(struct golden *golden, const char *profile)
{
    struct json_object *context = golden->context;

    return (struct fixture){
        .manifest =
            parse_manifest(context, profile, golden_number(context, "retention_days"), "keep"),
        .payer = open_signer(context, "payer_key"),
        .originator = open_signer(context, "node_key"),
        .arena = MIG_ARENA_INIT,
    };
}

struct fixture fixture_plain(void)
{
    struct json_object *context = json_tokener_parse(
        "{\"rates\":[{\"start_ns\":1735689600000000000,\"message_fee\":90,\"storage_fee\":150},"
        "{\"start_ns\":1756684800000000000,\"message_fee\":100,\"storage_fee\":200}]}");
    struct fixture fixture = {.arena = MIG_ARENA_INIT};

    cr_assert_not_null(context);
    fixture.manifest = parse_manifest(context, "correct", 60, "drop");
    json_object_put(context);
    return fixture;
}

void fixture_open(struct fixture *fixture, int64_t as_of_ns)
{
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_transform_open(fixture->manifest, as_of_ns, fixture->payer,
                                    fixture->originator, &fixture->transform, &err),
                 MIG_OK, "%s", err.message);
}

void fixture_release(struct fixture *fixture)
{
    mig_transform_free(&fixture->transform);
    mig_signer_free(&fixture->payer);
    mig_signer_free(&fixture->originator);
    mig_manifest_free(&fixture->manifest);
    mig_arena_release(&fixture->arena);
}

struct mig_envelope fixture_transform(struct fixture *fixture, const struct mig_row *row)
{
    struct mig_envelope envelope;
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_transform_row(fixture->transform, row, &fixture->arena, &envelope, &err),
                 MIG_OK, "%s", err.message);
    cr_assert_eq(envelope.row, row);
    return envelope;
}

struct mig_row fixture_row(enum mig_table table)
{
    const struct mig_table_info *info = mig_table_info(table);
    const int64_t created_ns = FIXTURE_AS_OF - 3600 * MIG_NS_PER_SECOND;
    struct mig_row row = {.table = table, .id = 7};
    struct mig_value *values = row.values;

    for (size_t i = 0; i < info->column_count; i++)
        values[i].is_null = info->columns[i].nullable;
    values[info->created_column].number =
        info->columns[info->created_column].type == MIG_COLUMN_TIMESTAMP
            ? created_ns / 1000 - MIG_PG_EPOCH_US
            : created_ns;
    switch (table) {
    case MIG_TABLE_GROUP_MESSAGES:
        values[MIG_GM_GROUP_ID].bytes = BYTES("ABCDEFGHIJKLMNOP");
        values[MIG_GM_DATA].bytes = BYTES(MLS_HEAD "\1 and what follows");
        values[MIG_GM_IS_COMMIT] = (struct mig_value){.number = false};
        break;
    case MIG_TABLE_WELCOME_MESSAGES:
        values[MIG_WM_INSTALLATION_KEY].bytes = BYTES(ID_32);
        values[MIG_WM_DATA].bytes = BYTES("a welcome");
        values[MIG_WM_WRAPPER_ALGORITHM].number = 1;
        break;
    case MIG_TABLE_KEY_PACKAGES:
        values[MIG_KP_INSTALLATION_ID].bytes = BYTES(ID_32);
        values[MIG_KP_KEY_PACKAGE].bytes = BYTES("a key package");
        break;
    case MIG_TABLE_INBOX_LOG:
        values[MIG_IL_INBOX_ID].bytes = BYTES(ID_32);
        values[MIG_IL_UPDATE].bytes = BYTES("\x10\x05\x1a\x02hi");
        break;
    case MIG_TABLE_COUNT:
        break;
    }
    return row;
}

struct mig_row fixture_commit(struct fixture *fixture, size_t size)
{
    static const char head[] = MLS_HEAD "\3";
    struct mig_row row = fixture_row(MIG_TABLE_GROUP_MESSAGES);
    void *data;

    cr_assert_geq(size, sizeof head - 1);
    cr_assert_eq(mig_arena_alloc(&fixture->arena, size, &data, NULL), MIG_OK);
    memset(data, 'x', size);
    memcpy(data, head, sizeof head - 1);
    row.values[MIG_GM_DATA].bytes = (struct mig_bytes){data, size};
    row.values[MIG_GM_IS_COMMIT].number = true;
    return row;
}

Test(fixture, has_a_good_row_of_every_table)
{
    mig_cleanup(fixture_release) struct fixture fixture = fixture_plain();

    fixture_open(&fixture, FIXTURE_AS_OF);
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct mig_row row = fixture_row((enum mig_table) table);
        const struct mig_envelope envelope = fixture_transform(&fixture, &row);

        cr_expect_eq(envelope.reason, MIG_REASON_NONE, "table %d", table);
        cr_expect_eq(envelope.route, mig_kind_info(envelope.kind)->route, "table %d", table);
    }
}
