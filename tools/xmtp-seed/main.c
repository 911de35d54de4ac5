/* xmtp-seed: databases for trials, with rows and writers that behave like a real network's. */
#include "tools/xmtp-seed/verbs.h"

static const struct tool_verb verbs[] = {
    {"schema", "v3|node --dsn DSN [--node-id N]", "make the tables of a V3 or a node database",
     "schema v3 --dsn env:XMTP_V3_DSN", schema_options, cmd_schema},
    {"rows", "--dsn DSN --rows N [--seed S] [--shape testnet|hostile] [--until RFC3339]",
     "fill a V3 database with rows that follow from the seed",
     "rows --dsn env:XMTP_V3_DSN --rows 10000 --shape hostile", rows_options, cmd_rows},
    {"live", "--dsn DSN --rate R --for SECONDS [--writers W]",
     "write on at a rate, with commits out of id order and rollbacks",
     "live --dsn env:XMTP_V3_DSN --rate 100 --for 30 --writers 8", live_options, cmd_live},
    {"csv", "--dsn DSN DIR", "load CSV files named after the tables",
     "csv --dsn env:XMTP_V3_DSN tests/data/sample", csv_options, cmd_csv},
};

int main(int argc, char **argv)
{
    return tool_main("xmtp-seed", verbs, mig_count_of(verbs), argc, argv);
}
