/* What can be wrong with a row, as a table: each reject that a row alone can cause, each finding,
 * and what only looks wrong. */
#include "tools/xmtp-seed/seed.h"

#define LARGEST_SPACING 9 /* of rows with a fault, when there are many */
#define MEGABYTES(n) ((size_t) (n) << 20)

/* ---- any table ---------------------------------------------------------------------------- */

/* Where the one identifier and the one payload of a table's rows are. */
static const struct {
    int created, identifier, payload;
} places[MIG_TABLE_COUNT] = {
    [MIG_TABLE_GROUP_MESSAGES] = {MIG_GM_CREATED_AT, MIG_GM_GROUP_ID, MIG_GM_DATA},
    [MIG_TABLE_WELCOME_MESSAGES] = {MIG_WM_CREATED_AT, MIG_WM_INSTALLATION_KEY, MIG_WM_DATA},
    [MIG_TABLE_KEY_PACKAGES] = {MIG_KP_CREATED_NS, MIG_KP_INSTALLATION_ID, MIG_KP_KEY_PACKAGE},
    [MIG_TABLE_INBOX_LOG] = {MIG_IL_CREATED_NS, MIG_IL_INBOX_ID, MIG_IL_UPDATE},
};

/* An identifier that no other row has, so that an odd payload can't clash with another's. */
static int identify_anew(struct seed_maker *maker, struct mig_row *row, int64_t size,
                         struct mig_error *err)
{
    return seed_random_run(maker, (size_t) size, &row->values[places[row->table].identifier].bytes,
                           err);
}

static int empty_payload(struct seed_maker *maker, struct mig_row *row, int64_t identifier_size,
                         struct mig_error *err)
{
    row->values[places[row->table].payload].bytes = mig_bytes_of_text("");
    return identify_anew(maker, row, identifier_size, err);
}

static int set_created(struct seed_maker *maker, struct mig_row *row, int64_t time,
                       struct mig_error *err)
{
    (void) maker;
    (void) err;
    row->values[places[row->table].created].number = time;
    return MIG_OK;
}

/* ---- group messages ----------------------------------------------------------------------- */

enum odd_message {
    COMMIT_NULL,
    APPLICATION_NULL,
    PROPOSAL_NULL,
    COMMIT_SAYS_NOT,
    APPLICATION_SAYS_COMMIT,
    PROPOSAL_EXTERNAL,
    PROPOSAL_OF_NEW_MEMBER,
    VERSION_NULL,
    WIRE_FORMAT_NULL,
    CONTENT_NULL,
    CUT_NULL,
    CUT_SAYS_COMMIT,
    CUT_SAYS_NOT,
    WIDE_LENGTH_NULL,
    WIDE_LENGTH_SAYS_NOT,
    COMMIT_LARGE,
    COMMIT_HUGE,
    APPLICATION_HUGE,
};

#define PRIVATE(type) .version = 1, .wire_format = SEED_MLS_PRIVATE, .content = (type)
#define PUBLIC(type, from)                                                                         \
    .version = 1, .wire_format = SEED_MLS_PUBLIC, .content = (type), .sender = (from)
#define BODY(least, most) .body_min = (least), .body_max = (most)

