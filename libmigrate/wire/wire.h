/*
 * wire: what a V3 row and an envelope are, in memory and as protobuf bytes.
 *
 * The tables, their columns and the kinds that rows become are data here (tables.c): source reads
 * by it, records and JSON are written by it, the seeder fills by it.
 */
#ifndef MIG_WIRE_H
#define MIG_WIRE_H

#include "libmigrate/base/base.h"

/* ---- tables of V3 ------------------------------------------------------------------------- */

enum mig_table {
    MIG_TABLE_GROUP_MESSAGES,
    MIG_TABLE_WELCOME_MESSAGES,
    MIG_TABLE_KEY_PACKAGES,
    MIG_TABLE_INBOX_LOG,
    MIG_TABLE_COUNT,
};

enum mig_column_type {
    MIG_COLUMN_BYTES,     /* bytea */
    MIG_COLUMN_BOOL,      /* boolean */
    MIG_COLUMN_INT16,     /* smallint */
    MIG_COLUMN_INT64,     /* bigint */
    MIG_COLUMN_TIMESTAMP, /* timestamp without zone, in UTC */
};

/* Places of a row's values in mig_row.values, per table; the id stands apart. */
enum {
    MIG_GM_CREATED_AT,
    MIG_GM_GROUP_ID,
    MIG_GM_DATA,
    MIG_GM_HASH,
    MIG_GM_IS_COMMIT,
    MIG_GM_SENDER_HMAC,
    MIG_GM_SHOULD_PUSH
};
enum {
    MIG_WM_CREATED_AT,
    MIG_WM_INSTALLATION_KEY,
    MIG_WM_DATA,
    MIG_WM_HPKE_PUBLIC_KEY,
    MIG_WM_HASH,
    MIG_WM_WRAPPER_ALGORITHM,
    MIG_WM_METADATA,
    MIG_WM_MESSAGE_TYPE
};
enum {
    MIG_KP_CREATED_NS,
    MIG_KP_INSTALLATION_ID,
    MIG_KP_KEY_PACKAGE,
    MIG_KP_CURRENT_SINCE_NS,
    MIG_KP_RIVAL_CREATED_NS
};
enum { MIG_IL_CREATED_NS, MIG_IL_INBOX_ID, MIG_IL_UPDATE };
#define MIG_COLUMNS_MAX 8

/* Microseconds between 1970-01-01 and 2000-01-01, from where PostgreSQL counts. */
#define MIG_PG_EPOCH_US INT64_C(946684800000000)

struct mig_column {
    const char *name;   /* in V3 */
    const char *member; /* in records and JSON, as the golden vectors name it */
    enum mig_column_type type;
    bool nullable;
    bool optional;         /* older databases lack it: read as NULL, or as the default */
    const char *otherwise; /* the SQL that stands for a missing column */
    const char *derived;   /* SQL over t (the table) for a value that is no column of it, or NULL */
};

struct mig_table_info {
    const char *name;
    const char *id_column;
    const struct mig_column *columns;
    size_t column_count;
    int created_column; /* place of the creation time: a timestamp, or nanoseconds as bigint */
    bool joins_installations; /* its derived columns need the table installations, as i */
};

const struct mig_table_info *mig_table_info(enum mig_table table);
/* The table with this name, if there is one; NULL is no name. */
bool mig_table_find(const char *name, enum mig_table *ret_table);

/* ---- kinds: what rows become -------------------------------------------------------------- */

enum mig_kind {
    MIG_KIND_GROUP_MESSAGES,
    MIG_KIND_COMMIT_MESSAGES,
    MIG_KIND_WELCOME_MESSAGES,
    MIG_KIND_KEY_PACKAGES,
    MIG_KIND_INBOX_LOG,
    MIG_KIND_COUNT,
};

enum mig_route { MIG_ROUTE_NODE, MIG_ROUTE_CHAIN, MIG_ROUTE_EXPIRED, MIG_ROUTE_REJECTED };

