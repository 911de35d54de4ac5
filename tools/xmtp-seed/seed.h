/*
 * What the verbs of xmtp-seed share: numbers that only look random, bytes put together field by
 * field, the made-up network, and the way into a database.
 */
#ifndef SEED_H
#define SEED_H

#include "libmigrate/pg/pg.h"
#include "libmigrate/wire/wire.h"
#include "tools/common/tool.h"

/* ---- the database ------------------------------------------------------------------------- */

/* Connects to the DSN of --dsn: the text itself, or env:NAME. stop interrupts waiting, or NULL.
 * Errors: MIG_E_USAGE (none given, the variable is not set), and those of mig_pg_open(). */
int seed_connect(const char *dsn, const struct mig_stop *stop, struct mig_pg **ret_pg,
                 struct mig_error *err);

/* Rows by binary COPY; end it with mig_pg_copy_in_end(). */
int seed_copy_begin(struct mig_pg *pg, enum mig_table table, struct mig_error *err);
int seed_copy_row(struct mig_pg *pg, const struct mig_row *row, struct mig_error *err);

/* The highest id that the table's sequence has given out; 0 when none. */
int seed_sequence_last(struct mig_pg *pg, enum mig_table table, int64_t *ret_id,
                       struct mig_error *err);
int seed_sequence_set(struct mig_pg *pg, enum mig_table table, int64_t id, struct mig_error *err);

/* ---- numbers ------------------------------------------------------------------------------ */

/* splitmix64: small, fast, the same everywhere. Not for secrets. */
struct seed_random {
    uint64_t state;
};

/* The source of numbers of one thing (a row, a group) of one kind. */
struct seed_random seed_random_of(uint64_t seed, uint64_t kind, uint64_t index);
uint64_t seed_random_next(struct seed_random *random);
/* From low up to and including high. */
uint64_t seed_random_between(struct seed_random *random, uint64_t low, uint64_t high);
bool seed_random_percent(struct seed_random *random, unsigned percent);
void seed_random_fill(struct seed_random *random, uint8_t *bytes, size_t size);

/* ---- bytes -------------------------------------------------------------------------------- */

/* Puts bytes together. The first failure sticks and is given by seed_finish(). */
struct seed_writer {
    struct mig_buffer buffer;
    int result;
    struct mig_error err;
};
#define SEED_ROW_LIMIT ((size_t) 16 << 20)

void seed_put(struct seed_writer *writer, const void *data, size_t size);
void seed_put_random(struct seed_writer *writer, struct seed_random *random, size_t size);
/* Big-endian, as MLS wants it. */
void seed_put_number(struct seed_writer *writer, uint64_t value, size_t size);
/* The length in front of an MLS opaque<V>; wide takes twice the bytes needed, which is forbidden.
 */
void seed_put_length(struct seed_writer *writer, size_t size, bool wide);
/* Fields of a protobuf message. */
void seed_put_integer(struct seed_writer *writer, uint32_t field, uint64_t value);
void seed_put_bytes(struct seed_writer *writer, uint32_t field, const void *data, size_t size);
void seed_put_random_bytes(struct seed_writer *writer, uint32_t field, struct seed_random *random,
                           size_t size);
/* Makes all that was written since mark (a buffer.size) the embedded message of a field. */
void seed_put_message(struct seed_writer *writer, uint32_t field, size_t mark);
/* Copies what was written to arena and empties the writer. */
int seed_finish(struct seed_writer *writer, struct mig_arena *arena, struct mig_bytes *ret_bytes,
                struct mig_error *err);

/* ---- the network -------------------------------------------------------------------------- */

struct seed_installation {
    uint64_t index;
    int64_t first_row, last_row; /* ids in key_packages */
    int64_t created_ns, updated_ns;
};

/* A made-up network. Everything in it follows from seed and from the ids that rows have. */
struct seed_network {
    uint64_t seed;
    bool hostile;
    int64_t from_ns, until_ns;        /* when its rows were made */
    int64_t rows[MIG_TABLE_COUNT];    /* to be made now */
    int64_t last_id[MIG_TABLE_COUNT]; /* given out before and, then, so far */
    uint64_t groups;
    struct seed_installation *installations;
    size_t installation_count, installation_capacity;
    uint64_t inboxes, inbox_base, installation_base;
};