/* says: the column is_commit, -1 for NULL. */
static const struct {
    int says;
    struct seed_mls message;
} odd_messages[] = {
    [COMMIT_NULL] = {-1, {PRIVATE(MIG_MLS_COMMIT), BODY(400, 3000)}},
    [APPLICATION_NULL] = {-1, {PRIVATE(MIG_MLS_APPLICATION), BODY(200, 900)}},
    [PROPOSAL_NULL] = {-1, {PUBLIC(MIG_MLS_PROPOSAL, SEED_SENDER_MEMBER), BODY(200, 500)}},
    [COMMIT_SAYS_NOT] = {0, {PUBLIC(MIG_MLS_COMMIT, SEED_SENDER_MEMBER), BODY(400, 3000)}},
    [APPLICATION_SAYS_COMMIT] = {1, {PRIVATE(MIG_MLS_APPLICATION), BODY(200, 900)}},
    [PROPOSAL_EXTERNAL] = {0, {PUBLIC(MIG_MLS_PROPOSAL, SEED_SENDER_EXTERNAL), BODY(200, 500)}},
    [PROPOSAL_OF_NEW_MEMBER] = {0,
                                {PUBLIC(MIG_MLS_PROPOSAL, SEED_SENDER_PROPOSAL), BODY(200, 500)}},
    [VERSION_NULL] = {-1, {2, SEED_MLS_PRIVATE, MIG_MLS_APPLICATION, BODY(200, 900)}},
    [WIRE_FORMAT_NULL] = {-1, {1, 3, MIG_MLS_APPLICATION, BODY(200, 900)}},
    [CONTENT_NULL] = {-1, {1, SEED_MLS_PRIVATE, 9, BODY(200, 900)}},
    [CUT_NULL] = {-1, {PRIVATE(MIG_MLS_APPLICATION), .cut = true}},
    [CUT_SAYS_COMMIT] = {1, {PRIVATE(MIG_MLS_COMMIT), .cut = true}},
    [CUT_SAYS_NOT] = {0, {PRIVATE(MIG_MLS_APPLICATION), .cut = true}},
    [WIDE_LENGTH_NULL] = {-1, {PRIVATE(MIG_MLS_APPLICATION), .wide_length = true, BODY(200, 900)}},
    [WIDE_LENGTH_SAYS_NOT] = {0,
                              {PRIVATE(MIG_MLS_APPLICATION), .wide_length = true, BODY(200, 900)}},
    [COMMIT_LARGE] = {1, {PRIVATE(MIG_MLS_COMMIT), BODY(200000, 400000)}},
    [COMMIT_HUGE] = {1, {PRIVATE(MIG_MLS_COMMIT), BODY(MEGABYTES(4), MEGABYTES(4))}},
    [APPLICATION_HUGE] = {0, {PRIVATE(MIG_MLS_APPLICATION), BODY(MEGABYTES(4), MEGABYTES(4))}},
};

static int write_odd_message(struct seed_maker *maker, struct mig_row *row, int64_t which,
                             struct mig_error *err)
{
    const int says = odd_messages[which].says;

    row->values[MIG_GM_IS_COMMIT] = (struct mig_value){.is_null = says < 0, .number = says};
    return seed_mls_message(maker, row->values[MIG_GM_GROUP_ID].bytes, &odd_messages[which].message,
                            &row->values[MIG_GM_DATA].bytes, err);
}

/* Not more than one of each in a run, see seed_fault_at(). */
static int write_huge_message(struct seed_maker *maker, struct mig_row *row, int64_t which,
                              struct mig_error *err)
{
    return write_odd_message(maker, row, which, err);
}

static int resize_group_id(struct seed_maker *maker, struct mig_row *row, int64_t size,
                           struct mig_error *err)
{
    int result = identify_anew(maker, row, size, err);

    return result == MIG_OK ? write_odd_message(maker, row, APPLICATION_NULL, err) : result;
}

/* The same bytes in one group after another: no two of V3's rows, but one and the same message. */
static int repeat_elsewhere(struct seed_maker *maker, struct mig_row *row, int64_t argument,
                            struct mig_error *err)
{
    int result;

    (void) argument;
    maker->random = seed_random_of(maker->network->seed, MIG_TABLE_COUNT, 1);
    result = seed_group_id(maker, 0, &row->values[MIG_GM_GROUP_ID].bytes, err);
    if (result == MIG_OK)
        result = write_odd_message(maker, row, APPLICATION_NULL, err);
    maker->random = seed_random_of(maker->network->seed, MIG_TABLE_COUNT + 1, (uint64_t) row->id);
    return result == MIG_OK ? identify_anew(maker, row, 16, err) : result;
}

/* ---- welcomes ----------------------------------------------------------------------------- */

static int set_algorithm(struct seed_maker *maker, struct mig_row *row, int64_t algorithm,
                         struct mig_error *err)
{
    (void) maker;
    (void) err;
    row->values[MIG_WM_WRAPPER_ALGORITHM].number = algorithm;
    row->values[MIG_WM_MESSAGE_TYPE].number = 0;
    return MIG_OK;
}

static int set_pointer_algorithm(struct seed_maker *maker, struct mig_row *row, int64_t algorithm,
                                 struct mig_error *err)
{
    (void) maker;
    (void) err;
    row->values[MIG_WM_WRAPPER_ALGORITHM].number = algorithm;
    row->values[MIG_WM_MESSAGE_TYPE].number = 1;
    return MIG_OK;
}

