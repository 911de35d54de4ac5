/*
 * What the files of bundle share.
 *
 * A bundle is header.json, then parts/NNNNNN-TABLE-{rows,nodes,chain}.zst, then index.json. All of
 * it can be checked as it flows by, because a part file speaks for itself:
 *
 *   part file  = a skippable zstd frame with one JSON object (table, range, rows, bytes, tally:
 * what the index says too, but for name, size and digest), then one zstd frame, checksum and
 * content size in it, of records that each follow their length as a varint JSON files = lines, one
 * value a line, the last being `"sha256":"<hex>"}`: the digest of all lines before it (head -n -1
 * index.json | sha256sum). Only what printing the parsed values would give again is accepted, so no
 * bit is free to change.
 */
#ifndef MIG_BUNDLE_PRIVATE_H
#define MIG_BUNDLE_PRIVATE_H

#include "libmigrate/bundle/bundle.h"

#include <json-c/json.h>
#include <zstd.h>

#define BUNDLE_HEADER_NAME "header.json"
#define BUNDLE_INDEX_NAME "index.json"
#define BUNDLE_PARTS_FOLDER "parts"
#define BUNDLE_NAME_SIZE sizeof(((struct mig_bundle_entry *) 0)->name)

/* What a reader is ready to hold, whatever a bundle declares. A field of PostgreSQL has at most
 * 1 GiB, and so has a record; a part has room for one such record and ordinary ones beside it. */
#define BUNDLE_RECORD_LIMIT ((size_t) 1 << 30)
#define BUNDLE_PART_LIMIT (BUNDLE_RECORD_LIMIT + BUNDLE_RECORD_LIMIT / 4)
/* Tiny records grow some hundredfold when decoded; twice the width of a band is ample. */
#define BUNDLE_ROWS_LIMIT UINT64_C(2097152)
/* A line of JSON grows likewise, but one line is parsed at a time. */
#define BUNDLE_LINE_LIMIT ((size_t) 64 << 10)
/* Some 300,000 parts: with parts of 64 MiB that is 20 TB. */
#define BUNDLE_INDEX_LIMIT ((size_t) 128 << 20)

/* ---- members of our structs as JSON --------------------------------------------------------- */

enum bundle_member_type {
    BUNDLE_MEMBER_TEXT, /* char[size] */
    BUNDLE_MEMBER_BOOL,
    BUNDLE_MEMBER_INT64,
    BUNDLE_MEMBER_UINT64,
    BUNDLE_MEMBER_TIME, /* int64_t, ns since 1970 */
    BUNDLE_MEMBER_STAGE,
    BUNDLE_MEMBER_TABLE,
    BUNDLE_MEMBER_TALLY,
};

struct bundle_member {
    const char *name;
    enum bundle_member_type type;
    size_t offset, size;
};

/* A struct's members, in the order in which they are printed. */
struct bundle_members {
    const struct bundle_member *items;
    size_t count;
};

extern const struct bundle_members bundle_facts_members;
extern const struct bundle_members bundle_entry_members;    /* all: a line of the index */
extern const struct bundle_members bundle_contents_members; /* those a part file has itself */

/* Appends {"a":1,...}. Errors: MIG_E_NOMEM. */
int bundle_print_members(struct bundle_members members, const void *object, struct mig_buffer *text,
                         struct mig_error *err);
/* Fills object from JSON; members it doesn't know are left to the comparison with what printing
 * gives again. Errors: MIG_E_CORRUPT naming the member, MIG_E_NOMEM. */
int bundle_parse_members(struct bundle_members members, json_object *json, void *object,
                         struct mig_error *err);
/* The name of the first member in which two objects differ, or NULL. */
const char *bundle_find_difference(struct bundle_members members, const void *a, const void *b);

/* Appends text as a JSON string. Errors: MIG_E_NOMEM. */
int bundle_print_text(const char *value, struct mig_buffer *text, struct mig_error *err);
/* Parses exactly one JSON object. Errors: MIG_E_CORRUPT, MIG_E_NOMEM. */
int bundle_parse_json(struct mig_bytes text, json_object **ret_json, struct mig_error *err);
int bundle_parse_tally(json_object *json, struct mig_tally *ret_tally, struct mig_error *err);
/* For mig_cleanup(bundle_put_json) json_object *json = NULL; */
void bundle_put_json(json_object **json);

/* ---- names -------------------------------------------------------------------------------- */