/* What makes rows: one per thread. Bytes of rows lie in arena. */
struct seed_maker {
    struct seed_network *network;
    struct seed_random random; /* of the row in hand */
    struct seed_writer writer;
    struct mig_arena arena;
};

void seed_maker_init(struct seed_maker *maker, struct seed_network *network);
void seed_maker_release(struct seed_maker *maker);
void seed_network_release(struct seed_network *network);

/* Makes row number place (of network->rows[table]) under the given id, with its fault if it has
 * one. Further places are fine: such rows are as new as can be. */
int seed_make_row(struct seed_maker *maker, enum mig_table table, int64_t place, int64_t id,
                  struct mig_row *ret_row, struct mig_error *err);
int seed_group_id(struct seed_maker *maker, uint64_t index, struct mig_bytes *ret_id,
                  struct mig_error *err);
int seed_installation_id(struct seed_maker *maker, uint64_t index, struct mig_bytes *ret_id,
                         struct mig_error *err);
int seed_random_run(struct seed_maker *maker, size_t size, struct mig_bytes *ret_bytes,
                    struct mig_error *err);
/* The package of the row with this id. */
int seed_key_package(struct seed_maker *maker, int64_t id, struct mig_bytes installation_id,
                     struct mig_bytes *ret_package, struct mig_error *err);

/* What the table of installations says about those in the network, by binary COPY. */
int seed_copy_installations(struct mig_pg *pg, struct seed_maker *maker, struct mig_error *err);

/* ---- MLS ---------------------------------------------------------------------------------- */

enum { SEED_MLS_PUBLIC = 1, SEED_MLS_PRIVATE = 2 };
enum { SEED_SENDER_MEMBER = 1, SEED_SENDER_EXTERNAL, SEED_SENDER_PROPOSAL, SEED_SENDER_COMMIT };

struct seed_mls {
    uint16_t version, wire_format;
    uint8_t content, sender; /* sender: of a public message */
    bool wide_length;        /* the group id's length takes more bytes than it may */
    bool cut;                /* ends inside the epoch */
    size_t body_min, body_max;
};

/* The framing of RFC 9420, section 6, around a body that means nothing. */
int seed_mls_message(struct seed_maker *maker, struct mig_bytes group_id,
                     const struct seed_mls *message, struct mig_bytes *ret_message,
                     struct mig_error *err);

/* ---- identity updates --------------------------------------------------------------------- */

enum seed_update {
    SEED_UPDATE_CREATE,
    SEED_UPDATE_ADD,
    SEED_UPDATE_REVOKE,
    SEED_UPDATE_RECOVERY,
    /* legal, but not what an encoder makes */
    SEED_UPDATE_UNKNOWN_FIELDS,
    SEED_UPDATE_OUT_OF_ORDER,
    SEED_UPDATE_LARGE, /* more than a chain message can carry */
    /* not to be parsed */
    SEED_UPDATE_CUT,
    SEED_UPDATE_GARBAGE,
    SEED_UPDATE_NOT_UTF8,
    SEED_UPDATE_WIRE_TYPE,
};

int seed_identity_update(struct seed_maker *maker, struct mig_bytes inbox_id,
                         enum seed_update update, int64_t time_ns, struct mig_bytes *ret_update,
                         struct mig_error *err);

/* ---- faults ------------------------------------------------------------------------------- */

/* One way in which a row can be off. */
struct seed_fault {
    const char *name;
    enum mig_table table;
    int (*apply)(struct seed_maker *maker, struct mig_row *row, int64_t argument,
                 struct mig_error *err);
    int64_t argument;
};

const struct seed_fault *seed_faults(size_t *ret_count);

/* The fault of row number place, or NULL. All faults of a table are found in the newest half of its
 * rows already, where nothing has expired yet. */
const struct seed_fault *seed_fault_at(const struct seed_network *network, enum mig_table table,
                                       int64_t place);

/* The fewest rows of a table among which every fault has its place. */
int64_t seed_fault_rows(enum mig_table table);

#endif
