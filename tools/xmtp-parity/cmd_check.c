/* xmtp-parity check: options in, report out, the verdict as exit status. */
#include "tools/xmtp-parity/parity_tool.h"

#include <inttypes.h>
#include <string.h>

struct check_words check_words = {.list = MIG_PARITY_LIST_LIMIT};

static bool has_both_cases(const char *digits)
{
    return strpbrk(digits, "abcdef") && strpbrk(digits, "ABCDEF");
}

/* An address in both cases has its checksum in them: a slip of a digit is found out. */
static int read_address(const char *option, const char *text, struct mig_address *ret_address,
                        struct mig_error *err)
{
    char formatted[MIG_ADDRESS_TEXT_SIZE];
    struct mig_address address;
    size_t size = 0;

    if (strncmp(text, "0x", 2) != 0 || strlen(text) != MIG_ADDRESS_TEXT_SIZE - 1 ||
        mig_hex_decode(text + 2, strlen(text + 2), address.bytes, sizeof address.bytes, &size,
                       NULL) != MIG_OK)
        return mig_fail(err, MIG_E_USAGE, "--%s '%.60s': expected 0x and 40 hex digits", option,
                        text);
    mig_address_format(&address, formatted);
    if (has_both_cases(text + 2) && strcmp(formatted, text) != 0) {
        mig_fail(err, MIG_E_USAGE, "--%s '%s': the checksum (EIP-55) is wrong", option, text);
        return mig_hint(err, "check the digits; in one case only they are taken as they are");
    }
    *ret_address = address;
    return MIG_OK;
}

static int print_json(const struct mig_parity_report *report, struct mig_error *err)
{
    struct json_object *document;
    int result = mig_parity_report_json(report, &document, err);

    if (result != MIG_OK)
        return result;
    result = tool_print_json(document, err);
    json_object_put(document);
    return result;
}

static int conclude(const struct mig_parity_report *report, struct mig_error *err)
{
    uint64_t rejected = 0;

    if (report->verdict == MIG_PARITY_RED) {
        mig_fail(err, MIG_E_DIFFERENT, "%" PRIu64 " difference%s between source and nodes",
                 report->difference_count, report->difference_count == 1 ? "" : "s");
        return mig_hint(err, "xmtp-migrate run loads what is missing, unless the source has pruned "
                             "it; what is altered or extra is never overwritten: find out who "
                             "wrote it");
    }
    if (report->verdict != MIG_PARITY_PARTIAL)
        return MIG_OK;
    for (int kind = 0; kind < MIG_KIND_COUNT; kind++)
        rejected += report->tally.kinds[kind].rejected - report->waived[kind];
    mig_fail(err, MIG_E_PARTIAL, "%" PRIu64 " rejected row%s not waived on every node", rejected,
             rejected == 1 ? " is" : "s are");
    return mig_hint(err, "xmtp-migrate rejected list shows them; repair and retry, or waive by "
                         "name");
}

int cmd_check(struct tool *tool, int argc, char **argv, struct mig_error *err)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_parity_report_release) struct mig_parity_report report = {0};
    struct mig_address payer, originator;
    struct mig_parity_options options = {
        .nodes = check_words.nodes.items,
        .node_count = check_words.nodes.count,
        .has_as_of = tool->has_as_of,
        .as_of_ns = tool->as_of_ns,
        .threads = tool->resources.threads,
        .max_memory = tool->resources.max_memory,
        .payer = check_words.payer ? &payer : NULL,
        .originator = check_words.originator ? &originator : NULL,
        .list_limit = check_words.list,
    };
    int result;

    if (argc > 0)
        return mig_fail(err, MIG_E_USAGE, "check takes no argument: '%s'", argv[0]);
    if ((result = parity_read_sampling(check_words.signatures, check_words.seed, &options.sampling,
                                       err)) != MIG_OK ||
        (options.payer &&
         (result = read_address("payer", check_words.payer, &payer, err)) != MIG_OK) ||
        (options.originator && (result = read_address("originator", check_words.originator,
                                                      &originator, err)) != MIG_OK) ||
        (result = tool_manifest(tool, &manifest, err)) != MIG_OK ||
        (result = mig_parity_check(manifest, &options, &tool->hooks, tool->stop, &report, err)) !=
            MIG_OK)
        return result;
    tool_progress_end(tool);
    result = tool->json ? print_json(&report, err) : parity_print(&report, err);
    return result == MIG_OK ? conclude(&report, err) : result;
}