struct mig_kind_info {
    const char *name; /* in accounts, dead letters, migration_tracker */
    enum mig_table table;
    enum mig_route route;       /* where a good row goes: NODE or CHAIN */
    uint32_t signed_originator; /* payer and originator envelope are made for it; 0: none is made */
    uint32_t stored_originator; /* what nodes keep it under */
    uint8_t topic_kind;         /* first byte of the topic */
    int identifier_column;      /* the rest of the topic */
    bool expires;
};

const struct mig_kind_info *mig_kind_info(enum mig_kind kind);
/* The kind of a table's rows that nodes get, or MIG_KIND_COUNT when all go to the chain. */
enum mig_kind mig_node_kind(enum mig_table table);
/* Errors: MIG_E_USAGE, listing the names. */
int mig_kind_parse(const char *name, enum mig_kind *ret_kind, struct mig_error *err);

/* ---- rows --------------------------------------------------------------------------------- */

struct mig_value {
    bool is_null;
    union {
        struct mig_bytes bytes; /* MIG_COLUMN_BYTES */
        int64_t number;         /* all others; a timestamp in microseconds since 2000-01-01 UTC,
                                   INT64_MIN and INT64_MAX for -infinity and infinity */
    };
};

/* One row of V3. Its bytes belong to whoever made the row (an arena). */
struct mig_row {
    enum mig_table table;
    int64_t id;
    struct mig_value values[MIG_COLUMNS_MAX];
};

/* When V3 says the row was made, in ns since 1970. False when that doesn't fit 64 bits. */
bool mig_row_created_ns(const struct mig_row *row, int64_t *ret_ns);

/* Appends the row as one JSON object, its members named as in records: bytes in hex, timestamps in
 * RFC 3339 with six digits, NULL as null. Errors: MIG_E_NOMEM. */
int mig_row_print_json(const struct mig_row *row, struct mig_buffer *text, struct mig_error *err);

/* The row as the protobuf record of schemas/record.proto, appended to record.
 * Errors: MIG_E_NOMEM. */
int mig_row_encode(const struct mig_row *row, struct mig_buffer *record, struct mig_error *err);

/* Reads such a record; the row's bytes are copied to arena.
 * Errors: MIG_E_CORRUPT (hostile input is fine), MIG_E_NOMEM. */
int mig_row_decode(struct mig_bytes record, struct mig_arena *arena, struct mig_row *ret_row,
                   struct mig_error *err);

/* ---- why a row is rejected, and what is noteworthy about one that is not -------------------- */

/* In the order in which a row with several faults gets its reason. */
enum mig_reason {
    MIG_REASON_NONE,
    MIG_REASON_SEQUENCE_ID_OUT_OF_RANGE,
    MIG_REASON_DATA_EMPTY,
    MIG_REASON_GROUP_ID_LENGTH,
    MIG_REASON_IDENTIFIER_EMPTY,
    MIG_REASON_WRAPPER_ALGORITHM_UNKNOWN,
    MIG_REASON_MESSAGE_TYPE_UNKNOWN,
    MIG_REASON_KEY_PACKAGE_EMPTY,
    MIG_REASON_INBOX_ID_LENGTH,
    MIG_REASON_IDENTITY_UPDATE_EMPTY,
    MIG_REASON_IDENTITY_UPDATE_UNPARSABLE,
    MIG_REASON_MLS_UNPARSABLE,
    MIG_REASON_CONFLICT,
    MIG_REASON_PAYLOAD_TOO_LARGE,
    MIG_REASON_TIME_OUT_OF_RANGE, /* created outside what 64 bits of ns can say */
    MIG_REASON_COUNT,
};

struct mig_reason_info {
    const char *name;   /* exact, in dead letters and reports */
    const char *remedy; /* what a person can do */
    bool retryable;     /* could pass later with the row as it is */
};

const struct mig_reason_info *mig_reason_info(enum mig_reason reason);
/* MIG_REASON_NONE for a name that is none of ours. */
enum mig_reason mig_reason_parse(const char *name);

