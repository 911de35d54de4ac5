/* The head of an MLSMessage (RFC 9420 section 6), as far as its content type. */
#include "libmigrate/wire/wire.h"

#define MLS_VERSION_10 1
enum { WIRE_PUBLIC_MESSAGE = 1, WIRE_PRIVATE_MESSAGE = 2 };
enum { SENDER_MEMBER = 1, SENDER_EXTERNAL, SENDER_NEW_MEMBER_PROPOSAL, SENDER_NEW_MEMBER_COMMIT };

/* What is left to read. A read past the end makes it broken, and every later read too. */
struct reader {
    struct mig_bytes rest;
    bool broken;
};

static struct mig_bytes take(struct reader *reader, size_t size)
{
    struct mig_bytes taken = {reader->rest.data, size};

    if (reader->broken || size > reader->rest.size) {
        reader->broken = true;
        return (struct mig_bytes){0};
    }
    reader->rest.data += size;
    reader->rest.size -= size;
    return taken;
}

static uint64_t take_number(struct reader *reader, size_t size)
{
    const struct mig_bytes bytes = take(reader, size);
    uint64_t number = 0;

    for (size_t i = 0; i < bytes.size; i++)
        number = number << 8 | bytes.data[i];
    return number;
}

/* opaque<V>: the two high bits of the first byte say how long the length is (section 2.1.2). A
 * length written longer than it needs to be is malformed. */
static void skip_opaque(struct reader *reader)
{
    const uint64_t first = take_number(reader, 1);
    const unsigned form = (unsigned) (first >> 6);
    uint64_t length = first & 0x3f;

    if (form == 1) {
        length = length << 8 | take_number(reader, 1);
        reader->broken |= length < 0x40;
    } else if (form == 2) {
        length = length << 24 | take_number(reader, 3);
        reader->broken |= length < 0x4000;
    } else if (form == 3) {
        reader->broken = true;
    }
    take(reader, (size_t) length);
}

static void skip_sender(struct reader *reader)
{
    switch (take_number(reader, 1)) {
    case SENDER_MEMBER:
    case SENDER_EXTERNAL:
        take(reader, 4);
        break;
    case SENDER_NEW_MEMBER_PROPOSAL:
    case SENDER_NEW_MEMBER_COMMIT:
        break;
    default:
        reader->broken = true;
    }
}

int mig_mls_content_type(struct mig_bytes message, enum mig_mls_content *ret_content,
                         struct mig_error *err)
{
    struct reader reader = {.rest = message};
    const uint64_t version = take_number(&reader, 2);
    const uint64_t wire_format = take_number(&reader, 2);
    uint64_t content;

    if (version != MLS_VERSION_10 ||
        (wire_format != WIRE_PUBLIC_MESSAGE && wire_format != WIRE_PRIVATE_MESSAGE))
        return mig_fail(err, MIG_E_CORRUPT, "not an MLS 1.0 public or private message");
    skip_opaque(&reader); /* group_id */
    take(&reader, 8);     /* epoch */
    if (wire_format == WIRE_PUBLIC_MESSAGE) {
        skip_sender(&reader);
        skip_opaque(&reader); /* authenticated_data */
    }
    content = take_number(&reader, 1);
    if (reader.broken || content < MIG_MLS_APPLICATION || content > MIG_MLS_COMMIT)
        return mig_fail(err, MIG_E_CORRUPT, "the framing of an MLS message is broken");
    *ret_content = (enum mig_mls_content) content;
    return MIG_OK;
}