enum bundle_file { BUNDLE_FILE_HEADER, BUNDLE_FILE_PART, BUNDLE_FILE_INDEX, BUNDLE_FILE_OTHER };

/* What a file is by its name; OTHER for whatever may not be in a bundle. */
enum bundle_file bundle_file_of(const char *name);
/* The most bytes such a file may have. */
size_t bundle_file_limit(enum bundle_file file);
/* The file's name for the part with that number, counted from 1. */
void bundle_name_part(char ret_name[], size_t number, enum mig_stage stage, enum mig_table table,
                      bool chain);

/* ---- the order of parts --------------------------------------------------------------------- */

/* Whether one entry may follow those before it; start from {.stage = ...}. */
struct bundle_order {
    enum mig_stage stage;
    size_t parts;
    bool seen[MIG_TABLE_COUNT];
    bool settled[MIG_TABLE_COUNT]; /* the table's last part was */
    int64_t last_ids[MIG_TABLE_COUNT];
    struct mig_bundle_entry nodes; /* the newest entry that is not for the chain */
    uint64_t chain_due;            /* rows that its sibling must bring next */
    struct mig_tally total;
};

/* Errors: MIG_E_CORRUPT naming the part. */
int bundle_order_take(struct bundle_order *order, const struct mig_bundle_entry *entry,
                      struct mig_error *err);
int bundle_order_end(const struct bundle_order *order, struct mig_error *err);

/* ---- header and index ----------------------------------------------------------------------- */

struct bundle_index {
    struct mig_bundle_facts facts;
    struct mig_bundle_entry *entries; /* malloc'd */
    size_t count, capacity;
    struct mig_blockers blockers;
};

int bundle_index_add(struct bundle_index *index, const struct mig_bundle_entry *entry,
                     struct mig_error *err);
void bundle_index_release(struct bundle_index *index);

int bundle_print_header(const struct mig_bundle_facts *facts, struct mig_buffer *text,
                        struct mig_error *err);
int bundle_print_index(const struct bundle_index *index, const struct mig_blockers *blockers,
                       struct mig_buffer *text, struct mig_error *err);
/* Any bytes may be given. Errors: MIG_E_CORRUPT, MIG_E_REFUSED (newer version), MIG_E_NOMEM. */
int bundle_parse_header(struct mig_bytes text, struct mig_bundle_facts *ret_facts,
                        struct mig_error *err);
/* Fills an empty index. */
int bundle_parse_index(struct mig_bytes text, struct bundle_index *ret_index,
                       struct mig_error *err);

/* ---- part files ----------------------------------------------------------------------------- */

/* What encoding and decoding use over and over. Start from BUNDLE_CODEC_INIT. */
struct bundle_codec {
    ZSTD_CCtx *compressor;
    struct mig_buffer records, file;
    struct mig_arena scratch; /* for one record */
};
#define BUNDLE_CODEC_INIT                                                                          \
    ((struct bundle_codec){.records = MIG_BUFFER_INIT(BUNDLE_PART_LIMIT),                          \
                           .file = MIG_BUFFER_INIT(bundle_file_limit(BUNDLE_FILE_PART))})
void bundle_codec_release(struct bundle_codec *codec);

/* Makes the file of a part's rows, or of its envelopes for nodes or chain, in codec->file. Gives
 * the entry without a name. Errors: MIG_E_USAGE (too large), MIG_E_CORRUPT (the part disagrees with
 * itself), MIG_E_NOMEM. */
int bundle_encode_part(struct bundle_codec *codec, const struct mig_part *part,
                       enum mig_stage stage, bool chain, struct mig_bundle_entry *ret_entry,
                       struct mig_error *err);

/* The two halves of that. First the records, in codec->records, and what can be told of them... */
int bundle_encode_records(struct bundle_codec *codec, const struct mig_part *part,
                          enum mig_stage stage, bool chain, struct mig_bundle_entry *ret_entry,
                          struct mig_error *err);
/* ... then their file, in codec->file; adds its size and digest to the entry. */
int bundle_encode_file(struct bundle_codec *codec, struct mig_bundle_entry *entry,
                       struct mig_error *err);

/* Reads such a file; everything that its own contents decide is checked. Any bytes may be given.
 * Errors: MIG_E_CORRUPT, MIG_E_NOMEM. */
int bundle_decode_part(struct bundle_codec *codec, struct mig_bytes file, enum mig_stage stage,
                       struct mig_part **ret_part, struct mig_bundle_entry *ret_entry,
                       struct mig_error *err);

