/* A small bundle that has one of everything, for tests to write, read back and break. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "libmigrate/bundle/bundle_private.h"

/* A folder of its own that the test runs in; SIGPIPE and SIGXFSZ are ignored. */
void sample_enter(void);
void sample_leave(void);

struct mig_bundle_facts sample_facts(enum mig_stage stage);
/* The rows with ids first_id, first_id + 3, ... of [first_id, last_id]. */
struct mig_part *sample_rows(enum mig_table table, int64_t first_id, int64_t last_id);
/* The same with envelopes: by turns for nodes, expired, rejected and (where it has any) chain. */
struct mig_part *sample_envelopes(enum mig_table table, int64_t first_id, int64_t last_id);

/* The number of parts in the sample, and the one at a place; the caller frees it. */
#define SAMPLE_PARTS 5
struct mig_part *sample_part(enum mig_stage stage, size_t place);

/* Writes the whole sample; gives what failed. */
int sample_write(const char *path, enum mig_stage stage, struct mig_error *err);
/* Reads a bundle to its end. Fails the test when it is read without an error but is not the sample.
 */
int sample_read(const char *path, bool trust_later, enum mig_stage stage, struct mig_error *err);

/* Whole files; the bytes are the caller's. */
struct mig_buffer sample_file(const char *path);
void sample_put_file(const char *path, struct mig_bytes bytes);
/* Standard input from a file until the test ends. */
void sample_input(const char *path);

#endif
