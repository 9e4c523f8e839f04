"""What a ray hits: planes, boxes and spheres, exactly, and the camera that sends the rays.

World: x and z along the floor, y up, metres.  Camera: x right, y down, z forward, at pixel (column - cx, row - cy) / focal.
Directions have camera z = 1, so the t of a hit is its depth along the optical axis and not its distance.
origin (3,)   direction (P, 3)   points (P, 3)   t (P,), inf where nothing is hit.   Imports: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Shape(Protocol):
    """Anything with a surface."""

    def reach(self, origin: Array, direction: Array) -> Array:
        """t of the first point in front of the origin."""

    def normal(self, points: Array) -> Array:
        """Outward unit normals at points of the surface."""

    def local(self, points: Array) -> Array:
        """The points in the shape's own frame, in metres: where its paint sticks."""


@dataclass(frozen=True)
class Plane:
    """All points whose product with `facing`, a unit normal, is `offset`."""

    facing: tuple[float, float, float]
    offset: float

    def reach(self, origin: Array, direction: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (self.offset - origin @ np.array(self.facing)) / (direction @ np.array(self.facing))
        return np.where(t > 0, t, np.inf)

    def normal(self, points: Array) -> Array:
        return np.broadcast_to(np.array(self.facing), points.shape)

    def local(self, points: Array) -> Array:
        return points


@dataclass(frozen=True)
class Box:
    """A box turned by `turn` radians about the vertical; `half` are its half sides."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    turn: float = 0.0

    def axes(self) -> Array:
        """Rows: the box's own axes in the world."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])

    def reach(self, origin: Array, direction: Array) -> Array:
        from_, along = self.local(origin), direction @ self.axes().T
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (-np.array(self.half) - from_) / along, (np.array(self.half) - from_) / along
        enter, leave = np.fmin(one, other).max(-1), np.fmax(one, other).min(-1)
        return np.where((enter > 0) & (enter <= leave), enter, np.inf)

    def normal(self, points: Array) -> Array:
        local = self.local(points)
        side = np.argmax(np.abs(local) / np.array(self.half), axis=-1)
        return np.sign(np.take_along_axis(local, side[:, None], axis=-1)) * self.axes()[side]

    def local(self, points: Array) -> Array:
        return (points - np.array(self.centre)) @ self.axes().T


@dataclass(frozen=True)
class Sphere:
    centre: tuple[float, float, float]
    radius: float

    def reach(self, origin: Array, direction: Array) -> Array:
        from_ = origin - np.array(self.centre)
        a, b = np.sum(direction**2, axis=-1), direction @ from_
        inside = b**2 - a * (from_ @ from_ - self.radius**2)
        t = (-b - np.sqrt(np.maximum(inside, 0))) / a
        return np.where((inside >= 0) & (t > 0), t, np.inf)

    def normal(self, points: Array) -> Array:
        return self.local(points) / self.radius

    def local(self, points: Array) -> Array:
        return points - np.array(self.centre)


@dataclass(frozen=True)
class Camera:
    """A pinhole; `pitch` is down, `yaw` turns right, `roll` clockwise, in radians; `focal` in pixels."""

    size: tuple[int, int]
    focal: float
    position: tuple[float, float, float]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def axes(self) -> Array:
        """Rows: the camera's x, y, z in the world."""
        sy, cy, sp, cp, sr, cr = (f(a) for a in (self.yaw, self.pitch, self.roll) for f in (np.sin, np.cos))
        ahead = np.array([sy * cp, -sp, cy * cp])
        right = np.array([cy, 0, -sy])
        down = np.cross(right, ahead)
        return np.stack([cr * right + sr * down, cr * down - sr * right, ahead])

    def rays(self) -> Array:
        """One direction per pixel, row by row."""
        H, W = self.size
        row, column = np.mgrid[:H, :W].astype(float)
        seen = np.stack([(column - (W - 1) / 2) / self.focal, (row - (H - 1) / 2) / self.focal, np.ones((H, W))], axis=-1)
        return seen.reshape(-1, 3) @ self.axes()


def first(shapes: Sequence[Shape], origin: Array, direction: Array) -> tuple[Array, Array]:
    """t of the nearest hit of each ray, and the index of the shape it is on."""
    reached = np.stack([shape.reach(origin, direction) for shape in shapes])
    nearest = np.argmin(reached, axis=0)
    return np.take_along_axis(reached, nearest[None], axis=0)[0], nearest


def visible(shapes: Sequence[Shape], eye: Array, points: Array) -> Array:
    """Whether the straight line from the eye to each point, itself on a shape, is free."""
    return first(shapes, eye, points - eye)[0] > 1 - 1e-6
