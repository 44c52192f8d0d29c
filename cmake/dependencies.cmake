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

# Headers only: the library is loaded when a crash report first needs it, and reports do without when it is not there.
option(TROUPE_LIBDW "Crash reports with static functions, files and lines, where libdw is installed" ON)
if(TROUPE_LIBDW)
    pkg_check_modules(LIBDW QUIET "libdw>=0.176")
endif()
if(TROUPE_LIBDW AND LIBDW_FOUND)
    message(STATUS "Found libdw ${LIBDW_VERSION}")
    target_compile_definitions(troupe_dependencies INTERFACE TR_HAVE_LIBDW)
    target_include_directories(troupe_dependencies SYSTEM INTERFACE ${LIBDW_INCLUDE_DIRS})
else()
    message(STATUS "No libdw (apt-get install libdw-dev): crash reports will name exported functions only")
endif()
if(TROUPE_SANITIZE STREQUAL "thread")
    target_include_directories(troupe_dependencies BEFORE INTERFACE ${PROJECT_SOURCE_DIR}/tests/support/tsan)
endif()
