"""What the built-in guest writes to disks: blk.h of the guest has the formula."""
import struct

SECTOR = 512


def pattern(first, sectors, seed):
    """What the guest writes to @sectors sectors from @first on: see blk.h of the guest."""
    mask = (1 << 64) - 1
    start = (first * (SECTOR // 8) + 1) * 0x9E3779B97F4A7C15 + seed * 0xD1342543DE82EF95
    words = ((start + i * 0x9E3779B97F4A7C15) & mask for i in range(sectors * (SECTOR // 8)))
    return struct.pack(f"<{sectors * (SECTOR // 8)}Q", *words)
