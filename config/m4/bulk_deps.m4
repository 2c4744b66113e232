dnl SPDX-License-Identifier: BSD-3-Clause

dnl BULK_LIBURING
dnl The channel library needs liburing; everything else in user space needs the channel library.
AC_DEFUN([BULK_LIBURING], [
  PKG_CHECK_MODULES([LIBURING], [liburing >= 2.3], [bulk_channel_summary=yes], [
    AC_MSG_ERROR([liburing 2.3 or later is needed (Debian: apt-get install liburing-dev): $LIBURING_PKG_ERRORS])
  ])
  PKG_CHECK_MODULES([FMT], [fmt], [bulk_have_fmt=yes], [bulk_have_fmt=no])
])

dnl BULK_UCX
dnl The UCT module is built against UCX 1.18 or later; ucp_verify against any UCX 1.13 or later.
dnl Conditionals HAVE_UCX (1.13) and BUILD_UCT (1.18); substitutes ucxmoduledir.
AC_DEFUN([BULK_UCX], [
  AC_ARG_WITH([ucx-moduledir],
    [AS_HELP_STRING([--with-ucx-moduledir=DIR],
      [install libuct_bulk.so.0 into DIR (default: the module folder of the installed UCX)])])

  PKG_CHECK_MODULES([UCX], [ucx >= 1.13], [bulk_have_ucx=yes], [bulk_have_ucx=no])
  PKG_CHECK_MODULES([UCX_UCT], [ucx ucx-uct ucx-ucs >= 1.18], [bulk_build_uct=yes], [bulk_build_uct=no])
  bulk_ucx_version=`$PKG_CONFIG --modversion ucx 2>/dev/null`
  AS_IF([test $bulk_build_uct = yes], [
    bulk_uct_summary="yes, UCX $bulk_ucx_version"
  ], [test -n "$bulk_ucx_version"], [
    bulk_uct_summary="no (UCX $bulk_ucx_version is older than 1.18)"
    AC_MSG_WARN([the UCT module will not be built: it needs UCX 1.18 or later, and UCX $bulk_ucx_version is installed])
  ], [
    bulk_uct_summary="no (UCX's headers are missing: Debian package libucx-dev)"
    AC_MSG_WARN([the UCT module will not be built: UCX's headers are missing (Debian: apt-get install libucx-dev)])
  ])

  AS_CASE(["$with_ucx_moduledir"],
    [yes|no], [AC_MSG_ERROR([--with-ucx-moduledir needs a folder])],
    [''], [
      bulk_ucx_libdir=`$PKG_CONFIG --variable=libdir ucx 2>/dev/null`
      dnl Debian's ucx.pc is relative to its own folder: print the plain path where it exists.
      bulk_ucx_real=`cd "$bulk_ucx_libdir" 2>/dev/null && pwd -P`
      ucxmoduledir=${bulk_ucx_real:-${bulk_ucx_libdir:-'${libdir}'}}/ucx
    ],
    [ucxmoduledir=$with_ucx_moduledir])
  bulk_moduledir_summary=$ucxmoduledir
  AC_SUBST([ucxmoduledir])
  AM_CONDITIONAL([HAVE_UCX], [test $bulk_have_ucx = yes])
  AM_CONDITIONAL([BUILD_UCT], [test $bulk_build_uct = yes])
])

dnl BULK_TEST_TOOLS
dnl Tests are built where their tools are there. --enable-lab-tests wants them all and makes
dnl `make install' install the tests that need the lab into $(libexecdir)/rdma-bulk/tests.
dnl Conditionals HAVE_GTEST, BUILD_UCP_VERIFY, BUILD_MPI_CHECK, BUILD_BENCH, BUILD_CHANNEL_MICRO, ENABLE_LAB_TESTS.
AC_DEFUN([BULK_TEST_TOOLS], [
  AC_ARG_ENABLE([lab-tests],
    [AS_HELP_STRING([--enable-lab-tests],
      [build all tests that need the lab, and install them with make install (default: no)])],
    [], [enable_lab_tests=no])

  PKG_CHECK_MODULES([GTEST], [gtest gtest_main], [bulk_have_gtest=yes], [bulk_have_gtest=no])
  AS_IF([test $bulk_have_gtest = yes], [bulk_gtest_summary=yes],
    [bulk_gtest_summary="no (GoogleTest is missing: Debian package libgtest-dev)"])

  AC_LANG_PUSH([C++])
  AC_CHECK_HEADER([CLI/CLI.hpp], [bulk_have_cli11=yes], [bulk_have_cli11=no])
  AC_LANG_POP([C++])

  bulk_missing=
  AS_IF([test $bulk_have_ucx = no], [bulk_missing="$bulk_missing libucx-dev"])
  AS_IF([test $bulk_have_fmt = no], [bulk_missing="$bulk_missing libfmt-dev"])
  AS_IF([test $bulk_have_cli11 = no], [bulk_missing="$bulk_missing libcli11-dev"])
  bulk_ucp_verify=yes
  bulk_ucp_verify_summary=yes
  AS_IF([test -n "$bulk_missing"], [
    bulk_ucp_verify=no
    bulk_ucp_verify_summary="no (missing; Debian packages:$bulk_missing)"
  ])

  dnl Open MPI names its pkg-config file ompi-c; Debian's alternative for whichever MPI is mpi-c.
  PKG_CHECK_MODULES([MPI], [ompi-c], [bulk_have_mpi=yes], [bulk_have_mpi=no])
  AS_IF([test $bulk_have_mpi = yes], [bulk_mpi_summary=yes],
    [bulk_mpi_summary="no (Open MPI is missing: Debian package libopenmpi-dev)"])

  PKG_CHECK_MODULES([BENCHMARK], [benchmark], [bulk_have_benchmark=yes], [bulk_have_benchmark=no])
  bulk_missing=
  AS_IF([test $bulk_have_fmt = no], [bulk_missing="$bulk_missing libfmt-dev"])
  AS_IF([test $bulk_have_cli11 = no], [bulk_missing="$bulk_missing libcli11-dev"])
  AS_IF([test -z "$bulk_missing"], [bulk_bench=yes], [bulk_bench=no])
  AS_IF([test $bulk_have_benchmark = no], [bulk_missing="$bulk_missing libbenchmark-dev"])
  AS_IF([test -z "$bulk_missing"], [bulk_bench_summary=yes],
    [bulk_bench_summary="not all (missing; Debian packages:$bulk_missing)"])

  AS_IF([test "x$enable_lab_tests" = xyes], [
    bulk_labtests_summary="installed into libexecdir/rdma-bulk/tests"
    AS_IF([test $bulk_have_gtest = no], [AC_MSG_ERROR([--enable-lab-tests: unit tests: $bulk_gtest_summary])])
    AS_IF([test $bulk_build_uct = no], [AC_MSG_ERROR([--enable-lab-tests: UCT module: $bulk_uct_summary])])
    AS_IF([test $bulk_ucp_verify = no], [AC_MSG_ERROR([--enable-lab-tests: ucp_verify: $bulk_ucp_verify_summary])])
    AS_IF([test $bulk_have_mpi = no], [AC_MSG_ERROR([--enable-lab-tests: mpi_check: $bulk_mpi_summary])])
    AS_IF([test "$bulk_bench_summary" != yes], [AC_MSG_ERROR([--enable-lab-tests: benchmarks: $bulk_bench_summary])])
  ], [bulk_labtests_summary="no (--enable-lab-tests)"])

  AM_CONDITIONAL([HAVE_GTEST], [test $bulk_have_gtest = yes])
  AM_CONDITIONAL([BUILD_UCP_VERIFY], [test $bulk_ucp_verify = yes])
  AM_CONDITIONAL([BUILD_MPI_CHECK], [test $bulk_have_mpi = yes])
  AM_CONDITIONAL([BUILD_BENCH], [test $bulk_bench = yes])
  AM_CONDITIONAL([BUILD_CHANNEL_MICRO], [test $bulk_have_benchmark = yes])
  AM_CONDITIONAL([ENABLE_LAB_TESTS], [test "x$enable_lab_tests" = xyes])
])

dnl BULK_UDEV
dnl Substitutes udevrulesdir.
AC_DEFUN([BULK_UDEV], [
  AC_ARG_WITH([udevrulesdir],
    [AS_HELP_STRING([--with-udevrulesdir=DIR], [install the udev rule into DIR (default: ask pkg-config udev)])])
  AS_CASE(["$with_udevrulesdir"],
    [yes|''], [
      dnl /lib may be a link to /usr/lib, and a staged installation must not make it a folder.
      AS_IF([test -d /usr/lib/udev], [udevrulesdir=/usr/lib/udev],
        [udevrulesdir=`$PKG_CONFIG --variable=udevdir udev 2>/dev/null`])
      udevrulesdir=${udevrulesdir:-/lib/udev}/rules.d
    ],
    [udevrulesdir=$with_udevrulesdir])
  AC_SUBST([udevrulesdir])
])
