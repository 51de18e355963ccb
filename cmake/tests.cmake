# Tests: each tests/<suite>/test_*.c is one cmocka program that links the layers named for its
# folder. Run through ./test, which counts the cases, or with `ctest`. The first part of the folder
# (unit, contract, sim) is the stage: a ctest label, and a target tests_<stage> that builds it.
enable_testing()
set(ALL_ADAPTERS confab_adapters_local_log confab_adapters_rocksdb confab_adapters_sqlite
  confab_adapters_fault confab_adapters_mem confab_adapters_tls confab_adapters_acme
  confab_adapters_os confab_proto)

# What the process tests need does without cmocka: they run what ./run has configured.
# Preloaded into confabd by the process tests (tests/it/failing_disk.c). Without sanitizers, whose
# runtime belongs to the program.
add_library(failing_disk MODULE EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/it/failing_disk.c)
set_target_properties(failing_disk PROPERTIES PREFIX "")
target_compile_options(failing_disk PRIVATE -fno-sanitize=all)
target_link_options(failing_disk PRIVATE -fno-sanitize=all)

# A file system that loses power (tests/lab/lossy_fs.c), for tools/crash-lab.
pkg_check_modules(FUSE IMPORTED_TARGET fuse3)
if(FUSE_FOUND)
  add_executable(lossy_fs EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/lab/lossy_fs.c)
  target_compile_options(lossy_fs PRIVATE -fno-sanitize=all)
  target_link_options(lossy_fs PRIVATE -fno-sanitize=all)
  target_link_libraries(lossy_fs PRIVATE PkgConfig::FUSE)
endif()

# confabd with calls that fail (tests/lab/faulty_calls.c), for tools/fault-lab: the linker sends the
# calls of our own objects there.
set(FAULTY_CALLS malloc calloc realloc aligned_alloc strdup open openat close read write pread pwrite
  fdatasync fsync posix_fallocate ftruncate fstat stat fstatat fstatvfs rename renameat unlink unlinkat
  mkdir chmod flock opendir fdopendir readdir fopen fdopen fflush socket bind listen setsockopt
  getsockopt getsockname getpeername shutdown getifaddrs epoll_create1 epoll_ctl epoll_wait eventfd
  pthread_create accept4 recv send sendmsg)
list(TRANSFORM FAULTY_CALLS PREPEND -Wl,--wrap=)
add_executable(confabd-faulty EXCLUDE_FROM_ALL ${CONFABD_SRC} $<TARGET_OBJECTS:confabd_files>
  ${CMAKE_SOURCE_DIR}/tests/lab/faulty_calls.c)
target_link_libraries(confabd-faulty PRIVATE $<TARGET_PROPERTY:confabd,LINK_LIBRARIES>)
target_compile_definitions(confabd-faulty PRIVATE CONFABD_VERSION="${PROJECT_VERSION}")
target_link_options(confabd-faulty PRIVATE ${FAULTY_CALLS})

