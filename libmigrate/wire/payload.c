/* Taking payloads apart, for people who look at an envelope: what build.c puts together. The bytes
 * may come from anywhere. */
#include "libmigrate/wire/wire_private.h"

#include "identity.pb-c.h"
#include "mls.pb-c.h"

int mig_group_message_parse(struct mig_bytes payload, struct mig_arena *arena,
                            struct mig_group_message *ret_message, struct mig_error *err)
{
    const Xmtp__Mls__Api__V1__GroupMessageInput *input;
    ProtobufCMessage *message;
    int result = wire_unpack(&xmtp__mls__api__v1__group_message_input__descriptor, payload,
                             "a group message", arena, &message, err);

    if (result != MIG_OK)
        return result;
    input = (const void *) message;
    if (input->version_case != XMTP__MLS__API__V1__GROUP_MESSAGE_INPUT__VERSION_V1)
        return mig_fail(err, MIG_E_CORRUPT, "a group message of no known version");
    *ret_message = (struct mig_group_message){
        .data = wire_bytes(input->v1->data),
        .sender_hmac = wire_bytes(input->v1->sender_hmac),
        .should_push = input->v1->should_push,
    };
    return MIG_OK;
}

static struct mig_welcome plain_welcome(const Xmtp__Mls__Api__V1__WelcomeMessageInput__V1 *message)
{
    return (struct mig_welcome){
        .installation_key = wire_bytes(message->installation_key),
        .data = wire_bytes(message->data),
        .hpke_public_key = wire_bytes(message->hpke_public_key),
        .metadata = wire_bytes(message->welcome_metadata),
        .wrapper_algorithm = (int32_t) message->wrapper_algorithm,
    };
}

static struct mig_welcome
pointing_welcome(const Xmtp__Mls__Api__V1__WelcomeMessageInput__WelcomePointer *message)
{
    return (struct mig_welcome){
        .pointer = true,
        .installation_key = wire_bytes(message->installation_key),
        .data = wire_bytes(message->welcome_pointer),
        .hpke_public_key = wire_bytes(message->hpke_public_key),
        .wrapper_algorithm = (int32_t) message->wrapper_algorithm,
    };
}

int mig_welcome_parse(struct mig_bytes payload, struct mig_arena *arena,
                      struct mig_welcome *ret_welcome, struct mig_error *err)
{
    const Xmtp__Mls__Api__V1__WelcomeMessageInput *input;
    ProtobufCMessage *message;
    int result = wire_unpack(&xmtp__mls__api__v1__welcome_message_input__descriptor, payload,
                             "a welcome", arena, &message, err);

    if (result != MIG_OK)
        return result;
    input = (const void *) message;
    if (input->version_case == XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__VERSION_V1)
        *ret_welcome = plain_welcome(input->v1);
    else if (input->version_case ==
             XMTP__MLS__API__V1__WELCOME_MESSAGE_INPUT__VERSION_WELCOME_POINTER)
        *ret_welcome = pointing_welcome(input->welcome_pointer);
    else
        return mig_fail(err, MIG_E_CORRUPT, "a welcome of no known version");
    return MIG_OK;
}

int mig_key_package_parse(struct mig_bytes payload, struct mig_arena *arena,
                          struct mig_bytes *ret_key_package, struct mig_error *err)
{
    const Xmtp__Mls__Api__V1__UploadKeyPackageRequest *request;
    ProtobufCMessage *message;
    int result = wire_unpack(&xmtp__mls__api__v1__upload_key_package_request__descriptor, payload,
                             "a key package", arena, &message, err);

    if (result != MIG_OK)
        return result;
    request = (const void *) message;
    if (!request->key_package)
        return mig_fail(err, MIG_E_CORRUPT, "a key package with nothing inside");
    *ret_key_package = wire_bytes(request->key_package->key_package_tls_serialized);
    return MIG_OK;
}

int mig_identity_update_parse(struct mig_bytes payload, struct mig_arena *arena,
                              struct mig_identity_update *ret_update, struct mig_error *err)
{
    const Xmtp__Identity__Associations__IdentityUpdate *update;
    struct mig_identity_update parsed;
    ProtobufCMessage *message;
    int result;

    if (!mig_identity_update_valid(payload))
        return mig_fail(err, MIG_E_CORRUPT, "%zu bytes are not an identity update", payload.size);
    result = wire_unpack(&xmtp__identity__associations__identity_update__descriptor, payload,
                         "an identity update", arena, &message, err);
    if (result != MIG_OK)
        return result;
    update = (const void *) message;
    parsed = (struct mig_identity_update){
        .inbox_id = mig_bytes_of_text(update->inbox_id),
        .client_timestamp_ns = update->client_timestamp_ns,
    };
    for (size_t i = 0; i < update->n_actions; i++) {
        size_t *const counts[] = {NULL, &parsed.created, &parsed.added, &parsed.revoked,
                                  &parsed.recovery_changed};
        const size_t kind = (size_t) update->actions[i]->kind_case;

        if (kind > 0 && kind < mig_count_of(counts))
            ++*counts[kind];
    }
    *ret_update = parsed;
    return MIG_OK;
}
