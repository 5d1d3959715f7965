"""How different two colours look, also to people who do not see red, green or blue."""

from __future__ import annotations

from math import dist

Vector = tuple[float, ...]
Matrix = tuple[Vector, Vector, Vector]

# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency
# (2009), severity 1.0; on linear RGB.
KINDS_OF_VISION: dict[str, Matrix] = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "no blue": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
TO_XYZ: Matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.0890)


def difference(one: str, other: str, vision: str) -> float:
    """Return the distance in CIELAB of two colours such as `#a3d0f7`.

    A distance of 2 is just visible, one of 100 is that of black and white.
    """
    return dist(_cielab(one, KINDS_OF_VISION[vision]), _cielab(other, KINDS_OF_VISION[vision]))


def _cielab(colour: str, vision: Matrix) -> Vector:
    srgb = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb)
    seen = tuple(min(max(c, 0.0), 1.0) for c in _product(vision, linear))
    x, y, z = (_response(c / w) for c, w in zip(_product(TO_XYZ, seen), WHITE, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _response(c: float) -> float:
    """The eye's response to light, as CIELAB defines it."""
    return float(c ** (1 / 3)) if c > 0.008856 else 7.787 * c + 16 / 116


def _product(matrix: Matrix, vector: Vector) -> Vector:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
