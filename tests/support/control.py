"""The control socket of a running vmm: a client, and a meddler that never lets a disk rest."""
import json
import random
import socket
import threading

GREETING = b'"control":1}\n'
MIB = 1 << 20


class Client:
    """A connection that has read the greeting."""

    def __init__(self, path, seconds=30):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(seconds)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")
        greeting = self.lines.readline()
        if not greeting.endswith(GREETING):
            raise AssertionError(f"greeting: {greeting!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.socket.close()

    def say(self, data):
        self.socket.sendall(data)

    def hear(self):
        return json.loads(self.lines.readline())

    def ask(self, do, **members):
        """The reply to a request."""
        self.say(json.dumps({"id": "x", "do": do, **members}).encode() + b"\n")
        reply = self.hear()
        if reply["id"] != "x":
            raise AssertionError(f"id: {reply}")
        return reply

    def ask_with(self, descriptor, do, **members):
        """The same, with a descriptor."""
        socket.send_fds(self.socket, [json.dumps({"do": do, **members}).encode() + b"\n"], [descriptor])
        return self.hear()

    def result(self, do, **members):
        """The result of a request that must succeed."""
        reply = self.ask(do, **members)
        if not reply["ok"]:
            raise AssertionError(f"{do} {members}: {reply['error']}")
        return reply["result"]

    def refused(self, code, do, **members):
        """A request that must be refused so."""
        reply = self.ask(do, **members)
        if reply["ok"] or reply["error"]["code"] != code:
            raise AssertionError(f"{do} {members}: {reply}, not {code}")


class Meddler(threading.Thread):
    """Changes size and limits of a disk at random moments until stop(), or until the machine is gone.

    Sizes are whole MiB between two bounds; in the end the disk has the larger size, and no limits. counts: the
    requests of each queue as of the last look.
    """

    def __init__(self, path, device, smallest_mib, largest_mib, pause_s=0.02):
        super().__init__(daemon=True)
        self.path, self.device, self.sizes, self.pause_s = path, device, (smallest_mib, largest_mib), pause_s
        self.chance = random.Random()
        self.is_over = threading.Event()
        self.resizes = self.limits = 0
        self.counts = []
        self.problem = None
        self.start()

    def run(self):
        try:
            with Client(self.path) as client:
                while not self.is_over.wait(self.chance.random() * 2 * self.pause_s):
                    self.meddle(client)
                client.result("limit", device=self.device, bps="off", iops="off")
                client.result("resize", device=self.device, bytes=f"{self.sizes[1]}M", shrink=True)
        except AssertionError as problem:
            self.problem = str(problem)
        except (OSError, ValueError):
            pass  # hung up in the middle of a line or between two: its exit status tells why

    def meddle(self, client):
        if (self.resizes + self.limits) % 8 == 0:
            devices = client.result("devices")
            (device,) = (device for device in devices if device["name"] == self.device)
            self.counts = [queue.get("requests", 0) for queue in device["queues"]]
        if self.chance.random() < 0.5:
            size = self.chance.randint(*self.sizes) * MIB
            client.result("resize", device=self.device, bytes=size, shrink=True)
            self.resizes += 1
        else:
            iops = self.chance.choice(("off", "off", "500", "2000:10", "20000"))
            bps = self.chance.choice(("off", "off", "4M", "20M:64K", "1G"))
            client.result("limit", device=self.device, iops=iops, bps=bps)
            self.limits += 1

    def stop(self):
        """Rest, and what went wrong, if anything did."""
        self.is_over.set()
        self.join(60)
        if self.is_alive():
            return ["the control socket does not answer"]
        return [self.problem] if self.problem else []
