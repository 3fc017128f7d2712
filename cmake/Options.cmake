# How everything is compiled. One place, so that no folder has flags of its own.
option(EDGED_BUILD_TESTS "Build the unit tests" ON)
option(EDGED_FUZZ "Build the fuzz targets for libFuzzer, too; needs clang" OFF)
option(EDGED_BENCH "Offer what `./dev bench` measures with" OFF)
option(EDGED_STATIC "Link all libraries statically of which Debian has an archive" OFF)
set(EDGED_SANITIZE "" CACHE STRING "Comma-separated sanitizers, for example address,undefined")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD AND NOT EDGED_STATIC)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wno-missing-field-initializers
                    -fstack-protector-strong)
# The annotations of common/mutex.h; gcc cannot check them.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Werror=thread-safety)
endif()
add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
add_link_options(-pie -Wl,-z,relro,-z,now)

if(EDGED_SANITIZE)
  add_compile_options(-fsanitize=${EDGED_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${EDGED_SANITIZE})
endif()
if(EDGED_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(EDGED_STATIC)
  add_compile_options(-ffunction-sections -fdata-sections)
  add_link_options(-Wl,--gc-sections -static-libstdc++ -static-libgcc
                   -Wl,-z,pack-relative-relocs)
endif()
