# Cross-compiles for 64-bit Arm with Debian's compiler and runs the tests in qemu. THINKEY_ARM_ROOT is a folder into
# which the arm64 packages of the libraries have been unpacked (apt-get download NAME:arm64; dpkg -x).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES THINKEY_ARM_ROOT)
set(CMAKE_FIND_ROOT_PATH ${THINKEY_ARM_ROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(THINKEY_ARM_LIBRARIES ${THINKEY_ARM_ROOT}/usr/lib/aarch64-linux-gnu)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-L${THINKEY_ARM_LIBRARIES} -Wl,-rpath-link,${THINKEY_ARM_LIBRARIES}")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/aarch64-linux-gnu
  -E LD_LIBRARY_PATH=${THINKEY_ARM_LIBRARIES}:/usr/aarch64-linux-gnu/lib)
set(ENV{PKG_CONFIG_LIBDIR} ${THINKEY_ARM_LIBRARIES}/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${THINKEY_ARM_ROOT})
