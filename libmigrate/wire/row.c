/* A V3 row as a protobuf record and as JSON: each column's place in the record is a table row. */
#include "libmigrate/wire/wire_private.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

/* Where a member of a record keeps its presence and its value. */
struct place {
    const char *member;
    size_t has, value;
};

#define PLACE(member)                                                                              \
    {                                                                                              \
#member, offsetof(XmtpMigrate__SourceRow, has_##member),                                   \
            offsetof(XmtpMigrate__SourceRow, member)                                               \
    }

static const struct place places[] = {
    PLACE(created_at),
    PLACE(created_ns),
    PLACE(group_id),
    PLACE(data),
    PLACE(group_id_data_hash),
    PLACE(is_commit),
    PLACE(sender_hmac),
    PLACE(should_push),
    PLACE(installation_key),
    PLACE(hpke_public_key),
    PLACE(installation_key_data_hash),
    PLACE(wrapper_algorithm),
    PLACE(welcome_metadata),
    PLACE(message_type),
    PLACE(installation_id),
    PLACE(key_package),
    PLACE(current_since_ns),
    PLACE(rival_created_ns),
    PLACE(inbox_id),
    PLACE(identity_update_proto),
};

/* Looked up once: comparing names for every value took a tenth of reading a bundle. */
static const struct place *places_of[MIG_TABLE_COUNT][MIG_COLUMNS_MAX];
static pthread_once_t places_found = PTHREAD_ONCE_INIT;

/* The record has a place for every column: a test walks all tables. */
static void find_places(void)
{
    for (int table = 0; table < MIG_TABLE_COUNT; table++) {
        const struct mig_table_info *info = mig_table_info((enum mig_table) table);

        for (size_t column = 0; column < info->column_count; column++)
            for (size_t i = 0; i < mig_count_of(places); i++)
                if (strcmp(places[i].member, info->columns[column].member) == 0)
                    places_of[table][column] = &places[i];
    }
}

static void put_value(XmtpMigrate__SourceRow *message, const struct mig_column *column,
                      const struct place *place, const struct mig_value *value)
{
    uint8_t *base = (uint8_t *) message;

    if (value->is_null)
        return;
    *(protobuf_c_boolean *) (base + place->has) = 1;
    if (column->type == MIG_COLUMN_BYTES)
        *(ProtobufCBinaryData *) (base + place->value) = wire_binary(value->bytes);
    else if (column->type == MIG_COLUMN_BOOL)
        *(protobuf_c_boolean *) (base + place->value) = value->number != 0;
    else
        *(int64_t *) (base + place->value) = value->number;
}

static void take_value(const XmtpMigrate__SourceRow *message, const struct mig_column *column,
                       const struct place *place, struct mig_value *ret_value)
{
    const uint8_t *base = (const uint8_t *) message;

    ret_value->is_null = !*(const protobuf_c_boolean *) (base + place->has);
    if (column->type == MIG_COLUMN_BYTES)
        ret_value->bytes = wire_bytes(*(const ProtobufCBinaryData *) (base + place->value));
    else if (column->type == MIG_COLUMN_BOOL)
        ret_value->number = *(const protobuf_c_boolean *) (base + place->value) != 0;
    else
        ret_value->number = *(const int64_t *) (base + place->value);
}

void wire_row_to_message(const struct mig_row *row, XmtpMigrate__SourceRow *ret_message)
{
    const struct mig_table_info *info = mig_table_info(row->table);

    pthread_once(&places_found, find_places);
    xmtp_migrate__source_row__init(ret_message);
    ret_message->table = (char *) (uintptr_t) info->name;
    ret_message->has_id = 1;
    ret_message->id = row->id;
    for (size_t i = 0; i < info->column_count; i++)
        put_value(ret_message, &info->columns[i], places_of[row->table][i], &row->values[i]);
}

static bool in_range(const struct mig_column *column, const struct mig_value *value)
{
    return column->type != MIG_COLUMN_INT16 || value->is_null ||
           (value->number >= INT16_MIN && value->number <= INT16_MAX);
}

int wire_row_from_message(const XmtpMigrate__SourceRow *message, struct mig_row *ret_row,
                          struct mig_error *err)
{
    const struct mig_table_info *info;
    struct mig_row row = {0};

