# libconfab as others link it: a shared library and a static one, both with the names of
# src/client/libconfab.symbols and no other, the public headers, and a file for pkg-config. The
# programs of the project link the layers instead. `cmake --install DIR --component libconfab`.
include(GNUInstallDirs)
set(CONFAB_SYMBOLS ${CMAKE_SOURCE_DIR}/src/client/libconfab.symbols)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CONFAB_SYMBOLS})
file(STRINGS ${CONFAB_SYMBOLS} CONFAB_NAMES)
list(JOIN CONFAB_NAMES ";\n    " CONFAB_EXPORTED)
set(CONFAB_VERSION_SCRIPT ${CMAKE_BINARY_DIR}/libconfab.map)
file(CONFIGURE OUTPUT ${CONFAB_VERSION_SCRIPT} @ONLY CONTENT
  "LIBCONFAB_0 {\n  global:\n    @CONFAB_EXPORTED@;\n  local:\n    *;\n};\n")

file(GLOB_RECURSE CONFAB_LIB_SRC CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/client/*.c
  ${CMAKE_SOURCE_DIR}/src/proto/*.c ${CMAKE_SOURCE_DIR}/src/base/*.c)
add_library(confab_objects OBJECT ${CONFAB_LIB_SRC})
target_include_directories(confab_objects PRIVATE ${CMAKE_SOURCE_DIR}/src
  ${CMAKE_SOURCE_DIR}/include)
target_link_libraries(confab_objects PRIVATE PkgConfig::SODIUM PkgConfig::XXHASH PkgConfig::CRYPTO
  PkgConfig::SSL PkgConfig::ZLIB)
target_compile_options(confab_objects PRIVATE -ffunction-sections -fdata-sections)
set_target_properties(confab_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)

add_library(confab_shared SHARED $<TARGET_OBJECTS:confab_objects>)
target_link_libraries(confab_shared PRIVATE PkgConfig::SODIUM PkgConfig::XXHASH PkgConfig::CRYPTO
  PkgConfig::SSL PkgConfig::ZLIB Threads::Threads)
if(CONFAB_LTO)
  target_compile_options(confab_objects PRIVATE -fno-lto)
endif()
target_link_options(confab_shared PRIVATE -Wl,--version-script=${CONFAB_VERSION_SCRIPT}
  -Wl,--gc-sections -Wl,--as-needed)
set_target_properties(confab_shared PROPERTIES OUTPUT_NAME confab LINKER_LANGUAGE C
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${CONFAB_VERSION_SCRIPT})

# One object with everything that the public names need, in which all other names are local: they
# cannot clash with those of a program.
set(CONFAB_STATIC ${CMAKE_BINARY_DIR}/libconfab.a)
set(CONFAB_ROOTS ${CONFAB_NAMES})
list(TRANSFORM CONFAB_ROOTS PREPEND "--undefined=")
add_custom_command(OUTPUT ${CONFAB_STATIC}
  COMMAND ${CMAKE_LINKER} -r --gc-sections ${CONFAB_ROOTS} -o libconfab.o
    $<TARGET_OBJECTS:confab_objects>
  COMMAND ${CMAKE_OBJCOPY} --keep-global-symbols=${CONFAB_SYMBOLS} libconfab.o
  COMMAND ${CMAKE_COMMAND} -E rm -f ${CONFAB_STATIC}
  COMMAND ${CMAKE_AR} rcs ${CONFAB_STATIC} libconfab.o
  DEPENDS confab_objects $<TARGET_OBJECTS:confab_objects> ${CONFAB_SYMBOLS}
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR} COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(libconfab ALL DEPENDS ${CONFAB_STATIC} confab_shared)

# The installed tree may be moved: paths are relative to the file.
file(RELATIVE_PATH CONFAB_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" CONFAB_PC_PREFIX "${CONFAB_PC_PREFIX}")
configure_file(${CMAKE_SOURCE_DIR}/cmake/confab.pc.in ${CMAKE_BINARY_DIR}/confab.pc @ONLY)
install(TARGETS confab_shared COMPONENT libconfab DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${CONFAB_STATIC} COMPONENT libconfab DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/confab COMPONENT libconfab
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES ${CMAKE_BINARY_DIR}/confab.pc COMPONENT libconfab
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
