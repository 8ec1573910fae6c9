#!/usr/bin/env python3
"""layers.py finds what it is for: files that break a rule, in a tree made for the purpose."""
import pathlib
import subprocess
import sys
import tempfile

CASES = [
    ("src/bus/ok.c", '#include "sync/rcu.h"\n#include "bus/bus.h"\n', True),
    ("src/bus/up.c", '#include "virtio/vdev.h"\n', False),
    ("virtio/dev/kvm.c", "#include <linux/kvm.h>\n", False),
    ("virtio/queue.c", '#include "iouring/reactor.h"\n', False),
    ("virtio/dev/blk.c", '#include "iouring/reactor.h"\n', True),
    ("iouring/ring.c", "#include <liburing.h>\n", True),
    ("src/vm/ring.c", "  #  include <liburing.h>\n", False),
    ("include/mem/x.h", '#include "iouring/reactor.h"\n', False),
]


def main():
    layers = pathlib.Path(__file__).with_name("layers.py")
    for path, text, is_fine in CASES:
        with tempfile.TemporaryDirectory() as root:
            file = pathlib.Path(root) / path
            file.parent.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
            got = subprocess.run([sys.executable, layers, root], capture_output=True, text=True)
            if (got.returncode == 0) != is_fine or (not is_fine and path not in got.stdout):
                print(f"{path}: expected {'no ' if is_fine else 'a '}complaint, got: {got.stdout}")
                return 1
    print(f"{len(CASES)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
