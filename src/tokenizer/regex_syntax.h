// Oniguruma's expressions (Ruby syntax, as tokenizer.json files use them) in PCRE2's spelling.
#pragma once

#include <string>
#include <string_view>

namespace thinkey {

// The same expression for PCRE2 with UTF, UCP and MULTILINE. What the two libraries understand differently
// is rewritten (\s, \w, \d, \b, \h, scripts, POSIX classes, [a&&[^b]]) or, where that is not possible,
// refused: Error(Data) naming it.
[[nodiscard]] std::string to_pcre2(std::string_view expression);

}  // namespace thinkey
