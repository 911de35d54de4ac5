/* What an envelope's bytes are. Layers are tried from the outermost; protobuf lets many wrong
 * readings pass, so one only counts when what it must hold is there. */
#include "libmigrate/transform/transform.h"
#include "tools/xmtp-inspect/inspect.h"

#include <stdio.h>

/* ---- signatures --------------------------------------------------------------------------- */

static int add_signature(struct json_object *into, const uint8_t digest[MIG_DIGEST_SIZE],
                         struct mig_bytes signature, struct mig_error *err)
{
    char text[MIG_ADDRESS_TEXT_SIZE];
    struct mig_error why = MIG_ERROR_INIT;
    struct mig_address signer;
    int code;

    if ((code =
             inspect_add_bytes(into, "digest", (struct mig_bytes){digest, MIG_DIGEST_SIZE}, err)) ||
        (code = inspect_add_bytes(into, "signature", signature, err)))
        return code;
    if (signature.size != MIG_SIGNATURE_SIZE)
        mig_fail(&why, MIG_E_CORRUPT, "%zu bytes where a signature has %d", signature.size,
                 MIG_SIGNATURE_SIZE);
    else if (mig_recover(digest, signature.data, &signer, &why) == MIG_OK)
        mig_address_format(&signer, text);
    inspect_add_text(into, "signer", why.code == MIG_OK ? text : "none");
    if (why.code != MIG_OK)
        inspect_add_text(into, "signature_fault", why.message);
    return MIG_OK;
}

static void add_instant(struct json_object *into, const char *name, int64_t unix_ns)
{
    char text[MIG_TIME_TEXT_SIZE];

    mig_time_format(unix_ns, text);
    inspect_add_text(into, name, text);
}

/* ---- payloads ----------------------------------------------------------------------------- */

static int add_mls(struct json_object *into, struct mig_bytes data, struct mig_error *err)
{
    static const char *const names[] = {[MIG_MLS_APPLICATION] = "application",
                                        [MIG_MLS_PROPOSAL] = "proposal",
                                        [MIG_MLS_COMMIT] = "commit"};
    enum mig_mls_content content;

    inspect_add_text(into, "mls_content",
                     mig_mls_content_type(data, &content, NULL) == MIG_OK ? names[content]
                                                                          : "unreadable");
    return inspect_add_bytes(into, "data", data, err);
}

static int add_group_message(struct json_object *into, struct mig_bytes payload,
                             struct mig_arena *arena, struct mig_error *err)
{
    struct mig_group_message message;
    int code;

    if ((code = mig_group_message_parse(payload, arena, &message, err)) ||
        (code = add_mls(into, message.data, err)) ||
        (code = inspect_add_bytes(into, "sender_hmac", message.sender_hmac, err)))
        return code;
    json_object_object_add(into, "should_push", json_object_new_boolean(message.should_push));
    return MIG_OK;
}

static int add_welcome(struct json_object *into, struct mig_bytes payload, struct mig_arena *arena,
                       struct mig_error *err)
{
    struct mig_welcome welcome;
    int code;

    if ((code = mig_welcome_parse(payload, arena, &welcome, err)))
        return code;
    inspect_add_text(into, "version", welcome.pointer ? "welcome_pointer" : "v1");
    inspect_add_signed(into, "wrapper_algorithm", welcome.wrapper_algorithm);
    if ((code = inspect_add_bytes(into, "installation_key", welcome.installation_key, err)) ||
        (code = inspect_add_bytes(into, "hpke_public_key", welcome.hpke_public_key, err)) ||
        (code = inspect_add_bytes(into, welcome.pointer ? "welcome_pointer" : "data", welcome.data,
                                  err)))
        return code;
    return welcome.pointer ? MIG_OK
                           : inspect_add_bytes(into, "welcome_metadata", welcome.metadata, err);
}

static int add_key_package(struct json_object *into, struct mig_bytes payload,
                           struct mig_arena *arena, struct mig_error *err)
{
    struct mig_bytes key_package;
    int code = mig_key_package_parse(payload, arena, &key_package, err);

    return code ? code : inspect_add_bytes(into, "key_package", key_package, err);
}

