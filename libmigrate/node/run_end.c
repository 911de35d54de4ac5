/* How a run ended: what blocks it and what is wrong with it, in our books and read back. */
#include "libmigrate/node/node_private.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *texts_to_json(const char *const *texts, size_t count)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; list && i < count; i++)
        json_object_array_add(list, json_object_new_string(texts[i]));
    return list;
}

int mig_node_run_finish(struct mig_node *node, const struct mig_run *run,
                        const struct mig_blockers *blockers, const char *const *problems,
                        size_t problem_count, struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    mig_cleanup(node_put_json) struct json_object *blocking =
        blockers ? mig_blockers_to_json(blockers) : NULL;
    mig_cleanup(node_put_json) struct json_object *wrong =
        problems ? texts_to_json(problems, problem_count) : NULL;
    int result;

    if ((blockers && !blocking) || (problems && !wrong))
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    result =
        mig_pg_query(node->pg,
                     "UPDATE xmtp_migrate.runs SET finished_at = coalesce(finished_at, now()),"
                     " blockers = coalesce($2::jsonb, blockers), problems = coalesce($3::jsonb, "
                     "problems) WHERE run = $1",
                     (const char *const[]){run->facts.run,
                                           blocking ? json_object_to_json_string(blocking) : NULL,
                                           wrong ? json_object_to_json_string(wrong) : NULL},
                     3, &answer, err);
    if (result == MIG_OK && answer.affected != 1)
        result = mig_fail(err, MIG_E_CORRUPT, "node '%s': the books know no run %s",
                          node->entry->name, run->facts.run);
    return result;
}

/* A text of an object, or NULL. */
static const char *text_of(struct json_object *object, const char *name)
{
    struct json_object *value;

    return json_object_object_get_ex(object, name, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : NULL;
}

static int blockers_from_json(const struct mig_node *node, const char *run, const char *text,
                              struct mig_blockers *blockers, struct mig_error *err)
{
    mig_cleanup(node_put_json) struct json_object *list = json_tokener_parse(text);
    int result = MIG_OK;

    if (!json_object_is_type(list, json_type_array))
        return node_refuse_member(node, run, "blockers", err);
    for (size_t i = 0; i < json_object_array_length(list) && result == MIG_OK; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        const char *subject = text_of(item, "subject"), *what = text_of(item, "what"),
                   *remedy = text_of(item, "remedy");

        result = subject && what && remedy ? mig_blockers_add(blockers, subject, what, remedy, err)
                                           : node_refuse_member(node, run, "blockers", err);
    }
    return result;
}

static int problems_from_json(const struct mig_node *node, const char *run, const char *text,
                              struct mig_node_sums *sums, struct mig_error *err)
{
    mig_cleanup(node_put_json) struct json_object *list = json_tokener_parse(text);

    if (!json_object_is_type(list, json_type_array))
        return node_refuse_member(node, run, "problems", err);
    sums->problems = calloc(json_object_array_length(list) + 1, sizeof *sums->problems);
    if (!sums->problems)
        return mig_fail(err, MIG_E_NOMEM, "out of memory");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *problem = json_object_array_get_idx(list, i);

        if (!json_object_is_type(problem, json_type_string))
            return node_refuse_member(node, run, "problems", err);
        sums->problems[i] = strdup(json_object_get_string(problem));
        if (!sums->problems[i])
            return mig_fail(err, MIG_E_NOMEM, "out of memory");
        sums->problem_count++;
    }
    return MIG_OK;
}

/* Counts without a run: nothing of ours would leave those. */
static int note_orphans(struct mig_node_sums *sums, struct mig_error *err)
{
    uint64_t counted = 0;

    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        counted += sums->tally.kinds[kind].counted;
    if (counted == 0 || sums->odd)
        return MIG_OK;
    if (asprintf(&sums->odd, "%" PRIu64 " rows are of a run that they do not know", counted) >= 0)
        return MIG_OK;
    sums->odd = NULL;
    return mig_fail(err, MIG_E_NOMEM, "out of memory");
}

int node_run_outcome(struct mig_node *node, const char *run, struct mig_node_sums *sums,
                     struct mig_error *err)
{
    mig_cleanup(mig_pg_result_release) struct mig_pg_result answer = {0};
    int result = mig_pg_query(node->pg,
                              "SELECT finished_at IS NOT NULL, blockers::text, problems::text"
                              " FROM xmtp_migrate.runs WHERE run = $1",
                              (const char *const[]){run}, 1, &answer, err);

    if (result == MIG_OK && answer.rows == 0)
        return note_orphans(sums, err);
    if (result != MIG_OK)
        return result;
    sums->finished = mig_pg_bool(&answer, 0, 0);
    result = blockers_from_json(node, run, mig_pg_text(&answer, 0, 1), &sums->blockers, err);
    return result == MIG_OK ? problems_from_json(node, run, mig_pg_text(&answer, 0, 2), sums, err)
                            : result;
}
