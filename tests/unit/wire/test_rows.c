/* Rows as records and as JSON. All of it walks the table of columns: a column added there that the
 * record has no place for fails here. */
#include "hostile.h"
#include "libmigrate/wire/wire.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>

/* A row whose values all differ, so that two swapped ones show. */
static struct mig_row make_row(enum mig_table table, uint8_t bytes[MIG_COLUMNS_MAX][9])
{
    const struct mig_table_info *info = mig_table_info(table);
    struct mig_row row = {.table = table, .id = -9007199254740993};

    for (size_t i = 0; i < info->column_count; i++) {
        struct mig_value *value = &row.values[i];

        memset(bytes[i], (int) (0xa0 + i), 9);
        bytes[i][0] = 0;
        switch (info->columns[i].type) {
        case MIG_COLUMN_BYTES:
            value->bytes = (struct mig_bytes){bytes[i], i + 1};
            break;
        case MIG_COLUMN_BOOL:
            value->number = true;
            break;
        case MIG_COLUMN_INT16:
            value->number = -32768 + (int) i;
            break;
        case MIG_COLUMN_INT64:
        case MIG_COLUMN_TIMESTAMP:
            value->number = INT64_C(-1234567890123456789) + (int) i;
            break;
        }
    }
    return row;
}

static int decode_encoded(const struct mig_row *row, struct mig_arena *arena,
                          struct mig_row *ret_row, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer record = MIG_BUFFER_INIT(1 << 20);

    cr_assert_eq(mig_row_encode(row, &record, NULL), MIG_OK);
    return mig_row_decode(mig_buffer_bytes(&record), arena, ret_row, err);
}

static void expect_same(const struct mig_row *row, const struct mig_row *expected)
{
    const struct mig_table_info *info = mig_table_info(expected->table);

    cr_expect_eq(row->table, expected->table);
    cr_expect_eq(row->id, expected->id);
    for (size_t i = 0; i < info->column_count; i++) {
        const struct mig_value *value = &row->values[i], *wanted = &expected->values[i];
        const char *column = info->columns[i].name;

        cr_expect_eq(value->is_null, wanted->is_null, "%s.%s", info->name, column);
        if (wanted->is_null)
            continue;
        if (info->columns[i].type == MIG_COLUMN_BYTES)
            cr_expect(mig_bytes_equal(value->bytes, wanted->bytes), "%s.%s", info->name, column);
        else
            cr_expect_eq(value->number, wanted->number, "%s.%s", info->name, column);
    }
}

static void expect_round_trip(const struct mig_row *row)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    struct mig_error err = MIG_ERROR_INIT;
    struct mig_row back;

    cr_assert_eq(decode_encoded(row, &arena, &back, &err), MIG_OK, "%s", err.message);
    expect_same(&back, row);
}

Test(rows, survive_the_record_with_every_column_and_every_null)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct mig_table_info *info = mig_table_info((enum mig_table) table);
        uint8_t bytes[MIG_COLUMNS_MAX][9];
        const struct mig_row full = make_row((enum mig_table) table, bytes);
        struct mig_row bare = full;

        cr_assert_leq(info->column_count, MIG_COLUMNS_MAX);
        expect_round_trip(&full);
        for (size_t i = 0; i < info->column_count; i++) {
            struct mig_row row = full;

            bare.values[i].is_null = row.values[i].is_null = info->columns[i].nullable;
            expect_round_trip(&row);
        }
        expect_round_trip(&bare);
    }
}

