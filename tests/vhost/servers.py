"""Servers of `vmm device block` for the tests: started, killed, started again."""
import contextlib
import subprocess
import time
from pathlib import Path

from support.scratch import die_with_parent

START_SECONDS = 20
STOP_SECONDS = 30
SO_ACCEPTCON = 1 << 16  # in /proc/net/unix: the socket listens
BUSY_NS = 10_000_000  # CPU time of threads that do more than start


class Server:
    """`vmm device block` on a socket in a scratch folder."""

    def __init__(self, vmm, socket, keys, descriptors=(), options=()):
        """@descriptors are inherited, for keys that speak of them."""
        self.command = [vmm, "device", "block", "--socket", str(socket), "--block", keys, *options]
        self.socket = socket
        self.descriptors = descriptors
        self.process = None

    def start(self):
        """Start it; it need not be ready yet."""
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, pass_fds=self.descriptors, preexec_fn=die_with_parent
        )

    def wait_ready(self):
        """Until it listens; the socket of the one before it, which was killed, is still there."""
        limit = time.monotonic() + START_SECONDS
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"the server did not start: {self.process.poll()}")
            time.sleep(0.005)

    def _listens(self):
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            words = line.split()
            if words[-1] == str(self.socket) and int(words[3], 16) & SO_ACCEPTCON:
                return True
        return False

    def wait_busy(self, seconds=START_SECONDS):
        """Until its queues have done some work; False when they do none."""
        limit = time.monotonic() + seconds
        while self.queue_cpu_ns() < BUSY_NS:
            if time.monotonic() > limit:
                return False
            time.sleep(0.01)
        return True

    def device_pid(self):
        """The process that has the device; None while there is none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def queue_cpu_ns(self):
        """CPU time of its queues' threads since it started."""
        total = 0
        for task in Path(f"/proc/{self.device_pid() or self.process.pid}/task").glob("*"):
            with contextlib.suppress(OSError):  # it may end meanwhile
                if "-q" in (task / "comm").read_text():
                    total += int((task / "schedstat").read_text().split()[0])
        return total

    def kill(self):
        """As by a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """In order; its exit status, None when it hangs."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


@contextlib.contextmanager
def serving(vmm, socket, keys, *options, wrap=()):
    """A server that runs inside, and is gone afterwards; @options of the command, which @wrap starts."""
    server = Server(vmm, socket, keys, options=options)
    server.command[:0] = wrap
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
