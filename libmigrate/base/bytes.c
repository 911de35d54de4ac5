/* Runs of bytes: comparing them, and buffers that grow up to a limit. */
#include "libmigrate/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mig_free_text(char **text)
{
    free(*text);
    *text = NULL;
}

bool mig_bytes_equal(struct mig_bytes a, struct mig_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

struct mig_bytes mig_bytes_of_text(const char *text)
{
    return (struct mig_bytes){(const uint8_t *) text, strlen(text)};
}

int mig_buffer_reserve(struct mig_buffer *buffer, size_t more, struct mig_error *err)
{
    size_t wanted;
    uint8_t *data;

    if (more > buffer->limit || buffer->size > buffer->limit - more)
        return mig_fail(err, MIG_E_NOMEM,
                        "%zu bytes and %zu more would pass the limit of %zu bytes", buffer->size,
                        more, buffer->limit);
    wanted = buffer->size + more;
    if (wanted <= buffer->capacity && buffer->data)
        return MIG_OK;
    if (wanted < buffer->capacity * 2)
        wanted = buffer->capacity * 2;
    if (wanted > buffer->limit)
        wanted = buffer->limit;
    if (wanted < 64)
        wanted = 64;
    data = realloc(buffer->data, wanted);
    if (!data)
        return mig_fail(err, MIG_E_NOMEM, "cannot hold %zu bytes: out of memory", wanted);
    buffer->data = data;
    buffer->capacity = wanted;
    return MIG_OK;
}

int mig_buffer_append(struct mig_buffer *buffer, const void *data, size_t size,
                      struct mig_error *err)
{
    int result = mig_buffer_reserve(buffer, size, err);

    if (result != MIG_OK)
        return result;
    if (size > 0)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return MIG_OK;
}

int mig_buffer_print(struct mig_buffer *buffer, struct mig_error *err, const char *format, ...)
{
    va_list args;
    int length, result;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return mig_fail(err, MIG_E_CORRUPT, "cannot format a text");
    result = mig_buffer_reserve(buffer, (size_t) length + 1, err);
    if (result != MIG_OK)
        return result;
    va_start(args, format);
    vsnprintf((char *) buffer->data + buffer->size, (size_t) length + 1, format, args);
    va_end(args);
    buffer->size += (size_t) length;
    return MIG_OK;
}

void mig_buffer_release(struct mig_buffer *buffer)
{
    free(buffer->data);
    *buffer = MIG_BUFFER_INIT(buffer->limit);
}

struct mig_bytes mig_buffer_bytes(const struct mig_buffer *buffer)
{
    return (struct mig_bytes){buffer->data, buffer->size};
}
