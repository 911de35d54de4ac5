# A build whose calls fail and whose processes die where a test wants it (libmigrate/base/fault.h).
# Parts are small, so that few rows make many events.
add_compile_definitions(MIG_FAULT_POINTS MIG_PART_ROWS=64)

# Our own requests for memory, not those of libraries.
foreach(function IN ITEMS malloc calloc realloc reallocarray strdup strndup asprintf vasprintf)
  add_link_options(-Wl,--wrap=${function})
endforeach()
