# SPDX-License-Identifier: Apache-2.0
#
# Finds what Troupe builds on, and says which Debian package is missing when it does not.

find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
    message(FATAL_ERROR "pkg-config is missing.\n"
        "  Install it: apt-get install pkg-config\n"
        "  Or let ./dev build install everything that is needed.")
endif()

# troupe_require(TARGET MODULE PACKAGE): the pkg-config module as the imported target PkgConfig::TARGET.
function(troupe_require target module package)
    string(REGEX REPLACE "[<>=].*" "" name "${module}")
    pkg_check_modules(${target} QUIET IMPORTED_TARGET GLOBAL "${module}")
    if(NOT ${target}_FOUND)
        message(FATAL_ERROR "${module} is missing (pkg-config does not know it).\n"
            "  Install it: apt-get install ${package}\n"
            "  Or let ./dev build install everything that is needed.")
    endif()
    message(STATUS "Found ${name} ${${target}_VERSION}")
endfunction()

troupe_require(URING "liburing>=2.3" liburing-dev)
troupe_require(CK "ck>=0.7.1" libck-dev)
if(TROUPE_TESTS AND NOT TROUPE_SANITIZE STREQUAL "thread")
    troupe_require(CRITERION "criterion>=2.4" libcriterion-dev)
endif()

# Imported, so their headers count as system headers: their warnings are not ours. The ThreadSanitizer shim of ck_pr.h
# must be found before the real one, so there it is in front of every other include directory.
add_library(troupe_dependencies INTERFACE)
target_link_libraries(troupe_dependencies INTERFACE PkgConfig::URING PkgConfig::CK)
if(TROUPE_SANITIZE STREQUAL "thread")
    target_include_directories(troupe_dependencies BEFORE INTERFACE ${PROJECT_SOURCE_DIR}/tests/support/tsan)
endif()
