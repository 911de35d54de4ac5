/* Writes one small bundle for the tests of what reads bundles: bundle_trial rows|envelopes PATH.
 * Three group messages: one rejected, one a commit, one expired. Not installed. */
#include "libmigrate/bundle/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(text) ((struct mig_bytes){(const uint8_t *) (text), sizeof(text) - 1})
#define ROWS 3

static int report(const struct mig_error *err)
{
    fprintf(stderr, "bundle_trial: %s\n", err->message);
    return 1;
}

static int make_rows(struct mig_part *part, struct mig_error *err)
{
    for (int i = 0; i < ROWS; i++) {
        struct mig_row *row;

        if (mig_part_add_row(part, &row, err))
            return err->code;
        row->table = MIG_TABLE_GROUP_MESSAGES;
        row->id = i + 1;
        for (size_t column = 0; column < MIG_COLUMNS_MAX; column++)
            row->values[column].is_null = true;
        row->values[MIG_GM_CREATED_AT] = (struct mig_value){.number = 1000000};
        row->values[MIG_GM_GROUP_ID] = (struct mig_value){.bytes = BYTES("0123456789abcdef")};
        row->values[MIG_GM_DATA] = (struct mig_value){.bytes = i == 0 ? BYTES("") : BYTES("hi")};
    }
    part->last_id = 10;
    part->settled = true;
    part->rows_sent = ROWS;
    return MIG_OK;
}

static int make_envelopes(struct mig_part *part, struct mig_error *err)
{
    const struct mig_row *rows = part->rows;
    const struct mig_envelope envelopes[ROWS] = {
        {.row = &rows[0],
         .sequence_id = 1,
         .kind = MIG_KIND_GROUP_MESSAGES,
         .route = MIG_ROUTE_REJECTED,
         .reason = MIG_REASON_DATA_EMPTY},
        {.row = &rows[1],
         .sequence_id = 2,
         .kind = MIG_KIND_COMMIT_MESSAGES,
         .route = MIG_ROUTE_CHAIN,
         .findings = 1u << MIG_FINDING_IS_COMMIT_DISAGREES,
         .topic = BYTES("\0"
                        "0123456789abcdef"),
         .client_envelope = BYTES("\x0a\x13\x12\x11\0"
                                  "0123456789abcdef\x12\x06\x0a\x04\x0a\x02hi")},
        {.row = &rows[2],
         .sequence_id = 3,
         .kind = MIG_KIND_GROUP_MESSAGES,
         .route = MIG_ROUTE_EXPIRED},
    };

    part->envelopes = malloc(sizeof envelopes);
    if (!part->envelopes)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    memcpy(part->envelopes, envelopes, sizeof envelopes);
    for (size_t i = 0; i < ROWS; i++)
        mig_tally_envelope(&part->tally, &envelopes[i]);
    return MIG_OK;
}

int main(int argc, char **argv)
{
    mig_cleanup(mig_bundle_writer_free) struct mig_bundle_writer *writer = NULL;
    mig_cleanup(mig_blockers_release) struct mig_blockers blockers = {0};
    mig_cleanup(mig_part_free) struct mig_part *part = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    struct mig_bundle_facts facts = {
        .stage = MIG_STAGE_ROWS,
        .run = "00112233445566778899aabbccddeeff",
        .network = "trial",
        .as_of_ns = INT64_C(1767225600000000000),
        .profile = "correct",
    };

    if (argc != 3)
        return 2;
    memset(facts.policy_digest, 'a', sizeof facts.policy_digest - 1);
    if (strcmp(argv[1], "envelopes") == 0) {
        facts.stage = MIG_STAGE_ENVELOPES;
        strcpy(facts.payer, "0xD5EB2176AA3A274e03e3BDa0c7E77Fae939fEB49");
        strcpy(facts.originator, "0xAB9E2AeFFd86DbdEfC064ff8463385198a387B22");
    }
    if (mig_bundle_create(argv[2], &facts, &writer, &err) ||
        mig_part_new(MIG_TABLE_GROUP_MESSAGES, 1, &part, &err) || make_rows(part, &err) ||
        (facts.stage == MIG_STAGE_ENVELOPES && make_envelopes(part, &err)) ||
        mig_blockers_add(&blockers, "installation 0a0b", "its key package is old", "wait", &err) ||
        mig_bundle_add(writer, part, &err) || mig_bundle_commit(writer, &blockers, &err))
        return report(&err);
    return 0;
}
