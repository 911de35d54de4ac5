/* The report: exact counts, a bounded list in order, the verdict, the document. */
#include "libmigrate/parity/parity_private.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static struct parity_check check;
static struct mig_parity_node nodes[2] = {{.name = "alpha"}, {.name = "beta"}};

static void begin(size_t list_limit)
{
    check = (struct parity_check){.list_limit = list_limit};
    check.report.nodes = nodes;
    check.report.node_count = 2;
    strcpy(check.report.network, "local");
    strcpy(check.report.profile, "correct");
}

static void add(enum mig_kind kind, int64_t id, size_t node, const char *what)
{
    const struct parity_note note = {
        .what = what, .where = "", .expected = "this", .found = "that"};

    cr_assert_eq(parity_report_add(&check, kind, id, node, &note, NULL), MIG_OK);
}

static void end(void)
{
    free(check.report.differences);
}

Test(report, counts_all_and_lists_as_many_as_allowed)
{
    begin(100);
    for (int64_t id = 0; id < 1000; id++)
        add(MIG_KIND_GROUP_MESSAGES, id, 0, "missing");
    parity_report_end(&check.report);
    cr_assert_eq(check.report.difference_count, 1000);
    cr_assert_eq(check.report.listed, 100);
    cr_assert_eq(check.report.differences[99].id, 99);
    end();
}

Test(report, can_list_none)
{
    begin(0);
    add(MIG_KIND_GROUP_MESSAGES, 1, 0, "missing");
    parity_report_end(&check.report);
    cr_assert_eq(check.report.difference_count, 1);
    cr_assert_eq(check.report.listed, 0);
    cr_assert_eq(check.report.verdict, MIG_PARITY_RED);
}

Test(report, lists_by_kind_then_id_then_node)
{
    begin(10);
    add(MIG_KIND_KEY_PACKAGES, 1, 0, "extra");
    add(MIG_KIND_GROUP_MESSAGES, 9, 1, "extra");
    add(MIG_KIND_GROUP_MESSAGES, 9, 0, "topic");
    add(MIG_KIND_GROUP_MESSAGES, 9, 0, "expiry");
    add(MIG_KIND_GROUP_MESSAGES, -3, 1, "extra");
    parity_report_end(&check.report);
    cr_assert_eq(check.report.differences[0].id, -3);
    cr_assert_str_eq(check.report.differences[1].what, "expiry");
    cr_assert_str_eq(check.report.differences[2].what, "topic");
    cr_assert_eq(check.report.differences[3].node, 1);
    cr_assert_eq(check.report.differences[4].originator, 13);
    end();
}

Test(report, is_green_until_something_is_wrong)
{
    begin(10);
    parity_report_end(&check.report);
    cr_assert_eq(check.report.verdict, MIG_PARITY_GREEN);
    check.report.tally.kinds[MIG_KIND_INBOX_LOG].rejected = 2;
    check.report.waived[MIG_KIND_INBOX_LOG] = 1;
    parity_report_end(&check.report);
    cr_assert_eq(check.report.verdict, MIG_PARITY_PARTIAL);
    check.report.waived[MIG_KIND_INBOX_LOG] = 2;
    parity_report_end(&check.report);
    cr_assert_eq(check.report.verdict, MIG_PARITY_GREEN);
    check.report.waived[MIG_KIND_INBOX_LOG] = 0;
    add(MIG_KIND_GROUP_MESSAGES, 1, 0, "missing");
    parity_report_end(&check.report);
    cr_assert_eq(check.report.verdict, MIG_PARITY_RED, "differences outweigh rejected rows");
    end();
}

static struct json_object *member(struct json_object *object, const char *path)
{
    struct json_object *found;

    cr_assert_eq(json_pointer_get(object, path, &found), 0, "no %s", path);
    return found;
}

Test(report, becomes_the_document_that_scripts_rely_on)
{
    struct json_object *json, *difference;

    begin(10);
    check.report.tally.kinds[MIG_KIND_GROUP_MESSAGES].counted = 12;
    nodes[1].kinds[MIG_KIND_GROUP_MESSAGES].pruned_at_source = 3;
    add(MIG_KIND_GROUP_MESSAGES, 17, 1, "expiry");
    parity_report_end(&check.report);
    cr_assert_eq(mig_parity_report_json(&check.report, &json, NULL), MIG_OK);
    cr_assert_str_eq(json_object_get_string(member(json, "/schema")), "xmtp-migrate/parity/1");
    cr_assert_null(member(json, "/run"));
    cr_assert_eq(json_object_get_int(member(json, "/kinds/group_messages/judged")), 12);
    cr_assert_eq(
        json_object_get_int(member(json, "/kinds/group_messages/nodes/beta/pruned_at_source")), 3);
    cr_assert_eq(json_object_get_int(member(json, "/difference_count")), 1);
    cr_assert_str_eq(json_object_get_string(member(json, "/verdict")), "red");
    difference = member(json, "/differences/0");
    cr_assert_str_eq(json_object_to_json_string_ext(difference, JSON_C_TO_STRING_PLAIN),
                     "{\"table\":\"group_messages\",\"id\":17,\"originator\":10,\"node\":\"beta\","
                     "\"what\":\"expiry\",\"expected\":\"this\",\"found\":\"that\"}");
    json_object_put(json);
    end();
}
