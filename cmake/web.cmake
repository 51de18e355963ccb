# The files that confabd hands out are part of it: the web client and the API documents.
#
#   CONFAB_WEB=ON      builds web/ with npm (tools/build-web) and embeds web/dist
#   CONFAB_WEB=OFF     a page that says how to get the web client; needs no Node
#   CONFAB_WEB=FOLDER  embeds what was built elsewhere; there must be an index.html in it
#
# API documents: docs/api/NAME.json is served as /api/v1/NAME.json, docs/api/docs.html as
# /api/docs, docs/api/docs.js and docs.css beside it as /api/docs.js and /api/docs.css.
set(CONFAB_WEB "ON" CACHE STRING "web client: ON, OFF, or the folder of a built one")

set(EMBED_DIR ${CMAKE_BINARY_DIR}/embed)
file(MAKE_DIRECTORY ${EMBED_DIR})
set(EMBED_ARGS)
set(EMBED_DEPENDS)

if(CONFAB_WEB STREQUAL "ON")
  set(WEB_DIST ${CMAKE_SOURCE_DIR}/web/dist)
  file(GLOB_RECURSE WEB_SRC CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/src/*
    ${CMAKE_SOURCE_DIR}/web/packages/*)
  file(GLOB WEB_TOP CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/*.json
    ${CMAKE_SOURCE_DIR}/web/*.html ${CMAKE_SOURCE_DIR}/web/*.ts ${CMAKE_SOURCE_DIR}/web/*.js
    ${CMAKE_SOURCE_DIR}/web/*.mjs)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/web.stamp
    COMMAND ${CMAKE_SOURCE_DIR}/tools/build-web
    COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/web.stamp
    DEPENDS ${WEB_SRC} ${WEB_TOP} ${CMAKE_SOURCE_DIR}/tools/build-web
    COMMENT "Building the web client" VERBATIM)
  list(APPEND EMBED_DEPENDS ${CMAKE_BINARY_DIR}/web.stamp)
elseif(CONFAB_WEB STREQUAL "OFF")
  set(WEB_DIST ${CMAKE_SOURCE_DIR}/src/confabd/no-web)
else()
  get_filename_component(WEB_DIST ${CONFAB_WEB} ABSOLUTE BASE_DIR ${CMAKE_SOURCE_DIR})
  if(NOT EXISTS ${WEB_DIST}/index.html)
    message(FATAL_ERROR "CONFAB_WEB is ON, OFF, or a folder with an index.html: ${CONFAB_WEB}")
  endif()
endif()
if(NOT CONFAB_WEB STREQUAL "ON")
  file(GLOB_RECURSE WEB_FILES CONFIGURE_DEPENDS ${WEB_DIST}/*)
  list(APPEND EMBED_DEPENDS ${WEB_FILES})
endif()
list(APPEND EMBED_ARGS --tree / ${WEB_DIST})

file(GLOB API_JSON CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/api/*.json)
foreach(DOC ${API_JSON})
  get_filename_component(NAME ${DOC} NAME)
  list(APPEND EMBED_ARGS --file /api/v1/${NAME} ${DOC})
endforeach()
file(GLOB API_DOCS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/api/docs.html
  ${CMAKE_SOURCE_DIR}/docs/api/docs.js ${CMAKE_SOURCE_DIR}/docs/api/docs.css)
foreach(DOC ${API_DOCS})
  get_filename_component(NAME ${DOC} NAME)
  string(REPLACE ".html" "" NAME ${NAME})
  list(APPEND EMBED_ARGS --file /api/${NAME} ${DOC})
endforeach()
list(APPEND EMBED_DEPENDS ${API_JSON} ${API_DOCS})

add_executable(confab-embed ${CMAKE_SOURCE_DIR}/tools/embed/main.c)
target_link_libraries(confab-embed PRIVATE confab_base PkgConfig::CRYPTO PkgConfig::BROTLIENC
  PkgConfig::ZLIB)
set_target_properties(confab-embed PROPERTIES EXCLUDE_FROM_ALL ON)
add_custom_command(
  OUTPUT ${EMBED_DIR}/files.S ${EMBED_DIR}/files.c ${EMBED_DIR}/files.bin
  COMMAND confab-embed ${EMBED_DIR} ${EMBED_ARGS}
  DEPENDS confab-embed ${EMBED_DEPENDS}
  COMMENT "Embedding the web client and the API documents" VERBATIM)
set_source_files_properties(${EMBED_DIR}/files.S PROPERTIES OBJECT_DEPENDS ${EMBED_DIR}/files.bin)
add_library(confabd_files OBJECT EXCLUDE_FROM_ALL ${EMBED_DIR}/files.S ${EMBED_DIR}/files.c)
target_include_directories(confabd_files PRIVATE ${CMAKE_SOURCE_DIR}/src ${EMBED_DIR})
# The assembler looks for files.bin along its own path.
target_compile_options(confabd_files PRIVATE $<$<COMPILE_LANGUAGE:ASM>:-Wa,-I${EMBED_DIR}>)
