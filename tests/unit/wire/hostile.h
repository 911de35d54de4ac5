/* Bytes for decoders to survive: copies that end where the bytes end, so that a sanitizer sees one
 * step too far, and bytes that look random and are the same every time. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "libmigrate/base/base.h"

#include <stdlib.h>
#include <string.h>

/* Memory of exactly this size, for free() to take back. */
static inline struct mig_bytes hostile_copy(struct mig_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size ? bytes.size : 1);

    if (!copy)
        abort();
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return (struct mig_bytes){copy, bytes.size};
}

static inline void hostile_free(struct mig_bytes bytes)
{
    free((void *) (uintptr_t) bytes.data);
}

/* xorshift64*; the state must not be 0. */
static inline uint64_t hostile_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

#endif
