/* The account: what its document says, and what it comes to. */
#include "libmigrate/pipeline/pipeline_private.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static struct mig_account *account_with(uint64_t counted, uint64_t loaded)
{
    struct mig_account *account = calloc(1, sizeof *account);

    account->started = true;
    account->nodes = calloc(1, sizeof *account->nodes);
    account->node_count = 1;
    account->nodes[0].name = strdup("alpha");
    account->nodes[0].loaded[MIG_KIND_GROUP_MESSAGES] = loaded;
    account->tally.kinds[MIG_KIND_GROUP_MESSAGES].counted = counted;
    account->tally.kinds[MIG_KIND_GROUP_MESSAGES].for_nodes = counted;
    strcpy(account->facts.network, "local");
    return account;
}

static struct json_object *member(struct json_object *object, const char *path)
{
    struct json_object *found = NULL;

    cr_assert_eq(json_pointer_get(object, path, &found), 0, "no %s in %s", path,
                 json_object_to_json_string(object));
    return found;
}

Test(account, has_a_document_with_every_kind_and_node)
{
    mig_cleanup(mig_account_free) struct mig_account *account = account_with(7, 7);
    struct json_object *document = mig_account_to_json(account);

    cr_assert_str_eq(json_object_get_string(member(document, "/schema")), "xmtp-migrate/account/1");
    cr_assert_eq(json_object_get_int(member(document, "/kinds/group_messages/nodes/alpha/loaded")),
                 7);
    cr_assert_eq(json_object_get_int(member(document, "/kinds/inbox_log/waiting_for_chain")), 0);
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        cr_assert_not_null(json_object_object_get(member(document, "/kinds"),
                                                  mig_kind_info((enum mig_kind) kind)->name));
    cr_assert_str_eq(json_object_get_string(member(document, "/verdict")), "green");
    json_object_put(document);
}

Test(account, with_a_problem_is_red_and_says_it)
{
    mig_cleanup(mig_account_free) struct mig_account *account = account_with(7, 7);
    struct mig_error err = MIG_ERROR_INIT;

    cr_assert_eq(mig_account_outcome(account, &err), MIG_OK);
    mig_account_add_problem(account, NULL, "node '%s' lost its tables", "alpha");
    cr_assert_eq(mig_account_outcome(account, &err), MIG_E_DIFFERENT);
    cr_assert_not_null(strstr(err.message, "node 'alpha' lost its tables"));
}

Test(account, of_nothing_is_refused_with_the_next_step)
{
    mig_cleanup(mig_account_free) struct mig_account *account = account_with(0, 0);
    struct mig_error err = MIG_ERROR_INIT;

    account->started = false;
    cr_assert_eq(mig_account_outcome(account, &err), MIG_E_REFUSED);
    cr_assert_neq(err.hint[0], '\0');
}

Test(account, with_rejected_rows_is_partial)
{
    mig_cleanup(mig_account_free) struct mig_account *account = account_with(7, 7);

    account->verdict = MIG_VERDICT_PARTIAL;
    cr_assert_eq(mig_account_outcome(account, NULL), MIG_E_PARTIAL);
}
