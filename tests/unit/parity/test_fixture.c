/* The fixture of the parity tests. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char manifest_text[] =
    "{\"schema\":\"xmtp-migrate/manifest/1\",\"network\":\"local\","
    "\"source\":{\"dsn\":\"env:V3\"},"
    "\"nodes\":[{\"name\":\"alpha\",\"node_id\":100,\"dsn\":\"env:A\"}],"
    "\"keys\":{\"payer\":\"file:payer.key\",\"originator\":\"file:originator.key\"},"
    "\"policy\":{\"profile\":\"correct\",\"originator_ns\":\"%s\"},"
    "\"rates\":[{\"start\":\"2025-01-01T00:00:00Z\",\"message_fee\":100,\"storage_fee\":200}]}";

static const uint8_t group_id[16] = {0xaa, 0xbb};
/* An MLS private message: version, wire format, group id, epoch, content type "application". */
static const uint8_t data[] = {0, 1, 0, 2, 2, 0xaa, 0xbb, 0, 0, 0, 0, 0, 0, 0, 1, 1, 9, 9, 9};

static void open_signer(const char *key, struct mig_signer **ret_signer)
{
    cr_assert_eq(mig_signer_open(key, strlen(key), ret_signer, NULL), MIG_OK);
}

static void make_row(struct fixture *fixture, int64_t age_days)
{
    fixture->row = (struct mig_row){.table = MIG_TABLE_GROUP_MESSAGES, .id = ROW_ID};
    fixture->row.values[MIG_GM_CREATED_AT].number =
        (AS_OF_S - age_days * DAY_S) * 1000000 - MIG_PG_EPOCH_US;
    fixture->row.values[MIG_GM_GROUP_ID].bytes = (struct mig_bytes){group_id, sizeof group_id};
    fixture->row.values[MIG_GM_DATA].bytes = (struct mig_bytes){data, sizeof data};
    fixture->row.values[MIG_GM_HASH].bytes = (struct mig_bytes){group_id, sizeof group_id};
    fixture->row.values[MIG_GM_IS_COMMIT].is_null = true;
    fixture->row.values[MIG_GM_SENDER_HMAC].is_null = true;
    fixture->row.values[MIG_GM_SHOULD_PUSH].is_null = true;
}

static void pin_terms(struct fixture *fixture, enum fixture_clock clock)
{
    struct parity_terms *terms = &fixture->terms;

    *terms = (struct parity_terms){
        .manifest = fixture->manifest,
        .keeping = *fixture->manifest,
        .clock_is_the_rows = clock == CREATED,
        .as_of_ns = AS_OF_S * MIG_NS_PER_SECOND,
        .now_ns = AS_OF_S * MIG_NS_PER_SECOND,
    };
    terms->keeping.policy.keep_expired = true;
    terms->payer.address = *mig_signer_address(fixture->payer);
    terms->originator.address = *mig_signer_address(fixture->originator);
    mig_address_format(&terms->payer.address, terms->payer.text);
    mig_address_format(&terms->originator.address, terms->originator.text);
    cr_assert_eq(
        mig_transform_open(terms->manifest, terms->as_of_ns, NULL, NULL, &terms->transform, NULL),
        MIG_OK);
    cr_assert_eq(mig_transform_open(&terms->keeping, terms->as_of_ns, NULL, NULL,
                                    &terms->keeping_transform, NULL),
                 MIG_OK);
    cr_assert_eq(mig_transform_open(&terms->keeping, terms->as_of_ns, fixture->payer,
                                    fixture->originator, &fixture->maker, NULL),
                 MIG_OK);
}

void fixture_open(struct fixture *fixture, enum fixture_clock clock, int64_t age_days)
{
    struct mig_error err = MIG_ERROR_INIT;
    char text[sizeof manifest_text + 16];

    *fixture = (struct fixture){0};
    snprintf(text, sizeof text, manifest_text, clock == CREATED ? "created" : "migrated");
    cr_assert_eq(
        mig_manifest_parse(mig_bytes_of_text(text), "m.json", &fixture->manifest, NULL, &err),
        MIG_OK, "%s", err.message);
    open_signer(PAYER_KEY, &fixture->payer);
    open_signer(ORIGINATOR_KEY, &fixture->originator);
    open_signer(OTHER_KEY, &fixture->other);
    pin_terms(fixture, clock);
    make_row(fixture, age_days);
    cr_assert_eq(
        mig_transform_row(fixture->maker, &fixture->row, &fixture->arena, &fixture->made, &err),
        MIG_OK, "%s", err.message);
    cr_assert_eq(fixture->made.route, MIG_ROUTE_NODE);
    fixture->held = (struct mig_node_row){
        .sequence_id = ROW_ID,
        .topic = fixture->made.topic,
        .expiry = fixture->made.expiry_unixtime,
        .gateway_time_us = fixture->made.gateway_time_us,
        .has_envelope = true,
        .originator_envelope = fixture->made.originator_envelope,
    };
    strcpy(fixture->held.payer, fixture->terms.payer.text);
}

