# SPDX-License-Identifier: BSD-3-Clause
"""Running test programs side by side, each on hosts of its own.

Much of a test's time is waiting, so there are several workers, each a thread with a session. Jobs are taken in the order in which they
were added, so that all of one kernel's come before another's, but who is done with one kernel begins with the next.
A worker with one host takes the programs that need no second one. A second pair of hosts is for user-mode Linux:
emulated hosts keep the machine's cores busy as they are, until nothing else is left to do."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Callable

from . import term
from .build import Layer
from .hosts import TooLittleMemory
from .kernel import Kernel
from .programs import Program
from .session import Session


@dataclass(frozen=True)
class Job:
    """One program on one kernel."""

    kernel: Kernel
    layer: Layer
    program: Program

    @property
    def name(self) -> str:
        return f"{self.kernel.flavour}/{self.program.name}"


@dataclass(frozen=True)
class Duties:
    """What a crew is told to do. `boot` gets the number of hosts, and how many others there must be memory for; `run` says
    whether the hosts are still good; `leave` is called before hosts are ended that are; `lost` for a job that could not be
    run, and why; `left_out` for those that had not begun at the deadline."""

    boot: Callable[[Job, int, int], Session]
    run: Callable[[Job, Session], bool]
    leave: Callable[[Kernel, Session], None]
    lost: Callable[[Job, term.LabError], None]
    left_out: Callable[[Job], None]


class Crew:
    """Workers, and the jobs that wait for them. `spans` tells when each kernel's jobs began and ended."""

    def __init__(self, duties: Duties, hosts: int, deadline: float) -> None:
        self.duties = duties
        self.deadline = deadline
        self.spans: dict[str, tuple[float, float]] = {}
        self._hosts = hosts
        self._jobs: list[Job] = []
        self._closed = False
        self._error: BaseException | None = None
        self._change = threading.Condition()
        self._workers = [self._worker(hosts, True, False), self._worker(1, False, False), self._worker(hosts, False, True)]

    def add(self, jobs: list[Job], first: bool = False) -> None:
        with self._change:
            self._jobs = jobs + self._jobs if first else self._jobs + jobs
            self._change.notify_all()

    def close(self) -> None:
        """Wait until everything that was added is done."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for worker in self._workers:
            worker.join()
        if self._jobs:  # given back by one that had no memory for hosts, when no other was there any more
            self._worker(self._hosts, True, False).join()
        if self._error:
            raise self._error

    # -- workers

    def _worker(self, hosts: int, is_needed: bool, for_programs: bool) -> threading.Thread:
        # A daemon: when the lab is interrupted it, and with it its hosts, just ends.
        worker = threading.Thread(target=self._work, args=(hosts, is_needed, for_programs), daemon=True)
        worker.start()
        return worker

    def _work(self, hosts: int, is_needed: bool, for_programs: bool) -> None:
        session: Session | None = None
        kernel: Kernel | None = None
        try:
            while job := self._take(hosts, for_programs):
                if session and kernel != job.kernel:
                    self._end(kernel, session)
                    session = None
                kernel = job.kernel
                started = time.monotonic()
                try:
                    session = session or self.duties.boot(job, hosts, 0 if is_needed else self._hosts)
                    if not self.duties.run(job, session):
                        session.end()
                        session = None
                except TooLittleMemory as error:
                    if not is_needed:  # fewer workers will do
                        self.add([job], first=True)
                        return
                    self._give_up(job, error)
                except term.LabError as error:
                    self._give_up(job, error)
                self._note(kernel.flavour, started)
        except BaseException as error:  # to be raised where the crew's owner waits
            self._error = error
            self._give_up(None, None)
        finally:
            if session:
                self._end(kernel, session)

    def _take(self, hosts: int, for_programs: bool) -> Job | None:
        """The next job for a worker with so many hosts; `None` when there will be none."""
        with self._change:
            while True:
                if self._jobs and time.monotonic() > self.deadline:
                    for job in self._jobs:
                        self.duties.left_out(job)
                    self._jobs = []
                fit = [job for job in self._jobs if (job.kernel.is_program or not for_programs or self._closed)
                       and (hosts > 1 or self._hosts == 1 or not job.program.needs_peer)]
                if fit:
                    # Who has a pair leaves the others to those who have not, as long as there is something else of this kernel.
                    first = [job for job in fit if job.kernel == fit[0].kernel]
                    job = next((job for job in first if job.program.needs_peer), first[0])
                    self._jobs.remove(job)
                    return job
                if self._closed:
                    return None
                self._change.wait()

    def _end(self, kernel: Kernel | None, session: Session) -> None:
        if kernel:
            self.duties.leave(kernel, session)
        session.end()

    def _give_up(self, job: Job | None, error: term.LabError | None) -> None:
        """Drop the jobs of a kernel that has no hosts; all, when the crew itself has failed."""
        with self._change:
            self._jobs = [other for other in self._jobs if job and other.kernel != job.kernel]
            self._change.notify_all()
        if job and error:
            self.duties.lost(job, error)

    def _note(self, flavour: str, started: float) -> None:
        with self._change:
            begin, end = self.spans.get(flavour, (started, started))
            self.spans[flavour] = (min(begin, started), max(end, time.monotonic()))