enum mig_finding {
    MIG_FINDING_IS_COMMIT_NULL,
    MIG_FINDING_IS_COMMIT_DISAGREES,
    MIG_FINDING_MLS_UNPARSABLE,
    MIG_FINDING_COUNT,
};
const char *mig_finding_name(enum mig_finding finding);

/* ---- envelopes ---------------------------------------------------------------------------- */

#define MIG_SEQUENCE_ID_MAX INT64_C(9223372036853999999)
#define MIG_BAND_WIDTH INT64_C(1000000)

/*
 * What became of one row. Which members count depends on route:
 *   NODE      all but reason; payer_envelope and client_envelope lie inside originator_envelope
 *   CHAIN     topic, client_envelope
 *   EXPIRED   kind, expired_early
 *   REJECTED  reason
 */
struct mig_envelope {
    const struct mig_row *row; /* borrowed */
    enum mig_kind kind;
    enum mig_route route;
    enum mig_reason reason;
    uint32_t findings;  /* 1u << enum mig_finding */
    bool expired_early; /* EXPIRED by the policy while V3 itself still answers the row */
    int64_t sequence_id;
    struct mig_bytes topic;
    struct mig_bytes client_envelope;
    struct mig_bytes payer_envelope;
    struct mig_bytes originator_envelope;
    int64_t originator_ns;
    int64_t gateway_time_us; /* microseconds since 1970 */
    uint64_t base_fee_picodollars;
    int64_t expiry_unixtime;
};

/* The envelope, its row included, as the record of schemas/record.proto, appended to record.
 * Errors: MIG_E_NOMEM. */
int mig_envelope_encode(const struct mig_envelope *envelope, struct mig_buffer *record,
                        struct mig_error *err);

/* Reads such a record; what it points to lies in arena, the row too. The inner envelopes are taken
 * from the outer one, and what the record says twice must agree.
 * Errors: MIG_E_CORRUPT, MIG_E_NOMEM. */
int mig_envelope_decode(struct mig_bytes record, struct mig_arena *arena,
                        struct mig_envelope *ret_envelope, struct mig_error *err);

/* Copies into arena what is loaded, bundled or put on chain: of an envelope for nodes the topic and
 * the outermost layer, of one for the chain the topic and the client envelope; it forgets the
 * layers in between. The row is not copied. Errors: MIG_E_NOMEM. */
int mig_envelope_keep(struct mig_envelope *envelope, struct mig_arena *arena,
                      struct mig_error *err);
/* The same for the bytes of a row. */
int mig_row_keep(struct mig_row *row, struct mig_arena *arena, struct mig_error *err);

/* ---- the layers of an originator envelope -------------------------------------------------- */

/* Builds ClientEnvelope bytes in arena. payload_field is the number of the oneof's member (2 group
 * message, 3 welcome, 4 key package, 5 identity update) and payload its message's bytes. */
int mig_client_envelope_build(struct mig_bytes topic, uint32_t payload_field,
                              struct mig_bytes payload, struct mig_arena *arena,
                              struct mig_bytes *ret_envelope, struct mig_error *err);

/* The payloads, serialized into arena. Empty bytes are left out, as proto3 does. */
int mig_group_message_build(struct mig_bytes data, struct mig_bytes sender_hmac, bool should_push,
                            struct mig_arena *arena, struct mig_bytes *ret_payload,
                            struct mig_error *err);
struct mig_welcome {
    bool pointer; /* welcome_pointer rather than v1; has no metadata */
    struct mig_bytes installation_key, data, hpke_public_key, metadata;
    int32_t wrapper_algorithm; /* the number on the wire */
};
int mig_welcome_build(const struct mig_welcome *welcome, struct mig_arena *arena,
                      struct mig_bytes *ret_payload, struct mig_error *err);
int mig_key_package_build(struct mig_bytes key_package, struct mig_arena *arena,
                          struct mig_bytes *ret_payload, struct mig_error *err);

