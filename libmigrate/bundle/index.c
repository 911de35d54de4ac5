/* header.json and index.json: printed line by line, sealed by the digest in their last line, and
 * read back so strictly that no bit of them is free. */
#include "libmigrate/bundle/bundle_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_BEGIN "{\"schema\":\"xmtp-migrate/bundle/"
#define SCHEMA_VERSION 1
#define SCHEMA_LINE SCHEMA_BEGIN "1\","
#define SEAL_BEGIN "\"sha256\":\""
#define SEAL_END "\"}\n"
#define SEAL_SIZE (sizeof SEAL_BEGIN - 1 + 64 + sizeof SEAL_END - 1)

int bundle_index_add(struct bundle_index *index, const struct mig_bundle_entry *entry,
                     struct mig_error *err)
{
    if (index->count == index->capacity) {
        const size_t capacity = index->capacity ? index->capacity * 2 : 16;
        struct mig_bundle_entry *entries = reallocarray(index->entries, capacity, sizeof *entry);

        if (!entries)
            return mig_fail(err, MIG_E_NOMEM, "cannot hold %zu entries: out of memory", capacity);
        index->entries = entries;
        index->capacity = capacity;
    }
    index->entries[index->count++] = *entry;
    return MIG_OK;
}

void bundle_index_release(struct bundle_index *index)
{
    free(index->entries);
    mig_blockers_release(&index->blockers);
    *index = (struct bundle_index){0};
}

/* ---- printing ----------------------------------------------------------------------------- */

static int seal(struct mig_buffer *text, struct mig_error *err)
{
    char digest[65];
    int result = bundle_digest(mig_buffer_bytes(text), digest, err);

    return result == MIG_OK ? mig_buffer_print(text, err, SEAL_BEGIN "%s" SEAL_END, digest)
                            : result;
}

static int print_facts(const struct mig_bundle_facts *facts, struct mig_buffer *text,
                       struct mig_error *err)
{
    int result = mig_buffer_print(text, err, SCHEMA_LINE "\n\"facts\":");

    if (result == MIG_OK)
        result = bundle_print_members(bundle_facts_members, facts, text, err);
    return result == MIG_OK ? mig_buffer_print(text, err, ",\n") : result;
}

int bundle_print_header(const struct mig_bundle_facts *facts, struct mig_buffer *text,
                        struct mig_error *err)
{
    int result = print_facts(facts, text, err);

    return result == MIG_OK ? seal(text, err) : result;
}

static int print_blocker(const struct mig_blocker *blocker, struct mig_buffer *text,
                         struct mig_error *err)
{
    int result = mig_buffer_print(text, err, "{\"subject\":");

    if (result == MIG_OK)
        result = bundle_print_text(blocker->subject, text, err);
    if (result == MIG_OK)
        result = mig_buffer_print(text, err, ",\"what\":");
    if (result == MIG_OK)
        result = bundle_print_text(blocker->what, text, err);
    if (result == MIG_OK)
        result = mig_buffer_print(text, err, ",\"remedy\":");
    if (result == MIG_OK)
        result = bundle_print_text(blocker->remedy, text, err);
    return result == MIG_OK ? mig_buffer_print(text, err, "}") : result;
}

int bundle_print_index(const struct bundle_index *index, const struct mig_blockers *blockers,
                       struct mig_buffer *text, struct mig_error *err)
{
    struct mig_tally total = {0};
    int result = print_facts(&index->facts, text, err);

    if (result == MIG_OK)
        result = mig_buffer_print(text, err, "\"parts\":[\n");
    for (size_t i = 0; result == MIG_OK && i < index->count; i++) {
        mig_tally_add(&total, &index->entries[i].tally);
        result = bundle_print_members(bundle_entry_members, &index->entries[i], text, err);
        if (result == MIG_OK)
            result = mig_buffer_print(text, err, "%s\n", i + 1 < index->count ? "," : "");
    }
    if (result == MIG_OK)
        result = mig_buffer_print(text, err, "],\n\"blockers\":[\n");
    for (size_t i = 0; result == MIG_OK && i < blockers->count; i++) {
        result = print_blocker(&blockers->items[i], text, err);
        if (result == MIG_OK)
            result = mig_buffer_print(text, err, "%s\n", i + 1 < blockers->count ? "," : "");
    }
    if (result == MIG_OK)
        result = mig_buffer_print(text, err, "],\n\"tally\":");
    if (result == MIG_OK)
        result = mig_tally_print_json(&total, text, err);
    if (result == MIG_OK)
        result = mig_buffer_print(text, err, ",\n");
    return result == MIG_OK ? seal(text, err) : result;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* What is left of a text, line by line. */
struct lines {
    struct mig_bytes rest;
    size_t number; /* of the line taken last */
};

static struct mig_bytes take_line(struct lines *lines)
{
    struct mig_bytes line = lines->rest;
    const uint8_t *end = line.size ? memchr(line.data, '\n', line.size) : NULL;

