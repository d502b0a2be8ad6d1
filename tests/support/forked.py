"""Scripts in forked children of a process that has imported what they need: importing takes longer than most of them.

As a script this file is that process: it imports the modules that it is given, and starts what each line that comes in
asks for. A child has its own memory, files, environment and end. What a launcher or an interpreter does by itself is
not seen here; tests of these start real ones.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Forks:
    """Starts scripts in children of a process; see ``forking``.

    Args:
        server: The process.
        log: What the children say goes into files of this name.
    """

    def __init__(self, server: subprocess.Popen[str], log: Path) -> None:
        self._server, self._log = server, log

    def run(
        self, script: Path, *arguments: object, processes: int = 1, timeout: float = 300, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end.

        Args:
            script: The script.
            *arguments: Its words.
            processes: How many run it together, as a launcher starts them; the others are killed where one fails.
            timeout: Seconds after which all are killed.
            **variables: Of the environment.

        Returns:
            The exit code of the first that failed, or 0, and in ``stderr`` what all have said.
        """
        words = [str(argument) for argument in arguments]
        job = {"script": str(script), "arguments": words, "processes": processes, "timeout": timeout}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps({**job, "variables": variables, "log": str(self._log)}), file=self._server.stdin, flush=True)
        code = self._server.stdout.readline()
        assert code, "the process that forks has ended; what it said is above"
        said = "".join(Path(f"{self._log}.{rank}").read_text(errors="replace") for rank in range(processes))
        return subprocess.CompletedProcess([str(script), *words], int(code), "", said)


@contextmanager
def forking(
    imports: Sequence[str], log: Path, environment: Mapping[str, str], python: str | Path = sys.executable
) -> Iterator[Forks]:
    """Start the process, and end it.

    Args:
        imports: Modules that most scripts need. Importing them must start no thread, and use no GPU.
        log: Where the children's streams go.
        environment: Of all of them; what libraries read when they are imported cannot be changed later.
        python: Whose modules they are.
    """
    command = [str(python), str(Path(__file__).resolve()), *imports]
    one_thread = {**environment, "OMP_NUM_THREADS": "1"}  # a process with threads must not be forked
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=one_thread) as server:
        yield Forks(server, log)
        assert server.stdin is not None
        server.stdin.close()


# The process that forks -----------------------------------------------------------------------------------------


def _main() -> None:
    sys.path.pop(0)  # this file's folder
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries say is no answer
        for name in sys.argv[1:]:
            importlib.import_module(name)
        for line in sys.stdin:
            print(_start(**json.loads(line)), file=answers, flush=True)


def _start(processes: int, timeout: float, **job: Any) -> int:
    """Fork the children of a job, and wait for all; give the exit code of the first that failed."""
    together = {}
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        together = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port}
        together["MASTER_ADDR"] = "127.0.0.1"
    children = set()
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            own = {**together, "RANK": rank, "LOCAL_RANK": rank} if together else {}
            _be_script(**{**job, "variables": {**job["variables"], **own}, "log": f"{job['log']}.{rank}"})
        children.add(child)
    return _wait(children, time.monotonic() + timeout)


def _wait(children: set[int], deadline: float) -> int:
    failed = 0
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            children.discard(child)
            failed = failed or os.waitstatus_to_exitcode(status)
        late = time.monotonic() > deadline
        if failed or late:
            for other in children:
                os.kill(other, signal.SIGKILL)
            failed = failed or 124
        if not child:
            time.sleep(0.005)
    return failed


def _be_script(script: str, arguments: list[str], variables: dict[str, object], log: str) -> None:
    """Be the script, in a child; never returns."""
    code = 1
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.environ.update({name: str(value) for name, value in variables.items()})
        sys.argv = [script, *arguments]
        sys.path.insert(0, str(Path(script).parent))
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _main()