struct mig_payer_layer {
    struct mig_bytes client_envelope;
    struct mig_bytes signature; /* 65 bytes */
    uint32_t target_originator;
    uint32_t retention_days;
};
int mig_payer_envelope_build(const struct mig_payer_layer *layer, struct mig_arena *arena,
                             struct mig_bytes *ret_envelope, struct mig_error *err);

struct mig_unsigned_layer {
    uint32_t originator;
    uint64_t sequence_id;
    int64_t originator_ns;
    struct mig_bytes payer_envelope;
    uint64_t base_fee_picodollars, congestion_fee_picodollars;
    uint64_t expiry_unixtime;
};
int mig_unsigned_envelope_build(const struct mig_unsigned_layer *layer, struct mig_arena *arena,
                                struct mig_bytes *ret_envelope, struct mig_error *err);
int mig_originator_envelope_build(struct mig_bytes unsigned_envelope, struct mig_bytes signature,
                                  struct mig_arena *arena, struct mig_bytes *ret_envelope,
                                  struct mig_error *err);

/*
 * All layers of an originator envelope, taken apart. What it points to lies in the arena given.
 */
struct mig_layers {
    struct mig_bytes unsigned_envelope;
    struct mig_bytes originator_signature; /* empty when there is none */
    struct mig_bytes transaction_hash;     /* the proof of what came by the chain, else empty */
    struct mig_unsigned_layer unsigned_layer;
    struct mig_payer_layer payer_layer;
    struct mig_bytes topic;
    uint32_t payload_field; /* 0 when the client envelope holds none that we know */
    struct mig_bytes payload;
};

/* Takes an envelope apart, starting at the layer named. Layers above it are left zero.
 * Errors: MIG_E_CORRUPT naming the layer (any bytes may be given), MIG_E_NOMEM. */
int mig_originator_envelope_parse(struct mig_bytes envelope, struct mig_arena *arena,
                                  struct mig_layers *ret_layers, struct mig_error *err);
int mig_payer_envelope_parse(struct mig_bytes envelope, struct mig_arena *arena,
                             struct mig_layers *ret_layers, struct mig_error *err);
int mig_client_envelope_parse(struct mig_bytes envelope, struct mig_arena *arena,
                              struct mig_layers *ret_layers, struct mig_error *err);

/* The payloads taken apart; what they point to lies in arena. A message without a version that we
 * know is none of these. Errors: MIG_E_CORRUPT (any bytes may be given), MIG_E_NOMEM. */
struct mig_group_message {
    struct mig_bytes data, sender_hmac;
    bool should_push;
};
int mig_group_message_parse(struct mig_bytes payload, struct mig_arena *arena,
                            struct mig_group_message *ret_message, struct mig_error *err);
int mig_welcome_parse(struct mig_bytes payload, struct mig_arena *arena,
                      struct mig_welcome *ret_welcome, struct mig_error *err);
int mig_key_package_parse(struct mig_bytes payload, struct mig_arena *arena,
                          struct mig_bytes *ret_key_package, struct mig_error *err);
struct mig_identity_update {
    struct mig_bytes inbox_id; /* UTF-8 */
    uint64_t client_timestamp_ns;
    size_t created, added, revoked, recovery_changed; /* actions of each kind */
};
int mig_identity_update_parse(struct mig_bytes payload, struct mig_arena *arena,
                              struct mig_identity_update *ret_update, struct mig_error *err);

/* Whether the bytes are a well-formed identity.associations.IdentityUpdate: the wire format, UTF-8
 * in strings, known messages throughout. Unknown fields are legal. */
bool mig_identity_update_valid(struct mig_bytes update);

/* ---- MLS framing (RFC 9420 section 6) ------------------------------------------------------ */

enum mig_mls_content { MIG_MLS_APPLICATION = 1, MIG_MLS_PROPOSAL = 2, MIG_MLS_COMMIT = 3 };

/* The content type of an MLSMessage that is a public or a private message.
 * Errors: MIG_E_CORRUPT when the bytes can't be read as one. */
int mig_mls_content_type(struct mig_bytes message, enum mig_mls_content *ret_content,
                         struct mig_error *err);

#endif
