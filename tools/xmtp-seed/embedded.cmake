# The SQL of both schemas inside the tool, so that it needs no files beside it.
mig_embed(seed_v3_source seed_v3_sql ${PROJECT_SOURCE_DIR}/schemas/sql/v3.sql)
mig_embed(seed_node_source seed_node_sql ${PROJECT_SOURCE_DIR}/schemas/sql/node.sql)
set(extra ${seed_v3_source} ${seed_node_source})