static int add_identity_update(struct json_object *into, struct mig_bytes payload,
                               struct mig_arena *arena, struct mig_error *err)
{
    struct mig_identity_update update;
    struct json_object *actions;
    int code = mig_identity_update_parse(payload, arena, &update, err);

    if (code != MIG_OK)
        return code;
    json_object_object_add(into, "inbox_id",
                           json_object_new_string_len((const char *) update.inbox_id.data,
                                                      (int) update.inbox_id.size));
    inspect_add_number(into, "client_timestamp_ns", update.client_timestamp_ns);
    actions = inspect_add_object(into, "actions");
    inspect_add_number(actions, "create_inbox", update.created);
    inspect_add_number(actions, "add", update.added);
    inspect_add_number(actions, "revoke", update.revoked);
    inspect_add_number(actions, "change_recovery_address", update.recovery_changed);
    return inspect_add_bytes(into, "identity_update", payload, err);
}

/* By the number of the member in ClientEnvelope; add is NULL for what no V3 row becomes. */
static const struct {
    const char *name;
    int (*add)(struct json_object *into, struct mig_bytes payload, struct mig_arena *arena,
               struct mig_error *err);
} payloads[] = {
    [2] = {"group_message", add_group_message},
    [3] = {"welcome_message", add_welcome},
    [4] = {"upload_key_package", add_key_package},
    [5] = {"identity_update", add_identity_update},
    [6] = {"payer_report", NULL},
    [7] = {"payer_report_attestation", NULL},
};

/* ---- layers ------------------------------------------------------------------------------- */

/* A bare client envelope is only believed with a payload that can be read; inside a signed layer an
 * unreadable one is worth a look. */
static int add_payload(struct json_object *into, const struct mig_layers *layers,
                       struct mig_arena *arena, struct mig_error *err)
{
    const bool is_signed = layers->payer_layer.client_envelope.size > 0;
    struct mig_error fault = MIG_ERROR_INIT;

    if (!payloads[layers->payload_field].add)
        return inspect_add_bytes(into, "bytes", layers->payload, err);
    if (payloads[layers->payload_field].add(into, layers->payload, arena, &fault) == MIG_OK)
        return MIG_OK;
    if (fault.code != MIG_E_CORRUPT || !is_signed)
        return mig_fail(err, fault.code, "%s", fault.message);
    inspect_add_text(into, "fault", fault.message);
    return inspect_add_bytes(into, "bytes", layers->payload, err);
}

static int add_client(struct json_object *document, const struct mig_layers *layers,
                      struct mig_arena *arena, struct mig_error *err)
{
    static const char *const topics[] = {"group_messages", "welcome_messages", "identity_updates",
                                         "key_packages"};
    struct json_object *client = inspect_add_object(document, "client_envelope"), *payload;
    const struct mig_bytes topic = layers->topic;
    const uint32_t field = layers->payload_field;
    int code;

    if (field >= mig_count_of(payloads) || !payloads[field].name)
        return mig_fail(err, MIG_E_CORRUPT, "a client envelope without a payload");
    if ((code = inspect_add_bytes(client, "topic", topic, err)))
        return code;
    inspect_add_text(client, "topic_kind",
                     topic.data[0] < mig_count_of(topics) ? topics[topic.data[0]] : "unknown");
    code = inspect_add_bytes(client, "topic_identifier",
                             (struct mig_bytes){topic.data + 1, topic.size - 1}, err);
    if (code != MIG_OK)
        return code;
    payload = inspect_add_object(client, "payload");
    inspect_add_text(payload, "kind", payloads[field].name);
    inspect_add_number(payload, "size_bytes", layers->payload.size);
    return add_payload(payload, layers, arena, err);
}

static int add_payer(struct json_object *document, const struct mig_layers *layers,
                     struct mig_arena *arena, struct mig_error *err)
{
    const struct mig_payer_layer *layer = &layers->payer_layer;
    struct json_object *payer = inspect_add_object(document, "payer_envelope");
    uint8_t digest[MIG_DIGEST_SIZE];
    int code;

