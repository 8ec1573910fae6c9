"""What a console has put out against what it was given: what is missing, what stands there twice.

The streams are those of arch/x86_64/guest/lines.h: numbered lines, and a known stream whose bytes tell their place.
"""

import functools

WINDOW = 24  # so many bytes in a row tell where in the stream they are
BLOCK = 65536


class Broken(Exception):
    """The stream is neither whole nor what a death explains."""


def lines(letter, count):
    """The lines that a port has been given."""
    return b"".join(b"%c%014d\n" % (ord(letter), number) for number in range(count))


@functools.cache
def known_stream(size):
    """Its first @size bytes."""
    return bytes((n * 7 + (n >> 8) * 13 + (n >> 16)) & 0xFF for n in range(size))


def _common(left, at_left, right, at_right):
    """How many bytes are the same from there on."""
    size = min(len(left) - at_left, len(right) - at_right)
    done = 0
    while done < size:
        step = min(BLOCK, size - done)
        if left[at_left + done : at_left + done + step] != right[at_right + done : at_right + done + step]:
            if step == 1:
                break
            while step > 1 and left[at_left + done : at_left + done + step] != right[at_right + done : at_right + done + step]:
                step //= 2
            if left[at_left + done : at_left + done + step] != right[at_right + done : at_right + done + step]:
                break
        done += step
    return done


def _jump(wanted, got, places, step):
    """How far to go in @wanted (in direction @step, at most @places[2]) so that both go on alike; None: nowhere."""
    at_wanted, at_got, most = places
    for distance in range(1, most + 1):
        start = at_wanted + step * distance
        size = min(WINDOW, len(got) - at_got, len(wanted) - start)
        if start >= 0 and size > 0 and wanted[start : start + size] == got[at_got : at_got + size]:
            return distance
    return None


def _jumps(wanted, got, most, step):
    """The places where @got does not go on in @wanted as it should: how many bytes each, and where in @wanted it ends."""
    at_wanted = at_got = 0
    found = []
    while True:
        same = _common(wanted, at_wanted, got, at_got)
        at_wanted += same
        at_got += same
        if at_got == len(got):
            return found, at_wanted
        distance = _jump(wanted, got, (at_wanted, at_got, most), step)
        if distance is None:
            raise Broken(f"byte {at_got} of {len(got)} is {got[at_got : at_got + WINDOW]!r}, after byte {at_wanted} of {len(wanted)}")
        at_wanted += step * distance
        found.append(distance)


def repeats(wanted, got, most):
    """The stretches of at most @most bytes that @got has twice; everything of @wanted is there, in order, or Broken."""
    found, end = _jumps(wanted, got, most, -1)
    if end != len(wanted):
        raise Broken(f"{len(wanted) - end} bytes are missing at the end")
    return found


def gaps(wanted, got, most):
    """The stretches of at most @most bytes that @got lacks; what it has is in order, and nothing twice, or Broken.

    @got may end early.
    """
    return _jumps(wanted, got, most, 1)[0]


def same(wanted, got):
    """All of @wanted and nothing else, or Broken."""
    if wanted != got:
        at = _common(wanted, 0, got, 0)
        raise Broken(f"{len(got)} bytes, {len(wanted)} were given; they differ at {at}: {got[at : at + WINDOW]!r}")