Test(rows, survive_the_record_at_the_ends_of_every_type)
{
    static const int64_t ends[][2] = {
        [MIG_COLUMN_BOOL] = {false, true},
        [MIG_COLUMN_INT16] = {INT16_MIN, INT16_MAX},
        [MIG_COLUMN_INT64] = {INT64_MIN, INT64_MAX},
        [MIG_COLUMN_TIMESTAMP] = {INT64_MIN, INT64_MAX},
    };
    static const int64_t ids[] = {INT64_MIN, -1, 0, INT64_MAX};

    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct mig_table_info *info = mig_table_info((enum mig_table) table);
        uint8_t bytes[MIG_COLUMNS_MAX][9];
        struct mig_row row = make_row((enum mig_table) table, bytes);

        for (size_t end = 0; end < 2; end++) {
            for (size_t i = 0; i < info->column_count; i++)
                if (info->columns[i].type != MIG_COLUMN_BYTES)
                    row.values[i].number = ends[info->columns[i].type][end];
                else
                    row.values[i].bytes = (struct mig_bytes){bytes[i], end ? 9 : 0};
            expect_round_trip(&row);
        }
        for (size_t i = 0; i < mig_count_of(ids); i++) {
            row.id = ids[i];
            expect_round_trip(&row);
        }
    }
}

Test(rows, are_refused_without_a_value_that_cannot_be_null)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct mig_table_info *info = mig_table_info((enum mig_table) table);
        uint8_t bytes[MIG_COLUMNS_MAX][9];
        const struct mig_row full = make_row((enum mig_table) table, bytes);

        for (size_t i = 0; i < info->column_count; i++) {
            mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
            struct mig_error err = MIG_ERROR_INIT;
            struct mig_row row = full, back = {.id = 77};

            if (info->columns[i].nullable)
                continue;
            row.values[i].is_null = true;
            cr_expect_eq(decode_encoded(&row, &arena, &back, &err), MIG_E_CORRUPT);
            cr_expect(strstr(err.message, info->columns[i].member), "%s", err.message);
            cr_expect_eq(back.id, 77, "an output is untouched on failure");
        }
    }
}

Test(rows, are_refused_with_a_number_that_the_column_cannot_hold)
{
    uint8_t bytes[MIG_COLUMNS_MAX][9];
    static const int64_t beyond[] = {INT16_MIN - 1, INT16_MAX + 1, INT64_MAX};

    for (size_t i = 0; i < mig_count_of(beyond); i++) {
        mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
        struct mig_row row = make_row(MIG_TABLE_WELCOME_MESSAGES, bytes), back;

        row.values[MIG_WM_WRAPPER_ALGORITHM].number = beyond[i];
        cr_expect_eq(decode_encoded(&row, &arena, &back, NULL), MIG_E_CORRUPT);
    }
}

Test(rows, are_refused_of_no_table_or_without_id)
{
    static const struct {
        const char *record;
        size_t size;
    } cases[] = {
        {"", 0},
        {"\x10\x02", 2},                                  /* an id alone */
        {"\x0a\x07nothing\x10\x02", 11},                  /* another table */
        {"\x0a\x0einbox_log\0more\x10\x02", 18},          /* a NUL in the name */
        {"\x0a\x09inbox_log", 11},                        /* no id */
        {"\x0a\x09inbox_log\x10", 12},                    /* half an id */
        {"\x0a\x7finbox_log\x10\x02", 13},                /* a length beyond the end */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10}, /* and far beyond it */
        {"\x0c", 1},
    };

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
        const struct mig_bytes record = {(const uint8_t *) cases[i].record, cases[i].size};
        struct mig_row back;

        cr_expect_eq(mig_row_decode(record, &arena, &back, NULL), MIG_E_CORRUPT, "case %zu", i);
    }
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static struct json_object *print_row(const struct mig_row *row)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(1 << 20);
    struct json_object *object;

    cr_assert_eq(mig_row_print_json(row, &text, NULL), MIG_OK);
    cr_assert_eq(mig_buffer_append(&text, "", 1, NULL), MIG_OK);
    object = json_tokener_parse((const char *) text.data);
    cr_assert_not_null(object, "%s", text.data);
    return object;
}