/* The records by themselves, into a new part; they must be what the entry says. Errors: the same.
 */
int bundle_decode_records(struct bundle_codec *codec, struct mig_bytes records,
                          enum mig_stage stage, const struct mig_bundle_entry *entry,
                          struct mig_part *part, struct mig_error *err);

/* The digest of a file as the index has it. */
int bundle_digest(struct mig_bytes bytes, char ret_text[65], struct mig_error *err);

/* Whether records are what their entry says, one by one and all together. */
struct bundle_check {
    const struct mig_bundle_entry *entry;
    enum mig_stage stage;
    uint64_t rows;
    int64_t last_id;
    struct mig_tally tally;
};
int bundle_check_row(struct bundle_check *check, const struct mig_row *row, struct mig_error *err);
int bundle_check_envelope(struct bundle_check *check, const struct mig_envelope *envelope,
                          struct mig_error *err);
int bundle_check_end(const struct bundle_check *check, struct mig_error *err);

/* ---- carriers: where the files of a bundle lie ------------------------------------------------
 */

struct bundle_output {
    bool (*matches)(const char *path);
    /* *ret_removed: how many files of an unfinished bundle had to go. */
    int (*open)(const char *path, void **ret_state, size_t *ret_removed, struct mig_error *err);
    /* Adds a file, whole. */
    int (*put)(void *state, const char *name, struct mig_bytes bytes, struct mig_error *err);
    /* After the index: all is durable and in its place. */
    int (*commit)(void *state, struct mig_error *err);
    void (*discard)(void *state); /* frees state, committed or not */
};
extern const struct bundle_output bundle_output_folder, bundle_output_file, bundle_output_stream;

/* Compresses, hashes, writes and indexes parts on a thread of its own, one at a time, in order.
 * state and index are borrowed, and the thread's while parts are in hand. */
struct bundle_behind;
int bundle_behind_open(const struct bundle_output *output, void *state, struct bundle_index *index,
                       struct bundle_behind **ret_behind, struct mig_error *err);
/* Takes the records and gives another buffer to fill, with whatever it held before. Waits while the
 * part before is in hand. Errors: those of a part before, and then of every later call. */
int bundle_behind_put(struct bundle_behind *behind, const struct mig_bundle_entry *entry,
                      struct mig_buffer *records, struct mig_error *err);
/* Waits until all that was put is written. */
int bundle_behind_end(struct bundle_behind *behind, struct mig_error *err);
/* Waits for what is in hand; frees. */
void bundle_behind_free(struct bundle_behind **behind);

struct bundle_input {
    bool comes_in; /* the next file is waited for, and may never come */
    /* The next file in order: header, parts, index. An empty name: there are no more.
     * content is emptied first. Errors: MIG_E_CORRUPT (names that may not be, cut off), MIG_E_IO,
     * MIG_E_NOMEM. */
    int (*next)(void *state, char ret_name[], struct mig_buffer *content, struct mig_error *err);
    int (*rewind)(void *state, struct mig_error *err); /* NULL: it can't */
    void (*close)(void *state);                        /* frees state */
};
extern const struct bundle_input bundle_input_folder, bundle_input_file, bundle_input_spooled,
    bundle_input_stream;

int bundle_open_folder(const char *path, void **ret_state, struct mig_error *err);
/* Takes fd, a tar from its beginning. */
int bundle_open_tar(int fd, void **ret_state, struct mig_error *err);
/* The same for a stream that is to be read twice: what is read goes to an unlinked file as well,
 * which the second pass reads. */
int bundle_open_spooled(int fd, void **ret_state, struct mig_error *err);

/* ---- verifying ---------------------------------------------------------------------------------
 */

/* Files from behind the header to the end, each decoded and judged, then told the reader in order.
 */
struct bundle_pass {
    const struct bundle_input *input;
    void *state;
    const struct mig_bundle_facts *facts;
    mig_bundle_judge_fn *judge; /* may be NULL */
    struct mig_bundle_reader *reader;
    int (*settle)(struct mig_bundle_reader *reader, const struct mig_bundle_entry *entry,
                  struct mig_error *err);
    /* The first file that is no part; it may take the bytes. */
    int (*end)(struct mig_bundle_reader *reader, const char *name, struct mig_buffer *bytes,
               struct mig_error *err);
};
/* threads: 0 is one a core. */
int bundle_pass_run(const struct bundle_pass *pass, unsigned threads, struct mig_error *err);

#endif
