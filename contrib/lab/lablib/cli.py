# SPDX-License-Identifier: BSD-3-Clause
"""The lab's commands and options."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from . import build, check, demo, kernel, kernel_build, klog, rootfs, term
from .bench import command as bench_command
from .hosts import Machine
from .paths import BUILT_KERNELS, CACHE, LOGS, MINE, kernel_folders
from .session import Session, runner

_HELP = """\
Virtual RDMA hosts for rdma-bulk: a Debian 13 root file system, the project built in it, and hosts in QEMU
or user-mode Linux (--kernel um) joined by a network with a software RDMA adapter (rxe0) and rdma_bulk on each.

commands
  check [FILTER]           all tests, or those whose `program` or `program.Suite.Test` contains FILTER
  demo                     the transport bulk beside rc_verbs and tcp on two hosts, an MPI program, a table
  bench                    bulk beside every peer: rounds of measurements, tables, plots
  run [--all] -- COMMAND   boot hosts, run COMMAND on host 1 (--all: on each), stop them
  shell                    boot hosts, give a prompt on host 1, stop them
  build                    build only

  up                       boot hosts that stay up (for 4 hours at most)
  exec HOST -- COMMAND     run COMMAND on host HOST (1, 2, host1, ..., all) of those
  reload                   build, bring what changed to the hosts that are up, reload rdma_bulk
  status                   what is up, where its logs are
  down                     stop the hosts that are up

  kernel list              the kernels there are, where each comes from, and those that can be made
  kernel build NAME        make one of them from Debian's packages, once for all checkouts
"""

_EPILOG = """\
Several words after -- are one command and its arguments; one word alone is a shell command.

Needs: root, Debian 12 or 13, the network for Debian's packages ($LAB_MIRROR: the mirror to take them from, or
lines for sources.list). Disk: 4 GB in the cache (/var/cache/rdma-bulk-lab, or $LAB_CACHE), 0.3 GB more per
kernel; to compile one, 4 GB more for the time. Memory: 2 GB per host.

