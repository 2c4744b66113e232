# SPDX-License-Identifier: BSD-3-Clause
"""A program in two parts: a server on one host, a client on another that speaks to it.

The client starts when the server listens on its TCP port. Whatever happens, both have ended when `run`
returns."""

from __future__ import annotations

import shlex
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from . import term
from .session import Session

_LISTEN_LIMIT = 60  # seconds for a server to come up

_WAIT_FOR_LISTENER = ("while kill -0 $server 2>/dev/null; do "
                      "grep -qi '^ *[0-9]*: [0-9A-F]*:{port:04X} [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6 && break; "
                      "sleep 0.1; done; echo LISTENING; ")


@dataclass
class Ended:
    """How a pair ended: the client's exit status (124: not in time), and what both have printed."""

    status: int
    client: str
    server: str

    def reason(self, limit: float) -> str:
        """For a failure: one line, then what the two said that looks like an error."""
        why = f"no end within {limit:.0f} s" if self.status in (124, 137) else f"ended with status {self.status}"
        said = [line for line in self.client.splitlines() + self.server.splitlines()
                if any(word in line for word in ("ERROR", "WARN", "Assert", "rror:", "ailed", "annot"))]
        return "\n".join([why, *("    " + line for line in said[:6])])


def environment(variables: dict[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in variables.items())] if variables else []


def run(session: Session, server: Sequence[str], client: Sequence[str], port: int, limit: float, log: Path,
        server_host: int = 2, client_host: int = 1) -> Ended:
    """Run the pair for at most `limit` seconds. `log` is the beginning of the names of two logs."""
    limited = ["timeout", "-k", "5", str(int(limit))]
    listening = (f"{shlex.join([*limited, *server])} </dev/null & server=$!; " + _WAIT_FOR_LISTENER.format(port=port) + "wait $server")
    heard: list[bytes] = []
    ready = threading.Event()
    process = subprocess.Popen(session.ssh(server_host, listening), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, preexec_fn=term.die_with_parent)
    assert process.stdout

    def listen() -> None:
        for line in process.stdout or []:
            if line.startswith(b"LISTENING"):
                ready.set()
            else:
                heard.append(line)
        ready.set()

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    status, text = 1, ""
    try:
        ready.wait(_LISTEN_LIMIT)
        status, text = session.output(client_host, [*limited, *client], timeout=limit + 30)
        if status != 0:  # the server would wait for the rest of its time
            session.output(server_host, f"fuser -k -n tcp {port} >/dev/null 2>&1; true", timeout=30)
        process.wait(limit + 30)
    except subprocess.TimeoutExpired:
        status = status or 124
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)
    spoken = b"".join(heard).decode(errors="replace")
    Path(f"{log}.client").write_text(text)
    Path(f"{log}.server").write_text(spoken)
    return Ended(status, text, spoken)
