dnl SPDX-License-Identifier: BSD-3-Clause

dnl BULK_CXX20
dnl Puts the C++ compiler into C++20 mode and checks that it and its library know what is used:
dnl <span>, <concepts>, designated initialisers, operator <=>.
AC_DEFUN([BULK_CXX20], [
  AC_LANG_PUSH([C++])
  CXX="$CXX -std=c++20"
  AC_MSG_CHECKING([whether $CXX compiles C++20])
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
    #include <bit>
    #include <compare>
    #include <concepts>
    #include <span>
    struct Pair { int a, b; auto operator<=>(const Pair&) const = default; };
    template <std::integral T> constexpr T twice(T x) { return x + x; }
  ]], [[
    constexpr Pair pair{.a = 1, .b = 2};
    static_assert(pair < Pair{1, 3} && twice(2) == 4);
    static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big);
    int numbers[] = {1, 2};
    return std::span<int>(numbers).size() == 2 ? 0 : 1;
  ]])], [AC_MSG_RESULT([yes])], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([a C++20 compiler is needed: GCC 12 or later (Debian: apt-get install g++)])
  ])
  AC_LANG_POP([C++])
  BULK_CXX_VERSION=`$CXX -dumpfullversion -dumpversion 2>/dev/null`
])

dnl BULK_WARNINGS
dnl Sets BULK_CFLAGS and BULK_CXXFLAGS, the warnings that the project's own code is held to.
AC_DEFUN([BULK_WARNINGS], [
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors (default: no)])],
    [], [enable_werror=no])
  bulk_warnings="-Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla"
  AS_IF([test "x$enable_werror" = xyes], [bulk_warnings="$bulk_warnings -Werror"])
  BULK_CFLAGS="$bulk_warnings -Wstrict-prototypes -Wmissing-prototypes"
  BULK_CXXFLAGS="$bulk_warnings -Wnon-virtual-dtor -Woverloaded-virtual -Wold-style-cast"
  AC_SUBST([BULK_CFLAGS])
  AC_SUBST([BULK_CXXFLAGS])
])