    if (!mig_table_find(message->table, &row.table))
        return mig_fail(err, MIG_E_CORRUPT, "a row of '%.40s', which is no table we know",
                        message->table ? message->table : "");
    if (!message->has_id)
        return mig_fail(err, MIG_E_CORRUPT, "a row of %s without an id", message->table);
    row.id = message->id;
    pthread_once(&places_found, find_places);
    info = mig_table_info(row.table);
    for (size_t i = 0; i < info->column_count; i++) {
        const struct mig_column *column = &info->columns[i];

        take_value(message, column, places_of[row.table][i], &row.values[i]);
        if (row.values[i].is_null && !column->nullable)
            return mig_fail(err, MIG_E_CORRUPT, "%s %" PRId64 " without %s", info->name, row.id,
                            column->member);
        if (!in_range(column, &row.values[i]))
            return mig_fail(err, MIG_E_CORRUPT, "%s %" PRId64 ": %s of %" PRId64 " is out of range",
                            info->name, row.id, column->member, row.values[i].number);
    }
    *ret_row = row;
    return MIG_OK;
}

int mig_row_encode(const struct mig_row *row, struct mig_buffer *record, struct mig_error *err)
{
    XmtpMigrate__SourceRow message;

    wire_row_to_message(row, &message);
    return wire_append(&message.base, record, err);
}

int mig_row_decode(struct mig_bytes record, struct mig_arena *arena, struct mig_row *ret_row,
                   struct mig_error *err)
{
    ProtobufCMessage *message;
    int result =
        wire_unpack(&xmtp_migrate__source_row__descriptor, record, "a row", arena, &message, err);

    if (result != MIG_OK)
        return result;
    return wire_row_from_message((const XmtpMigrate__SourceRow *) message, ret_row, err);
}

bool mig_row_created_ns(const struct mig_row *row, int64_t *ret_ns)
{
    const struct mig_table_info *info = mig_table_info(row->table);
    const struct mig_value *created = &row->values[info->created_column];
    int64_t ns;

    if (info->columns[info->created_column].type != MIG_COLUMN_TIMESTAMP) {
        *ret_ns = created->number;
        return true;
    }
    if (__builtin_mul_overflow(created->number, INT64_C(1000), &ns) ||
        __builtin_add_overflow(ns, MIG_PG_EPOCH_US * 1000, ret_ns))
        return false;
    return true;
}

static int print_hex(struct mig_buffer *text, struct mig_bytes bytes, struct mig_error *err)
{
    int result = mig_buffer_reserve(text, 2 * bytes.size + 3, err);

    if (result != MIG_OK)
        return result;
    text->data[text->size++] = '"';
    mig_hex_encode(bytes, (char *) text->data + text->size);
    text->size += 2 * bytes.size;
    text->data[text->size++] = '"';
    text->data[text->size] = '\0';
    return MIG_OK;
}

static int print_timestamp(struct mig_buffer *text, int64_t us, struct mig_error *err)
{
    int64_t seconds = us / 1000000, rest = us % 1000000;
    char instant[MIG_TIME_TEXT_SIZE];

    if (us == INT64_MAX || us == INT64_MIN)
        return mig_buffer_print(text, err, "\"%sinfinity\"", us == INT64_MIN ? "-" : "");
    if (rest < 0) {
        rest += 1000000;
        seconds--;
    }
    mig_time_format_us(seconds + MIG_PG_EPOCH_US / 1000000, (int32_t) rest, instant);
    return mig_buffer_print(text, err, "\"%s\"", instant);
}

static int print_value(struct mig_buffer *text, const struct mig_column *column,
                       const struct mig_value *value, struct mig_error *err)
{
    if (value->is_null)
        return mig_buffer_print(text, err, "null");
    switch (column->type) {
    case MIG_COLUMN_BYTES:
        return print_hex(text, value->bytes, err);
    case MIG_COLUMN_BOOL:
        return mig_buffer_print(text, err, value->number ? "true" : "false");
    case MIG_COLUMN_TIMESTAMP:
        return print_timestamp(text, value->number, err);
    case MIG_COLUMN_INT16:
    case MIG_COLUMN_INT64:
        break;
    }
    return mig_buffer_print(text, err, "%" PRId64, value->number);
}

int mig_row_print_json(const struct mig_row *row, struct mig_buffer *text, struct mig_error *err)
{
    const struct mig_table_info *info = mig_table_info(row->table);
    int result =
        mig_buffer_print(text, err, "{\"table\":\"%s\",\"id\":%" PRId64, info->name, row->id);

    for (size_t i = 0; i < info->column_count && result == MIG_OK; i++) {
        result = mig_buffer_print(text, err, ",\"%s\":", info->columns[i].member);
        if (result == MIG_OK)
            result = print_value(text, &info->columns[i], &row->values[i], err);
    }
    return result == MIG_OK ? mig_buffer_append(text, "}", 1, err) : result;
}
