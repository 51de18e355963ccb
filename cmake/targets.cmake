# confab_layer(<dir below src> DEPS ...): every .c of the folder (and its subfolders for core) as
# one static library confab_<dir with _>. A folder without sources yields an interface library, so
# that layers can be built before those above them exist.
function(confab_layer DIR)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  string(REPLACE "/" "_" NAME "confab_${DIR}")
  file(GLOB_RECURSE SRC CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${DIR}/*.c)
  if(SRC)
    add_library(${NAME} STATIC ${SRC})
    target_include_directories(${NAME} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
    target_link_libraries(${NAME} PUBLIC ${ARG_DEPS})
  else()
    add_library(${NAME} INTERFACE)
    target_include_directories(${NAME} INTERFACE ${CMAKE_SOURCE_DIR}/src
      ${CMAKE_SOURCE_DIR}/include)
    target_link_libraries(${NAME} INTERFACE ${ARG_DEPS})
  endif()
endfunction()
