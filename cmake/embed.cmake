# cmake -D INPUT=file -D OUTPUT=file.cpp -D NAME=name -P embed.cmake: a file as a constant of the program,
# extern const std::string_view NAME in thinkey::server.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include <string_view>
namespace thinkey::server {
extern const std::string_view ${NAME};
namespace {
constexpr char kBytes[] = {${bytes}};
}
const std::string_view ${NAME}(kBytes, sizeof(kBytes));
}
")
