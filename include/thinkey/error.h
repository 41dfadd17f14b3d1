// Errors a caller can act on. Every failure that bad input can cause is one of these, with one line
// that says what is wrong, where, and how to mend it.
#pragma once

#include <stdexcept>
#include <string>

namespace thinkey {

// What kind of mistake it was; the program exits with this number.
enum class ErrorKind : int {
  Data = 1,   // a file, a model or the machine does not allow it
  Usage = 2,  // an option, a cache spec or an argument is wrong
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

// The model computed NaN or infinity: which token, and in which layer if ModelOptions::check_finite asks for
// it.
class NonFiniteError : public Error {
 public:
  explicit NonFiniteError(const std::string& message) : Error(ErrorKind::Data, message) {}
};

}  // namespace thinkey