void fixture_close(struct fixture *fixture)
{
    parity_terms_release(&fixture->terms);
    mig_transform_free(&fixture->maker);
    mig_signer_free(&fixture->payer);
    mig_signer_free(&fixture->originator);
    mig_signer_free(&fixture->other);
    mig_manifest_free(&fixture->manifest);
    mig_arena_release(&fixture->arena);
    mig_arena_release(&fixture->scratch);
    mig_arena_release(&fixture->notes);
}

static void judge(struct fixture *fixture, const struct mig_envelope *planned,
                  const struct mig_node_row *held, bool required)
{
    struct mig_error err = MIG_ERROR_INIT;

    fixture->pair = (struct parity_pair){.planned = planned, .held = held, .twin = fixture->twin};
    cr_assert_eq(parity_judge(&fixture->terms, MIG_KIND_GROUP_MESSAGES, required, &fixture->scratch,
                              &fixture->notes, &fixture->pair, &err),
                 MIG_OK, "%s", err.message);
    if (!fixture->twin)
        mig_arena_release(&fixture->scratch);
}

static struct mig_envelope *plan(struct fixture *fixture)
{
    static struct mig_envelope planned;

    cr_assert_eq(
        mig_transform_row(fixture->terms.transform, &fixture->row, &fixture->arena, &planned, NULL),
        MIG_OK);
    return &planned;
}

void fixture_judge(struct fixture *fixture)
{
    judge(fixture, plan(fixture), &fixture->held, true);
}

void fixture_judge_sourceless(struct fixture *fixture)
{
    judge(fixture, NULL, &fixture->held, true);
}

void fixture_judge_absent(struct fixture *fixture, bool required)
{
    judge(fixture, plan(fixture), NULL, required);
}

struct mig_layers fixture_layers(struct fixture *fixture)
{
    struct mig_layers layers;

    cr_assert_eq(mig_originator_envelope_parse(fixture->held.originator_envelope, &fixture->arena,
                                               &layers, NULL),
                 MIG_OK);
    return layers;
}

static struct mig_bytes sign_anew(struct fixture *fixture, const struct mig_signer *signer,
                                  const uint8_t digest[MIG_DIGEST_SIZE])
{
    void *signature;

    cr_assert_eq(mig_arena_alloc(&fixture->arena, MIG_SIGNATURE_SIZE, &signature, NULL), MIG_OK);
    cr_assert_eq(mig_sign(signer, digest, signature, NULL), MIG_OK);
    return (struct mig_bytes){signature, MIG_SIGNATURE_SIZE};
}

void fixture_rebuild(struct fixture *fixture, const struct mig_layers *layers,
                     const struct mig_signer *payer, const struct mig_signer *originator)
{
    struct mig_layers new = *layers;
    uint8_t digest[MIG_DIGEST_SIZE];

    if (payer) {
        mig_payer_digest(new.payer_layer.target_originator, new.payer_layer.client_envelope,
                         digest);
        new.payer_layer.signature = sign_anew(fixture, payer, digest);
    }
    mig_payer_envelope_build(&new.payer_layer, &fixture->arena, &new.unsigned_layer.payer_envelope,
                             NULL);
    mig_unsigned_envelope_build(&new.unsigned_layer, &fixture->arena, &new.unsigned_envelope, NULL);
    if (originator) {
        mig_originator_digest(new.unsigned_envelope, digest);
        new.originator_signature = sign_anew(fixture, originator, digest);
    }
    mig_originator_envelope_build(new.unsigned_envelope, new.originator_signature, &fixture->arena,
                                  &fixture->held.originator_envelope, NULL);
}

const char *fixture_notes(const struct fixture *fixture)
{
    static char text[1024];
    size_t used = 0;

    text[0] = '\0';
    for (const struct parity_note *note = fixture->pair.notes; note; note = note->next)
        used += (size_t) snprintf(text + used, sizeof text - used, "%s%s/%s", used ? " " : "",
                                  note->what, note->where);
    return text;
}
