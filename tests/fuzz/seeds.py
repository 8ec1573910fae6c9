#!/usr/bin/env python3
"""Make the seed corpus of a fuzzer: seeds.py NAME FOLDER [JSON EXAMPLES…]

Most fuzzers read a script of steps from their bytes: random bytes of growing length are good seeds, since libFuzzer
begins with short inputs and takes long to grow them. Those that read text get text, made of what the product says
it understands. The same every time.
"""
import json
import random
import re
import sys
from pathlib import Path

SCRIPTS = 48


def scripts(chance):
    """Random steps, 32 bytes to 1.5 KiB."""
    for number in range(SCRIPTS):
        yield bytes(chance.randrange(256) for _ in range(32 * (number + 1)))


def frontends(chance):
    """Queues brought up in every way that fuzz_vhost_user.c knows, requests put into them, and the dirty log switched."""
    for how in range(64):
        bring_up = bytes([0, how]) + (b"\0\x20\0" if how & 16 else b"") + b"\xff\xff\xff" + (b"\xff\0" if how & 32 else b"")
        bring_up += b"\0\0"
        ring = bytes([1, 0, 0, 0, 64]) + bytes(chance.randrange(256) for _ in range(64))
        avail = bytes([1, 0, 16, 0, 8]) + bytes([0, 0, 3, 0, 0, 0, 1, 0])
        log = [bytes([2, 6, 0, 16, 1, 5]) + bytes(chance.choice((0, 8, 64)) for _ in range(16))]
        log += [bytes([2, 2, 0, 8, 4]) + (features << 24 | 1 << 32).to_bytes(8, "little") for features in (0x74, 0x70)]
        yield bring_up + ring + avail + b"".join(log) + bring_up


OPTIONS = """\
kernel=vmlinuz\nmem=512\ncpus=4
kernel=k\ncpus=num-cores=8,affinity=0:1=2-3\nrt-cpus=1-2
kernel=k\nmem=size=4G,hugepages=2M,prefault=true,numa-node=0
kernel=k\nblock=path=/dev/null,ro,id=a,queues=4,queue-size=256,block-size=4096,direct=true,discard=off
kernel=k\nblock=format=null,size=1G,poll=adaptive,poll-us=50,workers=2,cpus=0-1,bps=1M,iops=1000
kernel=k\nserial=type=file,path=/tmp/x,num=2,console\nconsole=type=unix,path=/tmp/s,name=org.example
bios=b.fd\nserial=type=stdout,hardware=serial,num=1,earlycon,stdin\nserial=type=syslog,num=2
kernel=k\ninitrd=i\nparams=quiet\nparams=root=/dev/vda\nrwroot=disk.img\nrodisk=a\nrwdisk=b
kernel=k\nacpi-table=a\nacpi-table=b\ncpu-affinity=0=0:1=1\nno-smt\ndisable-sandbox
kernel=k\nmem=18446744073709551616
kernel=k\nblock=,,,\nserial=type=\ncpus=0
"""


def texts(documents):
    """Options a line each, the JSON examples of the documentation, and their members one by one."""
    for text in OPTIONS.splitlines():
        yield text.replace("\\n", "\n").encode()
    for document in documents:
        for block in re.findall(r"```json\n(.*?)```", Path(document).read_text(encoding="utf-8"), re.S):
            yield block.strip().encode()
            try:
                members = json.loads(block)
            except ValueError:
                continue
            for name, value in members.items():
                yield json.dumps({"kernel": "k", name: value}).encode()
    yield b'{"kernel": "k", "mem": 512, "cpus": {"num-cores": 2}, "block": [{"path": "a", "ro": true}]}'
    yield b'{"kernel": "k", "params": ["a", "b"], "serial": {"type": "sink"}}'
    yield b"{" * 100


def main(arguments):
    name, folder, *documents = arguments
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    chance = random.Random(name)
    seeds = texts(documents) if name == "fuzz_options" else [*scripts(chance)]
    if name == "fuzz_vhost_user":
        seeds += frontends(chance)
    for number, seed in enumerate(seeds):
        (target / f"seed-{number:03}").write_bytes(seed)


main(sys.argv[1:])
