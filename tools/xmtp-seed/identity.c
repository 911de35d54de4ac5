/* Identity updates, field by field: the ordinary ones, the odd but legal, and the broken. */
#include "tools/xmtp-seed/seed.h"

#include <stdio.h>
#include <string.h>

enum { ACTION_CREATE_INBOX = 1, ACTION_ADD, ACTION_REVOKE, ACTION_RECOVERY };

static const char hex_digits[] = "0123456789abcdef";

static void put_address(struct seed_maker *maker, uint32_t field)
{
    char text[42] = "0x";

    for (size_t i = 2; i < sizeof text; i++)
        text[i] = hex_digits[seed_random_next(&maker->random) % 16];
    seed_put_bytes(&maker->writer, field, text, sizeof text);
}

/* A Signature by a wallet. */
static void put_wallet_signature(struct seed_maker *maker, uint32_t field)
{
    struct seed_writer *writer = &maker->writer;
    const size_t signature = writer->buffer.size;

    seed_put_random_bytes(writer, 1, &maker->random, 65);
    seed_put_message(writer, 1, signature); /* erc_191 */
    seed_put_message(writer, field, signature);
}

/* A Signature by a smart contract's wallet, which may be of any size. */
static void put_contract_signature(struct seed_maker *maker, uint32_t field, size_t size)
{
    static const char account[] = "eip155:1:0x00000000000000000000000000000000000000aa";
    struct seed_writer *writer = &maker->writer;
    const size_t signature = writer->buffer.size;

    seed_put_bytes(writer, 1, account, sizeof account - 1);
    seed_put_integer(writer, 2, 19000000);
    seed_put_random_bytes(writer, 3, &maker->random, size);
    seed_put_message(writer, 2, signature); /* erc_6492 */
    seed_put_message(writer, field, signature);
}

static void put_installation_signature(struct seed_maker *maker, uint32_t field)
{
    struct seed_writer *writer = &maker->writer;
    const size_t signature = writer->buffer.size;

    seed_put_random_bytes(writer, 1, &maker->random, 64);
    seed_put_random_bytes(writer, 2, &maker->random, 32);
    seed_put_message(writer, 3, signature); /* installation_key */
    seed_put_message(writer, field, signature);
}

static void end_action(struct seed_writer *writer, uint32_t kind, size_t mark)
{
    seed_put_message(writer, kind, mark);
    seed_put_message(writer, 1, mark);
}

static void put_create(struct seed_maker *maker)
{
    struct seed_writer *writer = &maker->writer;
    const size_t action = writer->buffer.size;

    put_address(maker, 1);
    seed_put_integer(writer, 2, seed_random_next(&maker->random) >> 1);
    put_wallet_signature(maker, 3);
    seed_put_integer(writer, 4, 1);
    end_action(writer, ACTION_CREATE_INBOX, action);
}

static void put_add(struct seed_maker *maker)
{
    struct seed_writer *writer = &maker->writer;
    const size_t action = writer->buffer.size;

    seed_put_random_bytes(writer, 2, &maker->random, 32);
    seed_put_message(writer, 1, action); /* the new member: an installation */
    put_wallet_signature(maker, 2);
    put_installation_signature(maker, 3);
    end_action(writer, ACTION_ADD, action);
}

static void put_revoke(struct seed_maker *maker)
{
    struct seed_writer *writer = &maker->writer;
    const size_t action = writer->buffer.size;

    seed_put_random_bytes(writer, 2, &maker->random, 32);
    seed_put_message(writer, 1, action);
    put_wallet_signature(maker, 2);
    end_action(writer, ACTION_REVOKE, action);
}

static void put_recovery(struct seed_maker *maker, size_t contract_signature)
{
    struct seed_writer *writer = &maker->writer;
    const size_t action = writer->buffer.size;

    put_address(maker, 1);
    if (contract_signature > 0)
        put_contract_signature(maker, 2, contract_signature);
    else
        put_wallet_signature(maker, 2);
    seed_put_integer(writer, 3, 1);
    end_action(writer, ACTION_RECOVERY, action);
}

static void put_actions(struct seed_maker *maker, enum seed_update update)
{
    switch (update) {
    case SEED_UPDATE_ADD:
        put_add(maker);
        break;
    case SEED_UPDATE_REVOKE:
        put_revoke(maker);
        break;
    case SEED_UPDATE_RECOVERY:
        put_recovery(maker, 0);
        break;
    case SEED_UPDATE_LARGE:
        put_recovery(maker, (size_t) seed_random_between(&maker->random, 150000, 250000));
        break;
    default:
        put_create(maker);
        put_add(maker);
    }
}

static void put_inbox_id(struct seed_writer *writer, struct mig_bytes inbox_id, bool utf8)
{
    char text[2 * 64 + 1] = "";

    if (inbox_id.size <= 64)
        mig_hex_encode(inbox_id, text);
    if (!utf8)
        memcpy(text, "\xc3\x28\xff", 4);
    seed_put_bytes(writer, 3, text, strlen(text));
}

int seed_identity_update(struct seed_maker *maker, struct mig_bytes inbox_id,
                         enum seed_update update, int64_t time_ns, struct mig_bytes *ret_update,
                         struct mig_error *err)
{
    struct seed_writer *writer = &maker->writer;
    int result;

    if (update == SEED_UPDATE_GARBAGE) {
        seed_put_number(writer, 0, 1); /* field number 0 is nobody's */
        seed_put_random(writer, &maker->random, 300);
        return seed_finish(writer, &maker->arena, ret_update, err);
    }
    if (update == SEED_UPDATE_OUT_OF_ORDER)
        put_inbox_id(writer, inbox_id, true);
    put_actions(maker, update);
    seed_put_integer(writer, 2, (uint64_t) time_ns);
    if (update != SEED_UPDATE_OUT_OF_ORDER)
        put_inbox_id(writer, inbox_id, update != SEED_UPDATE_NOT_UTF8);
    if (update == SEED_UPDATE_UNKNOWN_FIELDS) {
        seed_put_integer(writer, 77, 5);
        seed_put_random_bytes(writer, 1999, &maker->random, 40);
    }
    if (update == SEED_UPDATE_WIRE_TYPE)
        seed_put_number(writer, (4 << 3) | 7, 1);
    result = seed_finish(writer, &maker->arena, ret_update, err);
    if (result == MIG_OK && update == SEED_UPDATE_CUT)
        ret_update->size -= 5;
    return result;
}
