# Every library comes from Debian 12. gRPC, Protobuf and Abseil are linked
# statically everywhere (a third of the memory of the shared ones). The others
# are shared in development; in the release only the C libraries without an
# archive in Debian are, since one copy of the C++ library and fewer relocations
# start faster and take less memory.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# pkg_target(TARGET package...): an interface target from pkg-config.
function(pkg_target target)
  pkg_check_modules(${target}_PC REQUIRED IMPORTED_TARGET ${ARGN})
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE PkgConfig::${target}_PC)
endfunction()

# archive_target(TARGET NAME [dependency...]): the same from libNAME.a, in the
# release; else from the package libNAME, or NAME.
function(archive_target target name)
  if(NOT EDGED_STATIC)
    pkg_search_module(${target}_PC REQUIRED IMPORTED_TARGET lib${name} ${name})
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE PkgConfig::${target}_PC)
    return()
  endif()
  find_library(${name}_ARCHIVE lib${name}.a REQUIRED)
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE ${${name}_ARCHIVE} ${ARGN})
endfunction()

pkg_target(curl libcurl)
pkg_target(mnl libmnl)
archive_target(nftnl nftnl mnl)
archive_target(sodium sodium)
archive_target(yaml_cpp yaml-cpp)
if(EDGED_STATIC)
  # Neither has an archive; both are whole in their headers.
  add_library(spdlog_fmt INTERFACE)
  target_compile_definitions(spdlog_fmt INTERFACE
    SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY)
else()
  pkg_target(spdlog_fmt spdlog fmt)
endif()

# Header-only.
add_library(cli11 INTERFACE)
add_library(nlohmann_json INTERFACE)

# Archives that refer to each other belong in one group.
function(static_group target)
  set(paths "")
  foreach(name IN LISTS ARGN)
    find_library(${name}_ARCHIVE lib${name}.a REQUIRED)
    list(APPEND paths ${${name}_ARCHIVE})
  endforeach()
  list(JOIN paths "," joined)
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE
    "-Wl,--start-group,${joined},--end-group" Threads::Threads)
endfunction()

file(GLOB absl_archives /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/libabsl_*.a)
set(absl_names "")
foreach(path IN LISTS absl_archives)
  get_filename_component(name ${path} NAME_WE)
  string(REGEX REPLACE "^lib" "" name ${name})
  list(APPEND absl_names ${name})
endforeach()
static_group(absl ${absl_names})
static_group(protobuf_static protobuf)
target_link_libraries(protobuf_static INTERFACE z)
static_group(grpc_static grpc++_unsecure grpc_unsecure gpr
             upb address_sorting protobuf re2 cares ${absl_names})
target_link_libraries(grpc_static INTERFACE z)

find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

if(EDGED_BUILD_TESTS)
  pkg_target(openssl openssl)  # of the tests' own HTTP server
  add_library(catch2_main STATIC ${PROJECT_SOURCE_DIR}/tests/main.cc)
  target_include_directories(catch2_main PUBLIC ${PROJECT_SOURCE_DIR})
endif()