    if (layer->signature.size == 0)
        return mig_fail(err, MIG_E_CORRUPT, "a payer envelope without a signature");
    inspect_add_number(payer, "target_originator", layer->target_originator);
    inspect_add_number(payer, "message_retention_days", layer->retention_days);
    mig_payer_digest(layer->target_originator, layer->client_envelope, digest);
    if ((code = add_signature(payer, digest, layer->signature, err)))
        return code;
    return add_client(document, layers, arena, err);
}

static int add_originator(struct json_object *document, const struct mig_layers *layers,
                          struct mig_arena *arena, struct mig_error *err)
{
    const struct mig_unsigned_layer *layer = &layers->unsigned_layer;
    struct json_object *originator = inspect_add_object(document, "originator_envelope");
    uint8_t digest[MIG_DIGEST_SIZE];
    int code;

    inspect_add_number(originator, "originator", layer->originator);
    inspect_add_number(originator, "sequence_id", layer->sequence_id);
    inspect_add_signed(originator, "originator_ns", layer->originator_ns);
    add_instant(originator, "originator_time", layer->originator_ns);
    inspect_add_number(originator, "base_fee_picodollars", layer->base_fee_picodollars);
    inspect_add_number(originator, "congestion_fee_picodollars", layer->congestion_fee_picodollars);
    inspect_add_number(originator, "expiry_unixtime", layer->expiry_unixtime);
    if (layer->expiry_unixtime <= INT64_MAX / MIG_NS_PER_SECOND)
        add_instant(originator, "expiry_time",
                    (int64_t) layer->expiry_unixtime * MIG_NS_PER_SECOND);
    if (layers->originator_signature.size > 0) {
        mig_originator_digest(layers->unsigned_envelope, digest);
        code = add_signature(originator, digest, layers->originator_signature, err);
    } else if (layers->transaction_hash.size > 0) {
        code = inspect_add_bytes(originator, "transaction_hash", layers->transaction_hash, err);
    } else {
        code = mig_fail(err, MIG_E_CORRUPT, "an originator envelope without a proof");
    }
    return code ? code : add_payer(document, layers, arena, err);
}

static const struct {
    const char *name;
    int (*parse)(struct mig_bytes envelope, struct mig_arena *arena, struct mig_layers *ret_layers,
                 struct mig_error *err);
    int (*add)(struct json_object *document, const struct mig_layers *layers,
               struct mig_arena *arena, struct mig_error *err);
} kinds[] = {
    {"originator", mig_originator_envelope_parse, add_originator},
    {"payer", mig_payer_envelope_parse, add_payer},
    {"client", mig_client_envelope_parse, add_client},
};

int inspect_describe_envelope(struct mig_bytes bytes, struct json_object **ret_document,
                              struct mig_error *err)
{
    mig_cleanup(mig_arena_release) struct mig_arena arena = MIG_ARENA_INIT;
    char faults[3][160];

    for (size_t i = 0; i < mig_count_of(kinds); i++) {
        mig_cleanup(inspect_put) struct json_object *document = json_object_new_object();
        struct mig_error fault = MIG_ERROR_INIT;
        struct mig_layers layers;

        if (!document)
            return mig_fail(err, MIG_E_NOMEM, "cannot describe an envelope: out of memory");
        inspect_add_text(document, "schema", "xmtp-migrate/envelope/1");
        inspect_add_text(document, "layer", kinds[i].name);
        inspect_add_number(document, "size_bytes", bytes.size);
        if (kinds[i].parse(bytes, &arena, &layers, &fault) == MIG_OK &&
            kinds[i].add(document, &layers, &arena, &fault) == MIG_OK) {
            *ret_document = mig_take(document);
            return MIG_OK;
        }
        if (fault.code == MIG_E_NOMEM)
            return mig_fail(err, MIG_E_NOMEM, "%s", fault.message);
        snprintf(faults[i], sizeof faults[i], "%.150s", fault.message);
    }
    mig_fail(err, MIG_E_CORRUPT, "%zu bytes are no envelope: %s; %s; %s", bytes.size, faults[0],
             faults[1], faults[2]);
    return mig_hint(err, "give the whole bytes of an originator, payer or client envelope in hex");
}