# What the tables of the interfaces say; the process tests compare the documents with it.
add_executable(api_tables EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/it/api_tables.c)
target_include_directories(api_tables PRIVATE ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(api_tables PRIVATE confab_gateway confab_core confab_proto ${ALL_ADAPTERS}
  confab_base)

pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
if(NOT CMOCKA_FOUND)
  message(STATUS "cmocka not found: the C tests are not built")
  return()
endif()

function(confab_tests DIR)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB TESTS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${DIR}/test_*.c)
  file(GLOB HELPERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${DIR}/*.c)
  list(FILTER HELPERS EXCLUDE REGEX "/test_[^/]*$")
  string(REPLACE "/" "_" PREFIX "${DIR}")
  string(REGEX REPLACE "/.*" "" STAGE "${DIR}")
  if(NOT TARGET tests_${STAGE})
    add_custom_target(tests_${STAGE})
  endif()
  foreach(SRC ${TESTS})
    get_filename_component(STEM ${SRC} NAME_WE)
    set(NAME ${PREFIX}_${STEM})
    add_executable(${NAME} ${SRC} ${HELPERS})
    target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests
      ${CMAKE_SOURCE_DIR}/tests/${DIR} ${CMAKE_SOURCE_DIR}/include)
    target_link_libraries(${NAME} PRIVATE ${ARG_DEPS} PkgConfig::CMOCKA)
    add_test(NAME ${NAME} COMMAND ${NAME})
    set_tests_properties(${NAME} PROPERTIES LABELS ${STAGE})
    add_dependencies(tests_${STAGE} ${NAME})
  endforeach()
endfunction()

confab_tests(unit/base DEPS confab_base)
confab_tests(unit/proto DEPS confab_proto confab_base)
confab_tests(unit/core DEPS confab_core confab_adapters_local_log confab_adapters_mem
  confab_adapters_fault confab_base)
if(TARGET unit_core_test_nomem)
  target_link_options(unit_core_test_nomem PRIVATE
    -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
endif()
confab_tests(unit/gateway DEPS confab_gateway confab_core confab_proto ${ALL_ADAPTERS} confab_base)
if(TARGET unit_gateway_test_nomem)
  target_link_options(unit_gateway_test_nomem PRIVATE
    -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
endif()
confab_tests(unit/client DEPS confab_client confab_proto confab_base)
if(TARGET unit_client_test_nomem)
  target_link_options(unit_client_test_nomem PRIVATE
    -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
endif()
confab_tests(contract DEPS ${ALL_ADAPTERS} confab_base)
if(TARGET contract_test_nomem)
  target_sources(contract_test_nomem PRIVATE ${CMAKE_SOURCE_DIR}/tests/alloc/failing_alloc.c)
  target_link_options(contract_test_nomem PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc
    -Wl,--wrap=realloc -Wl,--wrap=aligned_alloc -Wl,--wrap=strdup -Wl,--wrap=free)
endif()
confab_tests(sim DEPS confab_gateway confab_core confab_client confab_proto ${ALL_ADAPTERS}
  confab_base)

# The simulator as a program, for running and replaying seeds.
file(GLOB SIM_SRC CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*.c)
list(FILTER SIM_SRC EXCLUDE REGEX "/test_[^/]*$")
if(SIM_SRC)
  add_executable(confab-sim ${CMAKE_SOURCE_DIR}/tests/sim/cli/main.c ${SIM_SRC})
  target_include_directories(confab-sim PRIVATE ${CMAKE_SOURCE_DIR}/src
    ${CMAKE_SOURCE_DIR}/tests/sim ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(confab-sim PRIVATE confab_gateway confab_core confab_client confab_proto
    ${ALL_ADAPTERS} confab_base)
endif()

# Measurements, built on request only and never run by ctest: ninja bench_<name>.
file(GLOB BENCHES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/perf/bench_*.c)
foreach(SRC ${BENCHES})
  get_filename_component(NAME ${SRC} NAME_WE)
  add_executable(${NAME} EXCLUDE_FROM_ALL ${SRC})
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${NAME} PRIVATE confab_core ${ALL_ADAPTERS} confab_base)
endforeach()

# Instructions a message, counted by the proofs (tests/proofs/test_cost.py).
add_executable(message_cost EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/perf/message_cost.c
  ${CMAKE_SOURCE_DIR}/tests/unit/gateway/rig.c)
target_include_directories(message_cost PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests
  ${CMAKE_SOURCE_DIR}/tests/unit/gateway)
target_link_libraries(message_cost PRIVATE confab_gateway confab_core confab_proto ${ALL_ADAPTERS}
  confab_base PkgConfig::CMOCKA)

# Many stored conversations and kills (docs/design/checkpoints.md): ninja confab-scale.
file(GLOB SCALE_SRC CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/perf/scale/*.c)
if(SCALE_SRC)
  add_executable(confab-scale EXCLUDE_FROM_ALL ${SCALE_SRC})
  target_include_directories(confab-scale PRIVATE ${CMAKE_SOURCE_DIR}/src
    ${CMAKE_SOURCE_DIR}/tests/perf/scale)
  target_link_libraries(confab-scale PRIVATE confab_core confab_load confab_proto ${ALL_ADAPTERS}
    confab_base)
endif()

# Fuzzers: ninja fuzz_<name> builds one; it runs the inputs given to it, and mutations of them
# (tests/fuzz/driver.c). With clang and -DCONFAB_LIBFUZZER=ON, libFuzzer drives it instead.
option(CONFAB_LIBFUZZER "link the fuzzers with libFuzzer (clang only)" OFF)
file(GLOB FUZZERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
add_custom_target(fuzzers)
foreach(SRC ${FUZZERS})
  get_filename_component(NAME ${SRC} NAME_WE)
  add_executable(${NAME} EXCLUDE_FROM_ALL ${SRC})
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${NAME} PRIVATE confab_core confab_proto ${ALL_ADAPTERS} confab_base)
  if(CONFAB_LIBFUZZER)
    target_link_options(${NAME} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/driver.c)
  endif()
  add_dependencies(fuzzers ${NAME})
endforeach()
