dnl SPDX-License-Identifier: BSD-3-Clause

dnl The module is built and tested for kernels from BULK_KERNEL_OLDEST on (see src/kernel/compat.h).
m4_define([BULK_KERNEL_OLDEST], [6.1])
m4_define([BULK_KERNEL_NEWEST], [7.3])

dnl BULK_KERNEL
dnl Finds the build tree of the kernel that rdma_bulk.ko is to be built for, and refuses one that is too old.
dnl Conditional WITH_KERNEL_MODULE; substitutes KERNEL_DIR, KERNEL_RELEASE.
AC_DEFUN([BULK_KERNEL], [
  AC_ARG_WITH([kernel],
    [AS_HELP_STRING([--with-kernel=DIR],
      [build the module for the kernel whose build tree is DIR (default: /lib/modules/`uname -r`/build)])])
  AC_ARG_WITH([kernel-module],
    [AS_HELP_STRING([--without-kernel-module], [do not build rdma_bulk.ko])])

  KERNEL_DIR=
  KERNEL_RELEASE=
  AS_CASE(["$with_kernel"],
    [no], [with_kernel_module=no],
    [yes|''], [KERNEL_DIR=/lib/modules/`uname -r`/build],
    [KERNEL_DIR=$with_kernel; with_kernel_module=yes])

  AS_IF([test "x$with_kernel_module" = xno], [
    bulk_kernel_summary="no (--without-kernel-module)"
  ], [
    AC_MSG_CHECKING([for a kernel build tree])
    AS_IF([test -r "$KERNEL_DIR/include/config/kernel.release"], [
      KERNEL_RELEASE=`cat "$KERNEL_DIR/include/config/kernel.release"`
      AC_MSG_RESULT([$KERNEL_DIR ($KERNEL_RELEASE)])
      bulk_kernel_version=`AS_ECHO(["$KERNEL_RELEASE"]) | sed -n 's/^\(@<:@0-9@:>@*\.@<:@0-9@:>@*\).*/\1/p'`
      AS_VERSION_COMPARE([$bulk_kernel_version], [BULK_KERNEL_OLDEST], [
        AC_MSG_ERROR([rdma_bulk.ko needs Linux BULK_KERNEL_OLDEST or later, and $KERNEL_DIR is for $KERNEL_RELEASE.
  For another kernel: --with-kernel=DIR. To build without the module: --without-kernel-module])
      ])
      AS_VERSION_COMPARE([BULK_KERNEL_NEWEST], [$bulk_kernel_version], [
        AC_MSG_WARN([rdma_bulk.ko is known to work on Linux BULK_KERNEL_OLDEST to BULK_KERNEL_NEWEST; $KERNEL_RELEASE is newer])
      ])
      with_kernel_module=yes
      bulk_kernel_summary="for $KERNEL_RELEASE"
    ], [
      AC_MSG_RESULT([no])
      AS_IF([test "x$with_kernel_module" = xyes], [
        AC_MSG_ERROR([$KERNEL_DIR is no prepared kernel build tree (include/config/kernel.release is missing).
  On Debian: apt-get install linux-headers-amd64, then --with-kernel=/usr/src/linux-headers-VERSION.
  To build without the module: --without-kernel-module])
      ])
      with_kernel_module=no
      bulk_kernel_summary="no (no kernel headers in $KERNEL_DIR; see --with-kernel)"
      AC_MSG_WARN([rdma_bulk.ko will not be built: no kernel build tree in $KERNEL_DIR (see --with-kernel)])
    ])
  ])
  AC_SUBST([KERNEL_DIR])
  AC_SUBST([KERNEL_RELEASE])
  AM_CONDITIONAL([WITH_KERNEL_MODULE], [test "x$with_kernel_module" = xyes])
])
