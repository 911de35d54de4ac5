/*
 * The same facts whose digest mig_manifest_facts() takes, one by one, as a JSON object of names and
 * values: kept with a run, so that it can be told what differs, not only that something does.
 */
#include "libmigrate/manifest/manifest_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put_json(struct json_object **object)
{
    json_object_put(*object);
}

/* Takes value. */
static bool add(struct json_object *object, struct json_object *value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool add(struct json_object *object, struct json_object *value, const char *format, ...)
{
    char name[96];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    if (value && json_object_object_add(object, name, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

static bool add_text(struct json_object *object, const char *name, const char *text)
{
    return add(object, json_object_new_string(text), "%s", name);
}

static bool add_rate(struct json_object *object, size_t index, const struct mig_rate *rate)
{
    char start[MIG_TIME_TEXT_SIZE];

    mig_time_format(rate->start_ns, start);
    return add(object, json_object_new_string(start), "rates[%zu].start", index) &&
           add(object, json_object_new_uint64(rate->message_fee), "rates[%zu].message_fee",
               index) &&
           add(object, json_object_new_uint64(rate->storage_fee), "rates[%zu].storage_fee", index);
}

/* NULL when memory is out. */
static struct json_object *to_json(const struct mig_manifest *manifest)
{
    const struct mig_policy *policy = &manifest->policy;
    struct json_object *object = json_object_new_object();
    bool there = object && add_text(object, "network", manifest->network) &&
                 add_text(object, "profile", mig_profile_name(policy->profile)) &&
                 add_text(object, "originator_ns",
                          policy->clock == MIG_CLOCK_MIGRATED ? "migrated" : "created") &&
                 add_text(object, "expired", policy->keep_expired ? "keep" : "drop");

    for (int kind = 0; there && kind < MIG_KIND_COUNT; kind++)
        if (mig_kind_info((enum mig_kind) kind)->expires)
            there = add(object, json_object_new_int64(policy->retention_days[kind]),
                        "retention_days.%s", mig_kind_info((enum mig_kind) kind)->name);
    for (size_t i = 0; there && i < manifest->rate_count; i++)
        there = add_rate(object, i, &manifest->rates[i]);
    if (there)
        return object;
    json_object_put(object);
    return NULL;
}

int mig_manifest_print_pinned(const struct mig_manifest *manifest, struct mig_buffer *text,
                              struct mig_error *err)
{
    mig_cleanup(put_json) struct json_object *object = to_json(manifest);
    const char *printed =
        object ? json_object_to_json_string_ext(object, JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;

    return printed ? mig_buffer_print(text, err, "%s", printed)
                   : mig_fail(err, MIG_E_NOMEM, "out of memory");
}

/* "none" for what one side does not have. */
static int tell(struct mig_buffer *text, const char *name, struct json_object *then,
                struct json_object *now, const char *there, struct mig_error *err)
{
    return mig_buffer_print(text, err, "%s%s: %s in %s, %s in the manifest", text->size ? "; " : "",
                            name, then ? json_object_get_string(then) : "none", there,
                            now ? json_object_get_string(now) : "none");
}

int mig_manifest_compare_pinned(const struct mig_manifest *manifest, const char *pinned,
                                const char *there, struct mig_buffer *text, struct mig_error *err)
{
    mig_cleanup(put_json) struct json_object *now = to_json(manifest);
    mig_cleanup(put_json) struct json_object *then = json_tokener_parse(pinned);
    int result = MIG_OK;

    if (!now)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    if (!json_object_is_type(then, json_type_object))
        return mig_fail(err, MIG_E_CORRUPT, "the facts of %s can't be read", there);
    json_object_object_foreach(now, name, value)
    {
        struct json_object *old = NULL;

        json_object_object_get_ex(then, name, &old);
        if (result == MIG_OK && (!old || strcmp(json_object_to_json_string(old),
                                                json_object_to_json_string(value)) != 0))
            result = tell(text, name, old, value, there, err);
    }
    json_object_object_foreach(then, gone, old)
    {
        if (result == MIG_OK && !json_object_object_get_ex(now, gone, NULL))
            result = tell(text, gone, old, NULL, there, err);
    }
    return result;
}
