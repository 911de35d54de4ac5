# C from the project's own .proto files, into the build tree. Gives MIG_PROTOBUF_SOURCES.
set(MIG_PROTOBUF_SOURCES "")
foreach(proto IN ITEMS identity mls envelopes record)
  set(from ${PROJECT_SOURCE_DIR}/schemas/${proto}.proto)
  add_custom_command(
    OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${proto}.pb-c.c ${CMAKE_CURRENT_BINARY_DIR}/${proto}.pb-c.h
    COMMAND ${PROTOC_C} --proto_path=${PROJECT_SOURCE_DIR}/schemas
            --c_out=${CMAKE_CURRENT_BINARY_DIR} ${from}
    DEPENDS ${from}
    VERBATIM)
  list(APPEND MIG_PROTOBUF_SOURCES ${CMAKE_CURRENT_BINARY_DIR}/${proto}.pb-c.c)
endforeach()
set_source_files_properties(${MIG_PROTOBUF_SOURCES} PROPERTIES COMPILE_OPTIONS "-w")
