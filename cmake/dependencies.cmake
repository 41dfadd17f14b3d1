# Every dependency is a package of Debian 12 and later; docs/architecture.md says why each is here.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)

# oneDNN's package configuration is called "dnnl" in 2.x and 3.x alike; both export DNNL::dnnl.
find_package(dnnl REQUIRED)
