/* MLS messages as far as anybody but their receivers can read them: framing, and noise inside. */
#include "tools/xmtp-seed/seed.h"

static void put_public(struct seed_maker *maker, const struct seed_mls *message)
{
    struct seed_writer *writer = &maker->writer;

    seed_put_number(writer, message->sender, 1);
    if (message->sender == SEED_SENDER_MEMBER || message->sender == SEED_SENDER_EXTERNAL)
        seed_put_number(writer, seed_random_between(&maker->random, 0, 250), 4);
    seed_put_length(writer, 0, false); /* authenticated data */
    seed_put_number(writer, message->content, 1);
}

static void put_private(struct seed_maker *maker, const struct seed_mls *message)
{
    struct seed_writer *writer = &maker->writer;

    seed_put_number(writer, message->content, 1);
    seed_put_length(writer, 0, false); /* authenticated data */
    seed_put_length(writer, 28, false);
    seed_put_random(writer, &maker->random, 28); /* who sent it, encrypted */
}

int seed_mls_message(struct seed_maker *maker, struct mig_bytes group_id,
                     const struct seed_mls *message, struct mig_bytes *ret_message,
                     struct mig_error *err)
{
    struct seed_writer *writer = &maker->writer;
    const size_t body =
        (size_t) seed_random_between(&maker->random, message->body_min, message->body_max);

    seed_put_number(writer, message->version, 2);
    seed_put_number(writer, message->wire_format, 2);
    seed_put_length(writer, group_id.size, message->wide_length);
    seed_put(writer, group_id.data, group_id.size);
    if (message->cut) {
        seed_put_random(writer, &maker->random, 3);
        return seed_finish(writer, &maker->arena, ret_message, err);
    }
    seed_put_number(writer, seed_random_between(&maker->random, 0, 500), 8); /* epoch */
    if (message->wire_format == SEED_MLS_PUBLIC)
        put_public(maker, message);
    else
        put_private(maker, message);
    seed_put_length(writer, body, false);
    seed_put_random(writer, &maker->random, body);
    return seed_finish(writer, &maker->arena, ret_message, err);
}
