/* What stands in the way of a cutover, listed for people: bundles carry it, accounts show it. */
#include "libmigrate/bundle/bundle.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static void free_blocker(struct mig_blocker *blocker)
{
    mig_free_text(&blocker->subject);
    mig_free_text(&blocker->what);
    mig_free_text(&blocker->remedy);
}

int mig_blockers_add(struct mig_blockers *blockers, const char *subject, const char *what,
                     const char *remedy, struct mig_error *err)
{
    struct mig_blocker blocker = {strdup(subject), strdup(what), strdup(remedy)};
    const size_t count = blockers->count;
    struct mig_blocker *items = blockers->items;

    /* Doubles at powers of two: the count alone tells when there is no room. */
    if ((count & (count - 1)) == 0)
        items = reallocarray(items, count ? count * 2 : 1, sizeof *items);
    if (items)
        blockers->items = items;
    if (!items || !blocker.subject || !blocker.what || !blocker.remedy) {
        free_blocker(&blocker);
        return mig_fail(err, MIG_E_NOMEM, "cannot list blocker '%s': out of memory", subject);
    }
    items[blockers->count++] = blocker;
    return MIG_OK;
}

void mig_blockers_release(struct mig_blockers *blockers)
{
    for (size_t i = 0; i < blockers->count; i++)
        free_blocker(&blockers->items[i]);
    free(blockers->items);
    *blockers = (struct mig_blockers){0};
}

int mig_blockers_append(struct mig_blockers *blockers, const struct mig_blockers *more,
                        struct mig_error *err)
{
    int result = MIG_OK;

    for (size_t i = 0; i < more->count && result == MIG_OK; i++)
        result = mig_blockers_add(blockers, more->items[i].subject, more->items[i].what,
                                  more->items[i].remedy, err);
    return result;
}

struct json_object *mig_blockers_to_json(const struct mig_blockers *blockers)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < blockers->count; i++) {
        struct json_object *item = json_object_new_object();

        json_object_object_add(item, "subject", json_object_new_string(blockers->items[i].subject));
        json_object_object_add(item, "what", json_object_new_string(blockers->items[i].what));
        json_object_object_add(item, "remedy", json_object_new_string(blockers->items[i].remedy));
        json_object_array_add(list, item);
    }
    return list;
}