static void expect_printed(const struct mig_row *row, struct json_object *object, size_t i)
{
    const struct mig_column *column = &mig_table_info(row->table)->columns[i];
    const struct mig_value *value = &row->values[i];
    struct json_object *member = NULL;
    char hex[20];

    cr_assert(json_object_object_get_ex(object, column->member, &member), "%s", column->member);
    if (value->is_null) {
        cr_expect_null(member, "%s", column->member);
    } else if (column->type == MIG_COLUMN_BYTES) {
        mig_hex_encode(value->bytes, hex);
        cr_expect_str_eq(json_object_get_string(member), hex);
    } else if (column->type == MIG_COLUMN_BOOL) {
        cr_expect(json_object_is_type(member, json_type_boolean));
        cr_expect_eq(json_object_get_boolean(member), value->number != 0);
    } else if (column->type != MIG_COLUMN_TIMESTAMP) {
        cr_expect(json_object_is_type(member, json_type_int));
        cr_expect_eq(json_object_get_int64(member), value->number);
    }
}

Test(rows, are_printed_as_json_with_every_column)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct mig_table_info *info = mig_table_info((enum mig_table) table);
        uint8_t bytes[MIG_COLUMNS_MAX][9];
        struct mig_row row = make_row((enum mig_table) table, bytes);

        for (int nulls = 0; nulls < 2; nulls++) {
            struct json_object *object;

            for (size_t i = 0; i < info->column_count; i++)
                row.values[i].is_null = nulls && info->columns[i].nullable;
            object = print_row(&row);
            cr_expect_eq(json_object_object_length(object), (int) info->column_count + 2);
            cr_expect_str_eq(json_object_get_string(json_object_object_get(object, "table")),
                             info->name);
            cr_expect_eq(json_object_get_int64(json_object_object_get(object, "id")), row.id);
            for (size_t i = 0; i < info->column_count; i++)
                expect_printed(&row, object, i);
            json_object_put(object);
        }
    }
}

Test(rows, print_every_timestamp_that_postgresql_can_hold)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "2000-01-01T00:00:00.000000Z"},
        {-1, "1999-12-31T23:59:59.999999Z"},
        {INT64_MIN, "-infinity"},
        {INT64_MAX, "infinity"},
        {INT64_C(-211813488000000000), "-4713-11-24T00:00:00.000000Z"}, /* 4714-11-24 BC */
        {INT64_C(9223371331199999999), "+294276-12-31T23:59:59.999999Z"},
        {-MIG_PG_EPOCH_US, "1970-01-01T00:00:00.000000Z"},
    };
    uint8_t bytes[MIG_COLUMNS_MAX][9];

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        struct mig_row row = make_row(MIG_TABLE_WELCOME_MESSAGES, bytes);
        struct json_object *object;

        row.values[MIG_WM_CREATED_AT].number = cases[i].us;
        object = print_row(&row);
        cr_expect_str_eq(json_object_get_string(json_object_object_get(object, "created_at")),
                         cases[i].text);
        json_object_put(object);
    }
}

Test(rows, print_no_further_than_the_buffer_may_grow)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer text = MIG_BUFFER_INIT(100);
    uint8_t bytes[MIG_COLUMNS_MAX][9];
    const struct mig_row row = make_row(MIG_TABLE_WELCOME_MESSAGES, bytes);

    cr_expect_eq(mig_row_print_json(&row, &text, NULL), MIG_E_NOMEM);
    cr_expect_eq(mig_row_encode(&row, &text, NULL), MIG_E_NOMEM);
}

/* ---- time ----------------------------------------------------------------------------------- */