    if (end)
        line.size = (size_t) (end - line.data);
    lines->rest.data += end ? line.size + 1 : line.size;
    lines->rest.size -= end ? line.size + 1 : line.size;
    lines->number++;
    return line;
}

static int expect_line(struct lines *lines, const char *expected, struct mig_error *err)
{
    if (!mig_bytes_equal(take_line(lines), mig_bytes_of_text(expected)))
        return mig_fail(err, MIG_E_CORRUPT, "line %zu is not '%s'", lines->number, expected);
    return MIG_OK;
}

static bool begins_with(struct mig_bytes bytes, const char *text)
{
    return bytes.size >= strlen(text) && memcmp(bytes.data, text, strlen(text)) == 0;
}

/* The JSON of a line that is `prefix{...}` or `prefix{...},`. */
static int parse_line(struct lines *lines, const char *prefix, json_object **ret_json,
                      struct mig_error *err)
{
    struct mig_bytes line = take_line(lines);
    int result;

    if (!begins_with(line, prefix))
        return mig_fail(err, MIG_E_CORRUPT, "line %zu does not begin with '%s'", lines->number,
                        prefix);
    line.data += strlen(prefix);
    line.size -= strlen(prefix);
    if (line.size > 0 && line.data[line.size - 1] == ',')
        line.size--;
    result = bundle_parse_json(line, ret_json, err);
    if (result != MIG_OK)
        mig_error_within(err, "line %zu", lines->number);
    return result;
}

static int parse_object(struct lines *lines, const char *prefix, struct bundle_members members,
                        void *object, struct mig_error *err)
{
    mig_cleanup(bundle_put_json) json_object *json = NULL;
    int result = parse_line(lines, prefix, &json, err);

    if (result != MIG_OK)
        return result;
    result = bundle_parse_members(members, json, object, err);
    if (result != MIG_OK)
        mig_error_within(err, "line %zu", lines->number);
    return result;
}

/* The version stands in the first line of every version, so that it can be told before all else. */
static int check_version(struct mig_bytes text, struct mig_error *err)
{
    struct lines lines = {.rest = text};
    const struct mig_bytes line = take_line(&lines);
    uint64_t version = 0;

    if (!begins_with(line, SCHEMA_BEGIN))
        return mig_fail(err, MIG_E_CORRUPT, "does not begin like a file of a bundle");
    for (size_t i = strlen(SCHEMA_BEGIN); i < line.size && version < UINT32_MAX; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            break;
        version = version * 10 + (uint64_t) (line.data[i] - '0');
    }
    if (version > SCHEMA_VERSION) {
        mig_fail(err, MIG_E_REFUSED,
                 "version %" PRIu64 " of the bundle format is newer than %d, the newest known here",
                 version, SCHEMA_VERSION);
        mig_hint(err, "use the release that wrote the bundle, or a newer one");
        return MIG_E_REFUSED;
    }
    return MIG_OK;
}

/* Takes off the last line when it is the digest of all before it. */
static int unseal(struct mig_bytes *text, struct mig_error *err)
{
    struct mig_bytes found, body;
    char digest[65];
    int result;

    if (text->size < SEAL_SIZE)
        return mig_fail(err, MIG_E_CORRUPT, "cut off after %zu bytes", text->size);
    body = (struct mig_bytes){text->data, text->size - SEAL_SIZE};
    found = (struct mig_bytes){text->data + body.size, SEAL_SIZE};
    if (!begins_with(found, SEAL_BEGIN) ||
        memcmp(found.data + SEAL_SIZE - strlen(SEAL_END), SEAL_END, strlen(SEAL_END)) != 0)
        return mig_fail(err, MIG_E_CORRUPT, "its last line is not its SHA-256: cut off, or edited");
    result = bundle_digest(body, digest, err);
    if (result != MIG_OK)
        return result;
    if (memcmp(found.data + strlen(SEAL_BEGIN), digest, 64) != 0)
        return mig_fail(err, MIG_E_CORRUPT, "its SHA-256 is not the one in its last line");
    *text = body;
    return MIG_OK;
}

static int check_reprint(const struct mig_buffer *reprint, struct mig_bytes text,
                         struct mig_error *err)
{
    if (!mig_bytes_equal(mig_buffer_bytes(reprint), text))
        return mig_fail(err, MIG_E_CORRUPT, "not written as its own values would be");
    return MIG_OK;
}

static int parse_facts(struct lines *lines, struct mig_bundle_facts *facts, struct mig_error *err)
{
    int result = expect_line(lines, SCHEMA_LINE, err);

    return result == MIG_OK ? parse_object(lines, "\"facts\":", bundle_facts_members, facts, err)
                            : result;
}

int bundle_parse_header(struct mig_bytes text, struct mig_bundle_facts *ret_facts,
                        struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer reprint = MIG_BUFFER_INIT(BUNDLE_LINE_LIMIT);
    struct mig_bundle_facts facts = {0};
    struct lines lines = {.rest = text};
    int result = check_version(text, err);

    if (result == MIG_OK)
        result = unseal(&lines.rest, err);
    if (result == MIG_OK)
        result = parse_facts(&lines, &facts, err);
    if (result == MIG_OK)
        result = bundle_print_header(&facts, &reprint, err);
    if (result == MIG_OK)
        result = check_reprint(&reprint, text, err);
    if (result == MIG_OK)
        *ret_facts = facts;
    else
        mig_error_within(err, "'" BUNDLE_HEADER_NAME "'");
    return result;
}

static int parse_entries(struct lines *lines, struct bundle_index *index, struct mig_tally *total,
                         struct mig_error *err)
{
    struct bundle_order order = {.stage = index->facts.stage};
    int result = expect_line(lines, "\"parts\":[", err);

