# SPDX-License-Identifier: BSD-3-Clause
"""The lab: makes a Debian root file system, builds the project in it, boots virtual RDMA hosts.

    cli      commands and options           term     progress, logs, locks, child processes
    rootfs   the Debian tree and its image  chroot   running things inside that tree
    debian   trees and packages of Debian   kernel_build  other kernels from Debian's packages
    kernel   flavours, headers, initrd      build    the project, natively, and its disk image
    releases headers of Linux 6.1 to 7.3   hosts    what all hosts have in common
    qemu     hosts in QEMU                  uml      hosts in user-mode Linux
    net      the network of the latter      reach    the way ssh takes into it
    session  a run of hosts from boot to verdict
    klog     reading kernel logs            results  what test programs print, counted
    programs what runs on hosts as tests    crew     running them side by side
    pair     a server and its client        check    `lab check`
    demo     `lab demo`                     bench    `lab bench`, a package
"""