Test(rows, say_when_they_were_made_where_64_bits_can)
{
    static const struct {
        int64_t us;
        bool fits;
        int64_t ns;
    } cases[] = {
        {0, true, MIG_PG_EPOCH_US * 1000},
        {-MIG_PG_EPOCH_US, true, 0},
        {-MIG_PG_EPOCH_US - 1, true, -1000},
        {INT64_MAX, false, 0},
        {INT64_MIN, false, 0},
        {INT64_MAX / 1000, false, 0},
        {(INT64_MAX - MIG_PG_EPOCH_US * 1000) / 1000, true,
         (INT64_MAX - MIG_PG_EPOCH_US * 1000) / 1000 * 1000 + MIG_PG_EPOCH_US * 1000},
        {(INT64_MAX - MIG_PG_EPOCH_US * 1000) / 1000 + 1, false, 0},
        {INT64_MIN / 1000, true, INT64_MIN / 1000 * 1000 + MIG_PG_EPOCH_US * 1000},
        {INT64_MIN / 1000 - 1, false, 0},
    };
    uint8_t bytes[MIG_COLUMNS_MAX][9];
    struct mig_row row = make_row(MIG_TABLE_GROUP_MESSAGES, bytes);
    int64_t ns;

    for (size_t i = 0; i < mig_count_of(cases); i++) {
        row.values[MIG_GM_CREATED_AT].number = cases[i].us;
        cr_expect_eq(mig_row_created_ns(&row, &ns), cases[i].fits, "case %zu", i);
        if (cases[i].fits)
            cr_expect_eq(ns, cases[i].ns, "case %zu", i);
    }
    row = make_row(MIG_TABLE_INBOX_LOG, bytes);
    row.values[MIG_IL_CREATED_NS].number = INT64_MIN;
    cr_expect(mig_row_created_ns(&row, &ns));
    cr_expect_eq(ns, INT64_MIN);
}

/* ---- names ---------------------------------------------------------------------------------- */

Test(names, of_kinds_reasons_and_findings_are_their_own_way_back)
{
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++) {
        enum mig_kind back = MIG_KIND_COUNT;

        cr_expect_eq(mig_kind_parse(mig_kind_info((enum mig_kind) kind)->name, &back, NULL),
                     MIG_OK);
        cr_expect_eq(back, (enum mig_kind) kind);
    }
    for (int reason = 1; reason < MIG_REASON_COUNT; reason++) {
        const struct mig_reason_info *info = mig_reason_info((enum mig_reason) reason);

        cr_expect_eq(mig_reason_parse(info->name), (enum mig_reason) reason);
        cr_expect_gt(strlen(info->remedy), 0, "%s", info->name);
    }
    cr_expect_eq(mig_reason_parse("nothing"), MIG_REASON_NONE);
    cr_expect_eq(mig_reason_parse(""), MIG_REASON_NONE);
    for (int finding = 0; finding < MIG_FINDING_COUNT; finding++)
        cr_expect_gt(strlen(mig_finding_name((enum mig_finding) finding)), 0);
}

Test(names, an_unknown_kind_is_refused_with_a_list_of_all)
{
    struct mig_error err = MIG_ERROR_INIT;
    enum mig_kind kind = MIG_KIND_COUNT;

    cr_expect_eq(mig_kind_parse("group_message", &kind, &err), MIG_E_USAGE);
    cr_expect_eq(kind, MIG_KIND_COUNT);
    for (int known = 0; known < MIG_KIND_COUNT; known++)
        cr_expect(strstr(err.hint, mig_kind_info((enum mig_kind) known)->name), "%s", err.hint);
}

Test(tables, send_one_kind_each_to_nodes_but_the_inbox_log)
{
    cr_expect_eq(mig_node_kind(MIG_TABLE_GROUP_MESSAGES), MIG_KIND_GROUP_MESSAGES);
    cr_expect_eq(mig_node_kind(MIG_TABLE_WELCOME_MESSAGES), MIG_KIND_WELCOME_MESSAGES);
    cr_expect_eq(mig_node_kind(MIG_TABLE_KEY_PACKAGES), MIG_KIND_KEY_PACKAGES);
    cr_expect_eq(mig_node_kind(MIG_TABLE_INBOX_LOG), MIG_KIND_COUNT);
}

Test(tables, are_found_by_their_names_and_by_no_other)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        enum mig_table found = MIG_TABLE_COUNT;

        cr_expect(mig_table_find(mig_table_info((enum mig_table) table)->name, &found));
        cr_expect_eq(found, (enum mig_table) table);
    }
    cr_expect(!mig_table_find("installations", &(enum mig_table){0}));
    cr_expect(!mig_table_find(NULL, &(enum mig_table){0}));
}