    while (result == MIG_OK && !begins_with(lines->rest, "],")) {
        struct mig_bundle_entry entry = {0};

        result = parse_object(lines, "", bundle_entry_members, &entry, err);
        if (result == MIG_OK)
            result = bundle_order_take(&order, &entry, err);
        if (result == MIG_OK)
            result = bundle_index_add(index, &entry, err);
    }
    if (result == MIG_OK)
        result = bundle_order_end(&order, err);
    if (result == MIG_OK)
        *total = order.total;
    return result == MIG_OK ? expect_line(lines, "],", err) : result;
}

static int parse_blocker(struct lines *lines, struct mig_blockers *blockers, struct mig_error *err)
{
    static const char *const names[] = {"subject", "what", "remedy"};
    mig_cleanup(bundle_put_json) json_object *json = NULL;
    const char *texts[mig_count_of(names)];
    int result = parse_line(lines, "", &json, err);

    for (size_t i = 0; result == MIG_OK && i < mig_count_of(names); i++) {
        json_object *item = NULL;

        json_object_object_get_ex(json, names[i], &item);
        if (!json_object_is_type(item, json_type_string))
            return mig_fail(err, MIG_E_CORRUPT, "line %zu: '%s' is missing", lines->number,
                            names[i]);
        texts[i] = json_object_get_string(item);
    }
    return result == MIG_OK ? mig_blockers_add(blockers, texts[0], texts[1], texts[2], err)
                            : result;
}

static int parse_blockers(struct lines *lines, struct mig_blockers *blockers, struct mig_error *err)
{
    int result = expect_line(lines, "\"blockers\":[", err);

    while (result == MIG_OK && !begins_with(lines->rest, "],"))
        result = parse_blocker(lines, blockers, err);
    return result == MIG_OK ? expect_line(lines, "],", err) : result;
}

static int parse_sealed(struct lines *lines, struct bundle_index *index, struct mig_error *err)
{
    mig_cleanup(bundle_put_json) json_object *json = NULL;
    struct mig_tally sum = {0}, total = {0};
    int result = parse_facts(lines, &index->facts, err);

    if (result == MIG_OK)
        result = parse_entries(lines, index, &sum, err);
    if (result == MIG_OK)
        result = parse_blockers(lines, &index->blockers, err);
    if (result == MIG_OK)
        result = parse_line(lines, "\"tally\":", &json, err);
    if (result == MIG_OK)
        result = bundle_parse_tally(json, &total, err);
    if (result == MIG_OK && memcmp(&sum, &total, sizeof sum) != 0)
        result = mig_fail(err, MIG_E_CORRUPT, "its tally is not the sum of its parts'");
    return result;
}

int bundle_parse_index(struct mig_bytes text, struct bundle_index *ret_index, struct mig_error *err)
{
    mig_cleanup(mig_buffer_release) struct mig_buffer reprint =
        MIG_BUFFER_INIT(BUNDLE_INDEX_LIMIT + BUNDLE_LINE_LIMIT);
    mig_cleanup(bundle_index_release) struct bundle_index index = {0};
    struct lines lines = {.rest = text};
    int result = check_version(text, err);

    if (result == MIG_OK)
        result = unseal(&lines.rest, err);
    if (result == MIG_OK)
        result = parse_sealed(&lines, &index, err);
    if (result == MIG_OK)
        result = bundle_print_index(&index, &index.blockers, &reprint, err);
    if (result == MIG_OK)
        result = check_reprint(&reprint, text, err);
    if (result != MIG_OK) {
        mig_error_within(err, "'" BUNDLE_INDEX_NAME "'");
        return result;
    }
    *ret_index = index;
    index = (struct bundle_index){0};
    return MIG_OK;
}
