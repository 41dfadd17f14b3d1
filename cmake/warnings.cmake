# For code that only arranges work (the program, the tests): it compiles in two thirds of the time.
function(thinkey_compile_quickly target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# Warnings and sanitizers, the same for every target of the project.
function(thinkey_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    -Wno-sign-conversion -Wno-missing-field-initializers -Wnon-virtual-dtor -Woverloaded-virtual)
  # GCC 12 warns of overlapping copies inside std::string's own operators (its bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  if(THINKEY_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(THINKEY_FUZZ)  # Clang's, with the coverage that libFuzzer goes by
    target_compile_options(${target} PRIVATE -fsanitize=${THINKEY_FUZZ_SANITIZERS} -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
    target_compile_definitions(${target} PRIVATE THINKEY_FEW_TARGETS)
    if(THINKEY_FUZZ_FAST)  # kernels for one CPU; the standard library still checks what it is asked for
      target_compile_definitions(${target} PRIVATE HWY_COMPILE_ONLY_STATIC _GLIBCXX_ASSERTIONS)
      if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")  # without it Highway emulates vectors
        target_compile_options(${target} PRIVATE -march=haswell -maes)
      endif()
    endif()
  endif()
  if(THINKEY_TSAN)
    target_compile_options(${target} PRIVATE -fsanitize=thread)
    target_compile_definitions(${target} PRIVATE THINKEY_FEW_TARGETS)
    target_link_options(${target} PUBLIC -fsanitize=thread)
  endif()
  if(THINKEY_SANITIZE)
    # GCC documents false positives of this warning under sanitizers; the optimised build still has it.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
    target_compile_definitions(${target} PRIVATE THINKEY_FEW_TARGETS)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()
