# Compiler flags shared by every target. -Werror only where CI asks for it: a newer compiler of a
# stranger must not stop the build.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
option(CONFAB_WERROR "treat warnings as errors" OFF)
set(CONFAB_SANITIZE "" CACHE STRING "value for -fsanitize=")

# The simulator runs in the debug build: -O1 halves its time and lets gcc see more than -O0 does.
set(CMAKE_C_FLAGS_DEBUG "-g -O1")

# For tools/coverage: branches as they are written, without those of DCHECK.
set(CMAKE_C_FLAGS_COVERAGE "-g -O0 --coverage -fprofile-update=atomic")

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wconversion -fno-omit-frame-pointer -fstack-protector-strong)
# Two members written one by one and read as one vector, which this brings about wherever a struct is
# passed on, have to wait until all that was written before them has left the processor.
add_compile_options(-fno-tree-slp-vectorize)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  add_compile_options(-msse4.2)
endif()

# A target with the property CONFAB_WHOLE is compiled once more as a whole when it is linked: a tenth
# fewer instructions for a message, for some seconds of a build. Objects carry ordinary code as well,
# of which everything else is linked.
set(CONFAB_LTO OFF)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo"
   AND NOT CONFAB_SANITIZE)
  add_compile_options(-flto=auto -ffat-lto-objects)
  add_link_options($<IF:$<BOOL:$<TARGET_PROPERTY:CONFAB_WHOLE>>,-flto=auto,-fno-lto>)
  set(CONFAB_LTO ON)
endif()

if(CONFAB_WERROR)
  add_compile_options(-Werror)
endif()
if(CONFAB_SANITIZE)
  add_compile_options(-fsanitize=${CONFAB_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CONFAB_SANITIZE})
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(CONFAB_DEBUG=1)
endif()
