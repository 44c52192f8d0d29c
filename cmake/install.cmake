# SPDX-License-Identifier: Apache-2.0
#
# Installs the libraries, the public headers, troupe.pc and the CMake package (troupe::troupe, troupe::troupe_static).

include(CMakePackageConfigHelpers)
set(troupe_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/troupe)

set(troupe_installed troupe_static)
if(TARGET troupe)
    list(APPEND troupe_installed troupe)
endif()
install(TARGETS ${troupe_installed}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/troupe DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")

# Relative to its own place, so that the installed tree can be moved.
file(RELATIVE_PATH troupe_pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/troupe.pc.in troupe.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/troupe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/troupe-config.cmake.in troupe-config.cmake
    INSTALL_DESTINATION ${troupe_cmake_dir}
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(troupe-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/troupe-config.cmake ${PROJECT_BINARY_DIR}/troupe-config-version.cmake
    DESTINATION ${troupe_cmake_dir})
