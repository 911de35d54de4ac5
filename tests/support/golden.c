/* Reads tests/golden/PROFILE.json. Rows are filled in by the table of columns that the library goes
 * by: a vector may leave out what is NULL, nothing else. */
#include "golden.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

struct json_object *golden_member(struct json_object *object, const char *name)
{
    struct json_object *member = NULL;

    cr_assert(json_object_object_get_ex(object, name, &member), "no member '%s' in %s", name,
              json_object_to_json_string(object));
    return member;
}

int64_t golden_number(struct json_object *object, const char *name)
{
    struct json_object *member = golden_member(object, name);

    cr_assert(json_object_is_type(member, json_type_int), "%s is no whole number", name);
    return json_object_get_int64(member);
}

const char *golden_text(struct json_object *object, const char *name)
{
    struct json_object *member = golden_member(object, name);

    cr_assert(json_object_is_type(member, json_type_string), "%s is no text", name);
    return json_object_get_string(member);
}

struct mig_bytes golden_bytes(struct golden *golden, struct json_object *object, const char *name)
{
    struct json_object *member = golden_member(object, name);
    const size_t length = (size_t) json_object_get_string_len(member);
    size_t size;
    void *bytes;

    cr_assert_eq(mig_arena_alloc(&golden->arena, length / 2 + 1, &bytes, NULL), MIG_OK);
    cr_assert_eq(mig_hex_decode(golden_text(object, name), length, bytes, length / 2, &size, NULL),
                 MIG_OK, "%s is no hex", name);
    return (struct mig_bytes){bytes, size};
}

struct golden golden_load(const char *profile)
{
    struct golden golden = {.arena = MIG_ARENA_INIT};
    char path[1024];

    snprintf(path, sizeof path, "%s/%s.json", GOLDEN_FOLDER, profile);
    golden.document = json_object_from_file(path);
    cr_assert_not_null(golden.document, "cannot read %s", path);
    golden.context = golden_member(golden.document, "context");
    golden.count = json_object_array_length(golden_member(golden.document, "vectors"));
    cr_assert_gt(golden.count, 100, "%s has only %zu vectors", path, golden.count);
    return golden;
}

void golden_release(struct golden *golden)
{
    json_object_put(golden->document);
    mig_arena_release(&golden->arena);
    *golden = (struct golden){.arena = MIG_ARENA_INIT};
}

static int64_t read_number(struct json_object *row, const struct mig_column *column)
{
    int64_t ns;

    if (column->type == MIG_COLUMN_BOOL)
        return json_object_get_boolean(golden_member(row, column->member));
    if (column->type != MIG_COLUMN_TIMESTAMP)
        return golden_number(row, column->member);
    cr_assert_eq(mig_time_parse(golden_text(row, column->member), &ns, NULL), MIG_OK);
    cr_assert_eq(ns % 1000, 0);
    return ns / 1000 - MIG_PG_EPOCH_US;
}

static void read_row(struct golden *golden, struct json_object *object, struct mig_row *row)
{
    const char *table = golden_text(object, "table");
    const struct mig_table_info *info;
    int place = 0;

    while (place < MIG_TABLE_COUNT && strcmp(mig_table_info((enum mig_table) place)->name, table))
        place++;
    cr_assert_lt(place, MIG_TABLE_COUNT, "no table '%s'", table);
    info = mig_table_info((enum mig_table) place);
    *row = (struct mig_row){.table = (enum mig_table) place, .id = golden_number(object, "id")};
    for (size_t i = 0; i < info->column_count; i++) {
        const struct mig_column *column = &info->columns[i];
        struct mig_value *value = &row->values[i];
        struct json_object *member = NULL;

        json_object_object_get_ex(object, column->member, &member);
        value->is_null = member == NULL;
        cr_assert(!value->is_null || column->nullable, "%s without %s", table, column->member);
        if (!value->is_null && column->type == MIG_COLUMN_BYTES)
            value->bytes = golden_bytes(golden, object, column->member);
        else if (!value->is_null)
            value->number = read_number(object, column);
    }
}

struct golden_vector golden_vector(struct golden *golden, size_t place)
{
    struct json_object *vectors = golden_member(golden->document, "vectors");
    struct json_object *object = json_object_array_get_idx(vectors, place);
    struct golden_vector vector = {.name = golden_text(object, "name"),
                                   .expect = golden_member(object, "expect")};

    read_row(golden, golden_member(object, "row"), &vector.row);
    return vector;
}
