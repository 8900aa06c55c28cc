"""Noise that repeats: hashes of a seed, a channel and a time, so that every process sees the same and runs repeat."""

_MASK = (1 << 64) - 1
_SPREAD = 3.0**0.5 / 65536.0  # the sum of four uniform 16-bit numbers has a standard deviation of 65536 / sqrt(3)


def hashed(seed: int, number: int) -> int:
    """Return 64 bits that depend on both arguments (any integers) and look random."""
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) & _MASK
    x = ((x ^ (x >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    x = ((x ^ (x >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    return x ^ (x >> 32)


def uniform(seed: int, number: int) -> float:
    """Return a number within -1..1."""
    return hashed(seed, number) / (_MASK / 2) - 1.0


def bell(seed: int, channel: int, time_s: float) -> float:
    """Return the noise of one channel at one moment (1 us apart is another one): mean 0, standard deviation 1.

    The sum of four uniform numbers: near enough to a normal distribution, and never beyond 3.5.
    """
    x = hashed(seed + channel * 0x632BE59BD9B4E019, round(time_s * 1e6))
    return ((x & 65535) + (x >> 16 & 65535) + (x >> 32 & 65535) + (x >> 48) - 131070.0) * _SPREAD