Exit status of check, demo and bench: 0 if all passed, else 1. Of the others: the command's own; 97 when a host's kernel log has a report (WARNING, BUG, KASAN,
lockdep, ...) in it; 98 when the lab could not do its work; 2 for wrong usage; 130 when interrupted.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=_HELP, epilog=_EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    common = _host_options(kernel.STOCK)
    measuring = _host_options(kernel.STOCK, _processors_of_a_measured_host())

    checks = commands.add_parser("check", parents=[_host_options(None)], help=argparse.SUPPRESS,
                                 description=check.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    checks.add_argument("filter", nargs="?", metavar="FILTER", help="part of `program` or `program.Suite.Test`")
    checks.add_argument("--long", action="store_true", help="also on the oldest and newest of Debian's own kernels, bookworm and backports")
    checks.add_argument("--minutes", type=float, metavar="N",
                        help="begin no test program after so many minutes, and say what was left out (50; 0 and with --long: run all)")
    demos = commands.add_parser("demo", parents=[measuring], description=demo.__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    demos.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of measurements (3)")
    bench_command.add_options(commands.add_parser("bench", parents=[measuring], description=bench_command.__doc__,
                                                  formatter_class=argparse.RawDescriptionHelpFormatter))
    run = commands.add_parser("run", parents=[common], help=argparse.SUPPRESS)
    run.add_argument("--all", action="store_true", help="run the command on every host")
    run.add_argument("--user", default="root", choices=["root", "bulk"], help="as which user (root)")
    commands.add_parser("shell", parents=[common]).add_argument("--user", default="root", choices=["root", "bulk"])
    commands.add_parser("build", parents=[common])
    commands.add_parser("up", parents=[common])
    execute = commands.add_parser("exec")
    execute.add_argument("host", help="1, 2, host1, ... or all")
    execute.add_argument("--user", default="root", choices=["root", "bulk"])
    reload = commands.add_parser("reload")
    reload.add_argument("--kernel-dir", metavar="DIR")
    reload.add_argument("--module-only", action="store_true", help="build nothing but the kernel module")
    commands.add_parser("status")
    commands.add_parser("down")
    kernels = commands.add_parser("kernel", description=kernel_build.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = kernels.add_subparsers(dest="verb", metavar="list|build", required=True)
    verbs.add_parser("list").add_argument("--kernel-dir", metavar="DIR", help="also those with packages in this folder")
    builds = verbs.add_parser("build")
    builds.add_argument("name", metavar="NAME", help=", ".join(kernel_build.RECIPES))
    builds.add_argument("--again", action="store_true", help="even if it is there already (Debian may have newer sources)")
    return parser


def _processors_of_a_measured_host() -> int:
    """Where two hosts have more processors together than the machine has cores, its scheduler is measured."""
    return max(1, min(2, len(os.sched_getaffinity(0)) // 2))


def _host_options(flavour: str | None, cpus: int = 2) -> argparse.ArgumentParser:
    """The options of all commands that boot hosts; `flavour` is the kernel they boot if not told."""
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("hosts")
    group.add_argument("--hosts", type=int, default=2, metavar="N", help="number of hosts (2)")
    group.add_argument("--cpus", type=int, default=cpus, metavar="N",
                       help=f"processors per host ({cpus})")
    group.add_argument("--memory", type=int, default=2048, metavar="MB", help="memory per host (2048)")
    group.add_argument("--kernel", default=flavour, metavar="FLAVOUR",
                       help=f"{flavour or 'all of these'} (default); stock; um: user-mode Linux, as fast as this "
                            "machine; or another that 'lab kernel list' names")
    group.add_argument("--kernel-dir", metavar="DIR", help="where other kernels' packages are, too ($LAB_KERNEL_DIR; ../shared/debug-kernel, ../shared/uml-kernel)")
    group.add_argument("--kmemleak", action="store_true", help="with a debug kernel: look for leaked kernel memory at the end")
    group.add_argument("--append", default="", metavar="ARGS", help="more arguments for the hosts' kernel")
    group.add_argument("--no-build", action="store_true", help="take what was last built for this kernel")
    group.add_argument("--no-module", action="store_true", help="leave the kernel module out")
    group.add_argument("--logs", metavar="DIR", help="folder for the logs of this run")
    return common


def main(words: list[str]) -> int:
    """Run the lab; returns its exit status."""
    rest: list[str] = []
    if "--" in words:
        split = words.index("--")
        words, rest = words[:split], words[split + 1:]
    parser = _parser()
    if not words:
        parser.print_help()
        return term.USAGE
    options = parser.parse_args(words)
    if rest and options.command not in ("run", "exec"):
        parser.error(f"{options.command} takes no command after --")
    if not rest and options.command in ("run", "exec"):
        parser.error(f"{options.command} needs -- COMMAND")
    if getattr(options, "hosts", 1) not in range(1, 17):
        parser.error("--hosts must be from 1 to 16")
    if getattr(options, "cpus", 1) not in range(1, 65) or getattr(options, "memory", 2048) < 768:
        parser.error("--cpus must be from 1 to 64, --memory at least 768")
    options.rest = rest
    term.catch_signals()
    try:
        MINE.mkdir(parents=True, exist_ok=True)
        CACHE.chmod(0o711)
        if getattr(options, "kernel", None):
            kernel.find(options.kernel, kernel_folders(options.kernel_dir))
        return _COMMANDS[options.command](options)
    except term.LabError as error:
        term.warn(str(error))
        return error.status
    except KeyboardInterrupt:
        term.warn("interrupted")
        return term.INTERRUPTED


class Prepared:
    """Everything a command needs before hosts can boot."""

    def __init__(self, options: argparse.Namespace, flavour: str | None = None) -> None:
        self.options = options
        if options.logs:
            self.logs = Path(options.logs).resolve()
            self.logs.mkdir(parents=True, exist_ok=True)
        else:
            self.logs = term.new_log_folder(LOGS, options.command)
        term.say(f"logs are in {self.logs}")
        self.rootfs = rootfs.get(self.logs)
        self.kernel = kernel.get(flavour or options.kernel, kernel_folders(options.kernel_dir), self.rootfs, self.logs)
        if options.kmemleak and not self.kernel.is_debug:
            raise term.LabError("--kmemleak needs a debug kernel (--kernel kasan)", term.USAGE)
        if options.no_build:
            self.layer = build.last(self.kernel)
        else:
            self.layer = build.build(self.rootfs, self.kernel, self.logs, with_module=not options.no_module)

    def boot(self, lasting: bool = False, hosts: int | None = None) -> Session:
        options = self.options
        machine = Machine(self.kernel, options.cpus, options.memory, options.append.split())
        return Session.boot(hosts or options.hosts, machine, self.rootfs, self.layer, self.logs, lasting, options.kmemleak)


def verdict(session: Session, status: int, last: bool) -> int:
    """`status`, unless a host's kernel log has a report in it."""
    reports = session.reports(last)
    if reports:
        (session.logs / "reports").write_text(klog.show(reports, 1000) + "\n")
        term.warn(klog.show(reports))
        term.warn(f"FAILED: {len(reports)} kernel report{'s' * (len(reports) > 1)} (all: {session.logs}/reports)")
        return status or term.REPORT
    return status


def _command(rest: list[str]) -> list[str] | str:
    return rest[0] if len(rest) == 1 else rest


def _run(options: argparse.Namespace) -> int:
    session = Prepared(options).boot()
    try:
        status = 0
        for host in session.hosts if options.all else session.hosts[:1]:
            status = session.run(host.number, _command(options.rest), options.user) or status
        status = verdict(session, status, last=True)
    finally:
        session.end()
    term.say(f"done, exit status {status}; logs: {session.logs}")
    return status


def _shell(options: argparse.Namespace) -> int:
    session = Prepared(options).boot()
    try:
        session.run(1, "", options.user)
        return verdict(session, 0, last=True)
    finally:
        session.end()


def _build(options: argparse.Namespace) -> int:
    options.no_build = False
    prepared = Prepared(options)
    term.say(f"built; what goes on the hosts is in {prepared.layer.folder}")
    return 0


def _up(options: argparse.Namespace) -> int:
    old = Session.load()
    if old:
        raise term.LabError("hosts of this checkout are up already ('lab down' stops them)", term.USAGE)
    session = Prepared(options).boot(lasting=True)
    status = verdict(session, 0, last=False)
    session.save()
    term.say("lab exec 1 -- COMMAND, lab reload, lab down; consoles: " + ", ".join(str(host.console) for host in session.hosts))
    return status


def _lasting() -> Session:
    session = Session.load()
    if not session:
        raise term.LabError("no hosts of this checkout are up ('lab up' boots some)", term.USAGE)
    return session


def _exec(options: argparse.Namespace) -> int:
    session = _lasting()
    name = options.host.removeprefix("host")
    numbers = [host.number for host in session.hosts]
    if name != "all":
        if not name.isdigit() or int(name) not in numbers:
            raise term.LabError(f"no host '{options.host}'; there are 1 to {len(numbers)}, and 'all'", term.USAGE)
        numbers = [int(name)]
    status = 0
    for number in numbers:
        status = session.run(number, _command(options.rest), options.user) or status
    status = verdict(session, status, last=False)
    session.save()
    return status


def _reload(options: argparse.Namespace) -> int:
    session = _lasting()
    logs = term.new_log_folder(LOGS, "reload")
    tree = rootfs.get(logs)
    chosen = kernel.get(session.flavour, kernel_folders(options.kernel_dir), tree, logs)
    before = build.contents(build.last(chosen).folder)
    layer = build.build(tree, chosen, logs, user_space=not options.module_only)
    after = build.contents(layer.folder)
    changed = [layer.folder / name for name, digest in after.items() if before.get(name) != digest]
    term.say(f"{len(changed)} files changed")
    if changed:
        session.push(layer.folder, changed)
    status = 0
    if layer.has_module:
        for number, (code, text) in session.on_all("modprobe -r rdma_bulk && modprobe rdma_bulk", timeout=120).items():
            if code != 0:
                term.warn(f"host{number}: rdma_bulk was not reloaded (status {code}): {text.strip()}")
                status = term.FAILED
    status = verdict(session, status, last=False)
    session.save()
    if status == 0:
        term.say("reloaded")
    return status


def _status(options: argparse.Namespace) -> int:
    session = Session.load()
    if not session:
        print("no hosts are up")
        return term.FAILED
    print(f"kernel   {session.flavour}\nlogs     {session.logs}\nssh      ssh -F {session.folder}/ssh_config host1")
    for host in session.hosts:
        print(f"{host.name}    pid {host.pid}, console {host.console}")
    return 0


def _down(options: argparse.Namespace) -> int:
    session = Session.load()
    if not session:
        term.say("no hosts were up")
        return 0
    status = verdict(session, 0, last=True)
    session.end()
    term.say("hosts are stopped")
    return status


def _kernel(options: argparse.Namespace) -> int:
    if options.verb == "build":
        logs = term.new_log_folder(LOGS, "kernel")
        folder = kernel_build.build(options.name, options.again, logs)
        term.say(f"'--kernel {options.name}' takes it; its packages are in {folder}")
        return 0
    found = kernel.flavours(kernel_folders(options.kernel_dir))
    print(f"{kernel.STOCK:<10}  Debian 13's own kernel, in the root file system")
    for name in dict.fromkeys([*kernel_build.RECIPES, *found]):
        what = kernel_build.RECIPES[name].what if name in kernel_build.RECIPES else "a kernel of your own"
        print(f"{name:<10}  {what}\n{'':<10}  {_where(name, found.get(name))}")
    return 0


def _where(name: str, packages: kernel_build.Packages | None) -> str:
    """Where the kernel `name` comes from, for `lab kernel list`."""
    if not packages:
        return f"not there yet: 'lab kernel build {name}' makes it"
    folder = packages.image[0].parent
    if folder.parent != BUILT_KERNELS:
        return f"packages in {folder}"
    return f"made from {kernel_build.source(name)}" + ("" if kernel_build.is_current(name) else
                                                       f", by an older recipe: 'lab kernel build {name}' makes it anew")


def _demo(options: argparse.Namespace) -> int:
    if options.hosts < 2 or options.rounds < 1:
        raise term.LabError("the demo takes at least two hosts and one round", term.USAGE)
    failed: list[str] = []
    logs = None
    term.say("this takes about five minutes on two cores, and as long again the first time, to make the root file system and build")
    try:
        prepared = Prepared(options)
        logs = prepared.logs
        session = prepared.boot()
        try:
            failed = demo.run(session, logs, options)
            if verdict(session, 0, last=True):
                failed.append("a host's kernel log has a report in it")
        finally:
            session.end()
    except term.LabError as error:
        if error.status == term.USAGE:
            raise
        term.warn(str(error))
        failed.append("the lab could not do its work")
    term.say(f"done; logs: {logs}")
    print(f"demo: FAILED: {len(failed)} of its parts, first: {failed[0]}" if failed else "demo: all passed", flush=True)
    return term.FAILED if failed else 0


def _bench(options: argparse.Namespace) -> int:
    if options.hosts < 2 or (options.rounds is not None and options.rounds < 1):
        raise term.LabError("the bench takes at least two hosts and one round", term.USAGE)
    if options.curves and (options.only or options.minutes):
        raise term.LabError("--curves takes neither --only nor --minutes", term.USAGE)
    if options.list:
        bench_command.show_list(options)
        return 0
    prepared = Prepared(options)
    how = runner(prepared.kernel)
    if options.curves:
        status = bench_command.run_curves(prepared.boot, lambda session: verdict(session, 0, last=True), prepared.logs, how, options)
        term.say(f"done; logs: {prepared.logs}")
        return status
    session = prepared.boot()
    try:
        failed = bench_command.run(session, prepared.logs, how, options)
        status = verdict(session, term.FAILED if failed else 0, last=True)
    finally:
        session.end()
    term.say(f"done; logs: {prepared.logs}")
    return status


_COMMANDS = {
    "check": check.run, "demo": _demo, "bench": _bench, "run": _run, "shell": _shell, "build": _build, "up": _up, "exec": _exec, "reload": _reload, "status": _status,
    "down": _down, "kernel": _kernel,
}
