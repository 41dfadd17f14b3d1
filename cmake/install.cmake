# cmake --install: the library, its headers, the program, and a package for find_package(thinkey).
include(CMakePackageConfigHelpers)

install(TARGETS thinkey EXPORT thinkeyTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/thinkey DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET thinkey-cli)
  install(TARGETS thinkey-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(EXPORT thinkeyTargets NAMESPACE thinkey:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/thinkey)

# The archive is static, so a consumer links what the library links.
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/thinkeyConfig.cmake.in
  ${PROJECT_BINARY_DIR}/thinkeyConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/thinkey)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/thinkeyConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/thinkeyConfig.cmake ${PROJECT_BINARY_DIR}/thinkeyConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/thinkey)
