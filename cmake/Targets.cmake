# One library per folder: a wrong include between folders does not link.
#   edged_library(NAME common_netlink SOURCES a.cc b.cc DEPS PkgConfig::mnl)
function(edged_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_library(${ARG_NAME} STATIC ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_DEPS})
endfunction()

# Unit tests of one folder; they need neither root nor a network. NOT_UNDER_TSAN:
# ThreadSanitizer has nothing to find in one thread, and of gRPC's, of which
# Debian has no build for it, it does not see what keeps them apart.
#   edged_unit_test(NAME common_netlink SOURCES message_test.cc DEPS common_netlink)
function(edged_unit_test)
  cmake_parse_arguments(ARG "NOT_UNDER_TSAN" "NAME" "SOURCES;DEPS" ${ARGN})
  if(ARG_NOT_UNDER_TSAN AND EDGED_SANITIZE STREQUAL thread)
    return()
  endif()
  add_executable(${ARG_NAME}_test ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME}_test PRIVATE ${ARG_DEPS} catch2_main)
  target_compile_definitions(${ARG_NAME}_test PRIVATE
    TEST_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}")
  if(NOT TARGET unit_tests)
    add_custom_target(unit_tests)
  endif()
  add_dependencies(unit_tests ${ARG_NAME}_test)
  add_test(NAME unit/${ARG_NAME} COMMAND ${ARG_NAME}_test)
  set_tests_properties(unit/${ARG_NAME} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()

# Tests of one folder against this host's kernel, in network namespaces of
# their own; they need root.
function(edged_kernel_test)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_executable(${ARG_NAME}_kernel_test ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME}_kernel_test PRIVATE ${ARG_DEPS} catch2_main)
  target_compile_definitions(${ARG_NAME}_kernel_test PRIVATE
    TEST_SOURCE_DIR="${CMAKE_CURRENT_SOURCE_DIR}")
  add_test(NAME kernel/${ARG_NAME} COMMAND ${ARG_NAME}_kernel_test)
  set_tests_properties(kernel/${ARG_NAME} PROPERTIES LABELS kernel TIMEOUT 300)
endfunction()
