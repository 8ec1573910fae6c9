"""vhost-user-blk servers under one client of ours: `vmm device block` and qemu-storage-daemon, old and new.

The client is pinned to the first CPU, the server to the second; all may poll for 64 us.
"""
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from compare.plan import Cell
from compare.process import SANDBOXES, Counting, Measured

CLIENT_CPU, SERVER_CPU = "0", "1"
POLL_US = 64
START_SECONDS = 20
DEPTHS = {"null": (1, 42, 128), "file": (1, 42, 128), "direct": (1, 42, 128)}
RING_WITHOUT_TABLES = 42  # requests of three descriptors in the 128 that qemu-storage-daemon has
MAX_BIG_DEPTH = 42


def cells_of(backend):
    """(cell, client's options) for each piece of work on @backend."""
    found = []
    for sleeping in (False, True):
        for size in (4, 128):
            for write in (False, True):
                for depth in DEPTHS[backend]:
                    if size == 128 and (depth > MAX_BIG_DEPTH or sleeping):
                        continue
                    client = "sleeping" if sleeping else "polling"
                    name = f"{'write' if write else 'read'} {size}k, depth {depth}, {client}"
                    options = ["--depth", str(depth), "--bs", str(size * 1024), "--write", "100" if write else "0"]
                    options += ["--sleep"] if sleeping else []
                    options += ["--indirect"] if depth > RING_WITHOUT_TABLES else []
                    found.append((Cell(f"vhost/{backend}", name), options))
    return found


def vmm_command(vmm, sandbox, socket, backend, image):
    disk = {"null": "format=null,size=4G", "file": f"path={image}", "direct": f"path={image},direct"}[backend]
    disk += f",queues=1,poll=adaptive,poll-us={POLL_US}"
    return [vmm, "device", "block", f"--sandbox={sandbox}", "--socket", socket, "--block", disk]


def daemon_command(words, socket, backend, image):
    """qemu-storage-daemon, started by @words, with an I/O thread of its own."""
    node = {
        "null": "driver=null-co,node-name=d,size=4294967296,read-zeroes=off",
        "file": f"driver=file,node-name=d,filename={image},aio=io_uring",
        "direct": f"driver=file,node-name=d,filename={image},aio=io_uring,cache.direct=on",
    }[backend]
    return [
        *words, "--object", f"iothread,id=t,poll-max-ns={POLL_US * 1024}", "--blockdev", node, "--export",
        f"type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path={socket},iothread=t,writable=on",
    ]  # fmt: skip


@dataclass
class Place:
    """A running server and where to reach it."""

    server: Measured
    socket: str


class _Serving:
    """The context of one running server."""

    def __init__(self, command, socket, errors):
        self.socket = Path(socket)
        self.socket.unlink(missing_ok=True)
        self.server = Measured(["taskset", "-c", SERVER_CPU, *command], errors)

    def __enter__(self):
        limit = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self.server.process.poll() is not None or time.monotonic() > limit:
                self.server.__exit__()
                raise self.server.failure("the server did not start")
            time.sleep(0.01)
        return Place(self.server, str(self.socket))

    def __exit__(self, *_):
        self.server.__exit__()


class VhostGroup:
    """All work on one back end, by all servers."""

    start_seconds = 0.5

    def __init__(self, backend, context, daemons):
        self.name = f"vhost/{backend}"
        self.backend = backend
        self.context = context
        self.daemons = daemons  # peer name: words that start it
        self.options = {cell: options for cell, options in cells_of(backend) if context.wants(cell.key)}
        self.cells = list(self.options)
        self.peers = [*SANDBOXES, *daemons]
        self.cell_seconds = context.seconds * 1.1 + 0.1

    def start(self, peer):
        folder = self.context.folder
        socket, image = str(folder / f"{peer}.socket"), str(self.context.image(self, peer))
        if peer in SANDBOXES:
            command = vmm_command(self.context.vmm, SANDBOXES[peer], socket, self.backend, image)
        else:
            command = daemon_command(self.daemons[peer], socket, self.backend, image)
        return _Serving(command, socket, folder / f"{peer}.errors")

    def _client(self, place, *options):
        working = place.server.processes()[-1]  # the device's, where it has one of its own
        command = [
            self.context.client, "--socket", place.socket, "--pid", str(working), "--cpu", CLIENT_CPU,
            *options,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise place.server.failure(f"the client failed: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def measure(self, place, cell):
        """One run of the client."""
        got = self._client(place, "--seconds", str(self.context.seconds), *self.options[cell])
        return {
            "iops": got["iops"], "cpu_ns": got["server_cpu_ns"], "client_ns": got["client_cpu_ns"],
            "p50_us": got["p50_us"], "p99_us": got["p99_us"], "p999_us": got["p999_us"],
            "kicks": got["kicks"], "interrupts": got["interrupts"],
        }  # fmt: skip

    def count(self, place, cell):
        """System calls a request of the server, by perf in a run of its own."""
        counting = Counting(place.server.processes(), ["raw_syscalls:sys_enter"])
        counting.begin()
        got = self._client(place, "--seconds", str(self.context.seconds), *self.options[cell])
        calls = counting.end().get("raw_syscalls:sys_enter")
        return {} if calls is None else {"system calls": calls / (got["requests"] * 1.1)}  # and the warm-up

    def verify(self, place):
        """Writes and reads with every block compared; how many were."""
        if self.backend == "null":
            return None
        options = ["--verify", "--write", "50", "--depth", "32", "--flush-every", "100", "--span-mib", "64"]
        return self._client(place, "--seconds", "1", *options)["verified"]
