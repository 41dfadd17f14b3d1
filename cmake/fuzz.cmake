# What needs Clang.
if(THINKEY_FUZZ AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "THINKEY_FUZZ needs Clang: cmake --preset fuzz")
endif()
if(THINKEY_TSAN AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "THINKEY_TSAN needs Clang, whose OpenMP tells the sanitizer of its barriers: cmake --preset tsan")
endif()
