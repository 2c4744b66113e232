// SPDX-License-Identifier: BSD-3-Clause
//
// How functions of the channel library fail. No function throws.
//
//  - Control functions (opening, registering, binding, ...) return Result<T>: a value, or an Error with an
//    errno and a sentence for people.
//  - Functions of the data path return Status: one int, no allocation.
//
// Error numbers are positive errno values everywhere (EAGAIN, not -EAGAIN).
#pragma once

#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

namespace bulk {

// "EAGAIN (Resource temporarily unavailable)"; "success" for 0. Takes positive errno values.
std::string errno_text(int error);

// The outcome of an operation that yields nothing else: 0 or a positive errno value.
class [[nodiscard]] Status {
 public:
  constexpr Status() = default;
  constexpr explicit Status(int error) : error_(error) {}

  // From what the kernel returns: 0 or more is success, a negative value an errno.
  static constexpr Status from_kernel(long result) {
    return Status(result < 0 ? static_cast<int>(-result) : 0);
  }

  constexpr bool ok() const { return error_ == 0; }
  constexpr int error() const { return error_; }
  // The same as ok().
  constexpr explicit operator bool() const { return ok(); }
  // "Try again": the window, the command or the endpoint is not ready; on_writable() will tell.
  constexpr bool again() const { return error_ == 11 /* EAGAIN */; }
  std::string text() const { return errno_text(error_); }

  friend constexpr bool operator==(Status, Status) = default;

 private:
  int error_ = 0;
};

// Why a control function failed.
struct Error {
  int code = 0;      // positive errno
  std::string what;  // what was tried, and why it did not work; without the errno's own text

  // "what: EACCES (Permission denied)"
  std::string text() const { return what + ": " + errno_text(code); }
};

// A value, or the reason why there is none. Asking for the one that is not there ends the program.
template <class T>
class [[nodiscard]] Result {
 public:
  // NOLINTBEGIN(google-explicit-constructor): `return value;` and `return Error{...};` are its use
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return *or_abort(std::get_if<0>(&state_)); }
  const T& value() const& { return *or_abort(std::get_if<0>(&state_)); }
  T&& value() && { return std::move(*or_abort(std::get_if<0>(&state_))); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const { return *or_abort(std::get_if<1>(&state_)); }

 private:
  template <class P>
  static P* or_abort(P* pointer) {
    if (pointer == nullptr) std::abort();
    return pointer;
  }

  std::variant<T, Error> state_;
};

// Success, or the reason why not.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return error_.code == 0; }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    if (ok()) std::abort();
    return error_;
  }

 private:
  Error error_;
};

}  // namespace bulk
