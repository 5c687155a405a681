"""How a peer is driven: the driver writes `step`, the peer does one step and answers with one line of JSON.

A peer is a child process, so that its steps can alternate with ours in one run, on an equally warm and equally busy
machine. It writes `{"ready": true, ...}` once it has loaded, one line per `step`, and ends at `quit` or end of input.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "oracle"))
import torch  # noqa: E402

if not torch.cuda.is_available():
    import tvshim  # noqa: E402, F401  (before transformers)

# Answers go to the real stdout; whatever libraries print goes to stderr.
_answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def arguments() -> tuple[argparse.Namespace, dict]:
    """`--workload FILE --threads N ...`, and the workload: model, samples (of one step), group, maxNewTokens."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True, help="JSON file written by the driver")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--sequences", type=int, help="TRL: sequences in memory at once (gradient accumulation)")
    parser.add_argument("--lora", type=int, default=0, help="TRL: rank of an adapter; 0 trains the weights")
    parser.add_argument("--checkpointed", action="store_true", help="TRL: gradient checkpointing")
    parser.add_argument("--tuned", action="store_true", help="TRL: with our patch (see peer_trl.py)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return options, json.loads(pathlib.Path(options.workload).read_text())


def engine() -> dict:
    """What runs the operators."""
    kernels = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "kernels": kernels}


def answer(value: dict) -> None:
    _answers.write(json.dumps(value) + "\n")


def wait_for_step() -> bool:
    """Blocks until the driver wants a step; False when it wants no more."""
    return sys.stdin.readline().strip() == "step"


def memory(process: int | str = "self") -> dict[str, float]:
    """Resident megabytes of a process: now, and at its highest."""
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines())
    megabytes = lambda name: int(fields[name].split()[0]) / 1024  # noqa: E731
    return {"residentMb": round(megabytes("VmRSS"), 1), "peakMb": round(megabytes("VmHWM"), 1)}


class Phases:
    """Seconds by phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def time(self, name: str):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def wrap(self, name: str, function):
        """`function`, its time counted under `name`."""

        def timed(*args, **kwargs):
            with self.time(name):
                return function(*args, **kwargs)

        return timed

    def take(self) -> dict[str, float]:
        taken, self.seconds = self.seconds, {}
        return {name: round(value, 5) for name, value in taken.items()}


def serve(ready: dict, step) -> None:
    """Answers until the input ends; `step()` returns what to add to the phases' line."""
    answer({"ready": True, **engine(), **ready, **memory()})
    while wait_for_step():
        before = time.process_time()
        taken = step()
        answer({**taken, "cpuSeconds": round(time.process_time() - before, 5), **memory()})