static int set_type(struct seed_maker *maker, struct mig_row *row, int64_t type,
                    struct mig_error *err)
{
    (void) maker;
    (void) err;
    row->values[MIG_WM_MESSAGE_TYPE].number = type;
    return MIG_OK;
}

static int set_type_and_algorithm(struct seed_maker *maker, struct mig_row *row, int64_t number,
                                  struct mig_error *err)
{
    row->values[MIG_WM_WRAPPER_ALGORITHM].number = number;
    return set_type(maker, row, number, err);
}

/* ---- identity updates --------------------------------------------------------------------- */

static int write_odd_update(struct seed_maker *maker, struct mig_row *row, int64_t update,
                            struct mig_error *err)
{
    return seed_identity_update(maker, row->values[MIG_IL_INBOX_ID].bytes,
                                (enum seed_update) update, row->values[MIG_IL_CREATED_NS].number,
                                &row->values[MIG_IL_UPDATE].bytes, err);
}

static int resize_inbox_id(struct seed_maker *maker, struct mig_row *row, int64_t size,
                           struct mig_error *err)
{
    int result = identify_anew(maker, row, size, err);

    return result == MIG_OK ? write_odd_update(maker, row, SEED_UPDATE_CREATE, err) : result;
}

/* ---- the table ---------------------------------------------------------------------------- */

#define YEAR_1_US INT64_C(-63082281600000000) /* 0001-01-01 on PostgreSQL's scale */
#define IN_GROUPS MIG_TABLE_GROUP_MESSAGES
#define IN_WELCOMES MIG_TABLE_WELCOME_MESSAGES
#define IN_PACKAGES MIG_TABLE_KEY_PACKAGES
#define IN_INBOXES MIG_TABLE_INBOX_LOG

