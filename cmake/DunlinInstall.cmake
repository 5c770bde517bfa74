# The library that is installed: libdunlin, one file with everything that the public headers need, and what find_package
# and pkg-config want beside it. BUILD_SHARED_LIBS chooses a shared library; the default is a static one.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# What `target` links, through everything it links: the project's own libraries and other projects' targets.
function(dunlin_link_closure target own_variable external_variable)
  set(own)
  set(external)
  set(pending "${target}")
  while(pending)
    list(POP_FRONT pending next)
    if(next STREQUAL "dunlin_flags" OR next IN_LIST own OR next IN_LIST external)
      continue()
    endif()
    if(NOT next MATCHES "^dunlin_")
      list(APPEND external "${next}")
      continue()
    endif()
    list(APPEND own "${next}")
    get_target_property(links "${next}" INTERFACE_LINK_LIBRARIES)
    if(links)
      # Private ones appear as $<LINK_ONLY:name>.
      list(TRANSFORM links REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1")
      list(APPEND pending ${links})
    endif()
  endwhile()
  set("${own_variable}" "${own}" PARENT_SCOPE)
  set("${external_variable}" "${external}" PARENT_SCOPE)
endfunction()

# How the user of a static library finds the external targets: lines for dunlinConfig.cmake, names for dunlin.pc. Those
# that are headers alone are dropped: nothing of them is left in the objects.
function(dunlin_find_externals external_variable config_variable pc_variable)
  set(kept)
  set(config)
  set(pc)
  foreach(target IN LISTS ${external_variable})
    if(target STREQUAL "nlohmann_json::nlohmann_json")
      continue()
    elseif(target STREQUAL "dl")  # of the C library itself: nothing to find
    elseif(target STREQUAL "Threads::Threads")
      string(APPEND config "  find_dependency(Threads)\n")
    elseif(target MATCHES "^PkgConfig::(.*)$")
      set(prefix "${CMAKE_MATCH_1}")
      string(APPEND config "  find_dependency(PkgConfig)\n"
                           "  pkg_check_modules(${prefix} REQUIRED QUIET IMPORTED_TARGET ${${prefix}_MODULE_NAME})\n")
      list(APPEND pc "${${prefix}_MODULE_NAME}")
    elseif(target STREQUAL "fmt::fmt")
      string(APPEND config "  find_dependency(fmt)\n")
      list(APPEND pc fmt)
    else()
      message(FATAL_ERROR "cmake/DunlinInstall.cmake does not say how a user of the static library finds ${target}")
    endif()
    list(APPEND kept "${target}")
  endforeach()
  list(JOIN pc " " pc)
  set("${external_variable}" "${kept}" PARENT_SCOPE)
  set("${config_variable}" "${config}" PARENT_SCOPE)
  set("${pc_variable}" "${pc}" PARENT_SCOPE)
endfunction()

# dunlin_public_library(NAME STATIC|SHARED): libdunlin from the objects of the C API and of all that it links.
function(dunlin_public_library NAME TYPE)
  dunlin_link_closure(dunlin_c_api own external)
  dunlin_find_externals(external config pc)
  set(objects)
  foreach(target IN LISTS own)
    get_target_property(type "${target}" TYPE)
    if(type STREQUAL "STATIC_LIBRARY")
      list(APPEND objects "$<TARGET_OBJECTS:${target}>")
    endif()
  endforeach()
  set(exports "${PROJECT_SOURCE_DIR}/cmake/exports.map")
  add_library("${NAME}" "${TYPE}" ${objects})
  # Private: nobody who uses the library compiles against them. A static library passes them on to the linker.
  target_link_libraries("${NAME}" PRIVATE ${external})
  target_compile_features("${NAME}" INTERFACE cxx_std_20)
  target_include_directories("${NAME}" INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
                                                 "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  set_target_properties("${NAME}" PROPERTIES
    OUTPUT_NAME dunlin EXPORT_NAME dunlin VERSION "${PROJECT_VERSION}" SOVERSION "${PROJECT_VERSION_MAJOR}"
    ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib" LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib"
    LINKER_LANGUAGE CXX LINK_DEPENDS "${exports}")
  if(TYPE STREQUAL "SHARED")
    # Instances of the standard library's templates are of default visibility: the list hides them too.
    target_link_options("${NAME}" PRIVATE "LINKER:--version-script=${exports}")
  endif()
  if(DUNLIN_SANITIZE)
    target_link_options("${NAME}" PUBLIC "-fsanitize=${DUNLIN_SANITIZE}")
  endif()
  set(dunlin_config_dependencies "${config}" PARENT_SCOPE)
  set(dunlin_pc_dependencies "${pc}" PARENT_SCOPE)
endfunction()

# dunlin_install_library(): declares libdunlin and installs it with its headers: `cmake --install DIR --component library`.
function(dunlin_install_library)
  if(BUILD_SHARED_LIBS)
    dunlin_public_library(dunlin_public SHARED)
    set(dunlin_config_dependencies)
    set(dunlin_pc_private ".private")
  else()
    # A static library leaves what it needs to its user's linker.
    dunlin_public_library(dunlin_public STATIC)
    set(dunlin_pc_libs " -lstdc++ -lm -pthread")
  endif()
  add_library(dunlin::dunlin ALIAS dunlin_public)
  add_library(dunlin_c INTERFACE)
  target_link_libraries(dunlin_c INTERFACE dunlin_public)
  set_target_properties(dunlin_c PROPERTIES EXPORT_NAME c)
  add_library(dunlin::c ALIAS dunlin_c)

  set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/dunlin")
  file(RELATIVE_PATH dunlin_pc_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  configure_file("${PROJECT_SOURCE_DIR}/cmake/dunlin.pc.in" "${PROJECT_BINARY_DIR}/dunlin.pc" @ONLY)
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/dunlinConfig.cmake.in"
                                "${PROJECT_BINARY_DIR}/dunlinConfig.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/dunlinConfigVersion.cmake" COMPATIBILITY SameMajorVersion)

  install(TARGETS dunlin_public dunlin_c EXPORT dunlinTargets COMPONENT library)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/dunlin" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT library)
  install(EXPORT dunlinTargets NAMESPACE dunlin:: DESTINATION "${package_dir}" COMPONENT library)
  install(FILES "${PROJECT_BINARY_DIR}/dunlinConfig.cmake" "${PROJECT_BINARY_DIR}/dunlinConfigVersion.cmake"
          DESTINATION "${package_dir}" COMPONENT library)
  install(FILES "${PROJECT_BINARY_DIR}/dunlin.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)
  install(TARGETS dunlin COMPONENT program)
endfunction()
