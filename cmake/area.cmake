# mig_area(NAME KNOWS lower areas ... USES libraries ...): one room of libmigrate.
#
# Its .c files become mig_NAME, a static library that links only the areas it may know. The same
# objects go into the whole libmigrate, static and shared.
set_property(GLOBAL PROPERTY MIG_AREAS "")

function(mig_area name)
  cmake_parse_arguments(AREA "" "" "KNOWS;USES;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.c)
  list(TRANSFORM AREA_KNOWS PREPEND mig_)

  add_library(mig_${name}_objects OBJECT ${sources} ${AREA_SOURCES})
  target_include_directories(mig_${name}_objects PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(mig_${name}_objects PUBLIC ${AREA_USES} Threads::Threads PRIVATE mig_warnings)
  target_compile_definitions(mig_${name}_objects PRIVATE _GNU_SOURCE)

  add_library(mig_${name} STATIC $<TARGET_OBJECTS:mig_${name}_objects>)
  target_include_directories(mig_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(mig_${name} PUBLIC ${AREA_KNOWS} ${AREA_USES} Threads::Threads)

  set_property(GLOBAL APPEND PROPERTY MIG_AREAS ${name})
  set_property(GLOBAL APPEND PROPERTY MIG_AREA_USES ${AREA_USES})
endfunction()