static const struct seed_fault faults[] = {
    {"group_data_empty", IN_GROUPS, empty_payload, 16},
    {"group_id_15", IN_GROUPS, resize_group_id, 15},
    {"group_id_32", IN_GROUPS, resize_group_id, 32},
    {"group_id_empty", IN_GROUPS, resize_group_id, 0},
    {"group_two_faults", IN_GROUPS, empty_payload, 15},
    {"commit_null", IN_GROUPS, write_odd_message, COMMIT_NULL},
    {"application_null", IN_GROUPS, write_odd_message, APPLICATION_NULL},
    {"proposal_null", IN_GROUPS, write_odd_message, PROPOSAL_NULL},
    {"commit_says_not", IN_GROUPS, write_odd_message, COMMIT_SAYS_NOT},
    {"application_says_commit", IN_GROUPS, write_odd_message, APPLICATION_SAYS_COMMIT},
    {"proposal_external", IN_GROUPS, write_odd_message, PROPOSAL_EXTERNAL},
    {"proposal_of_new_member", IN_GROUPS, write_odd_message, PROPOSAL_OF_NEW_MEMBER},
    {"mls_version", IN_GROUPS, write_odd_message, VERSION_NULL},
    {"mls_wire_format", IN_GROUPS, write_odd_message, WIRE_FORMAT_NULL},
    {"mls_content", IN_GROUPS, write_odd_message, CONTENT_NULL},
    {"mls_cut", IN_GROUPS, write_odd_message, CUT_NULL},
    {"mls_cut_says_commit", IN_GROUPS, write_odd_message, CUT_SAYS_COMMIT},
    {"mls_cut_says_not", IN_GROUPS, write_odd_message, CUT_SAYS_NOT},
    {"mls_wide_length", IN_GROUPS, write_odd_message, WIDE_LENGTH_NULL},
    {"mls_wide_length_says_not", IN_GROUPS, write_odd_message, WIDE_LENGTH_SAYS_NOT},
    {"commit_large", IN_GROUPS, write_odd_message, COMMIT_LARGE},
    {"commit_huge", IN_GROUPS, write_huge_message, COMMIT_HUGE},
    {"application_huge", IN_GROUPS, write_huge_message, APPLICATION_HUGE},
    {"group_content_repeated", IN_GROUPS, repeat_elsewhere, 0},
    {"group_time_infinity", IN_GROUPS, set_created, INT64_MAX},
    {"group_time_minus_infinity", IN_GROUPS, set_created, INT64_MIN},
    {"group_time_year_1", IN_GROUPS, set_created, YEAR_1_US},

    {"welcome_data_empty", IN_WELCOMES, empty_payload, 32},
    {"welcome_key_empty", IN_WELCOMES, identify_anew, 0},
    {"welcome_algorithm_7", IN_WELCOMES, set_algorithm, 7},
    {"welcome_algorithm_negative", IN_WELCOMES, set_algorithm, -1},
    {"welcome_algorithm_largest", IN_WELCOMES, set_algorithm, INT16_MAX},
    {"pointer_algorithm_0", IN_WELCOMES, set_pointer_algorithm, 0},
    {"pointer_algorithm_2", IN_WELCOMES, set_pointer_algorithm, 2},
    {"pointer_algorithm_negative", IN_WELCOMES, set_pointer_algorithm, INT16_MIN},
    {"welcome_type_2", IN_WELCOMES, set_type, 2},
    {"welcome_type_negative", IN_WELCOMES, set_type, -1},
    {"welcome_two_faults", IN_WELCOMES, set_type_and_algorithm, 9},
    {"welcome_time_infinity", IN_WELCOMES, set_created, INT64_MAX},
    {"welcome_time_minus_infinity", IN_WELCOMES, set_created, INT64_MIN},
    {"welcome_time_year_1", IN_WELCOMES, set_created, YEAR_1_US},

    {"package_empty", IN_PACKAGES, empty_payload, 32},
    {"package_installation_empty", IN_PACKAGES, identify_anew, 0},
    {"package_time_largest", IN_PACKAGES, set_created, INT64_MAX},
    {"package_time_smallest", IN_PACKAGES, set_created, INT64_MIN},

    {"inbox_id_empty", IN_INBOXES, resize_inbox_id, 0},
    {"inbox_id_31", IN_INBOXES, resize_inbox_id, 31},
    {"inbox_id_33", IN_INBOXES, resize_inbox_id, 33},
    {"update_empty", IN_INBOXES, empty_payload, 32},
    {"update_cut", IN_INBOXES, write_odd_update, SEED_UPDATE_CUT},
    {"update_garbage", IN_INBOXES, write_odd_update, SEED_UPDATE_GARBAGE},
    {"update_not_utf8", IN_INBOXES, write_odd_update, SEED_UPDATE_NOT_UTF8},
    {"update_wire_type", IN_INBOXES, write_odd_update, SEED_UPDATE_WIRE_TYPE},
    {"update_large", IN_INBOXES, write_odd_update, SEED_UPDATE_LARGE},
    {"update_unknown_fields", IN_INBOXES, write_odd_update, SEED_UPDATE_UNKNOWN_FIELDS},
    {"update_out_of_order", IN_INBOXES, write_odd_update, SEED_UPDATE_OUT_OF_ORDER},
    {"inbox_time_negative", IN_INBOXES, set_created, -1},
};

const struct seed_fault *seed_faults(size_t *ret_count)
{
    *ret_count = mig_count_of(faults);
    return faults;
}

static int64_t count_in(enum mig_table table)
{
    int64_t count = 0;

    for (size_t i = 0; i < mig_count_of(faults); i++)
        count += faults[i].table == table;
    return count;
}

int64_t seed_fault_rows(enum mig_table table)
{
    return 2 * count_in(table);
}

const struct seed_fault *seed_fault_at(const struct seed_network *network, enum mig_table table,
                                       int64_t place)
{
    const int64_t count = count_in(table), rows = network->rows[table];
    const int64_t from_newest = rows - 1 - place;
    int64_t spacing = rows / 2 / count, turn, nth = 0;

    if (!network->hostile || from_newest < 0)
        return NULL;
    spacing = spacing < 1 ? 1 : spacing > LARGEST_SPACING ? LARGEST_SPACING : spacing;
    if (from_newest % spacing != spacing / 2)
        return NULL;
    turn = from_newest / spacing;
    for (size_t i = 0; i < mig_count_of(faults); i++) {
        if (faults[i].table != table || nth++ != turn % count)
            continue;
        return faults[i].apply == write_huge_message && turn >= count ? NULL : &faults[i];
    }
    return NULL;
}
