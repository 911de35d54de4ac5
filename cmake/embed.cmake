# mig_embed(OUT_VAR SYMBOL FILE): the text of FILE as a C string named SYMBOL, so that the tools need
# no files beside them. Gives the path of the generated .c in OUT_VAR.
function(mig_embed out_var symbol file)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${generated} -DSYMBOL=${symbol}
            -P ${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake
    DEPENDS ${file} ${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake
    VERBATIM)
  set(${out_var} ${generated} PARENT_SCOPE)
endfunction()
