"""Rooms that never were: seeded, ray-cast, with exact depth, intrinsics and labels.

Paint is drawn from one bag for walls, floors, furniture and balls, and posters and rugs hang and lie where nothing stands
out, so that colour alone misleads.   image (3, H, W)   depth, exact, labels (H, W).   Imports: shapes, kinect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbd import kinect
from rgbd.shapes import Box, Camera, Plane, Shape, Sphere, first, visible

Array = NDArray[Any]

LABELS = ("floor", "wall", "ceiling", "box", "sphere")
SIZE = (60, 80)
"""Pixels of a scene, H and W."""
FIELD = (0.75, 1.4)
"""Focal length as a multiple of the image's width: 67° to 39° across."""


@dataclass(frozen=True)
class Paint:
    """Two colours and how they take turns over a shape's own frame: plain, checker, stripes or waves."""

    pattern: str
    colours: Array
    wave: Array
    phase: Array

    def on(self, local: Array) -> Array:
        """(P, 3) colours at (P, 3) points."""
        if self.pattern == "plain":
            return np.broadcast_to(self.colours[0], local.shape)
        if self.pattern == "checker":
            mix = np.floor(local * np.abs(self.wave[0]).max() + self.phase).sum(-1) % 2
        elif self.pattern == "stripes":
            mix = np.floor(local @ self.wave[0] + self.phase[0]) % 2
        else:
            mix = 0.5 + np.sin(2 * np.pi * (local @ self.wave.T + self.phase)).mean(-1)
        mix = np.clip(mix, 0, 1)[:, None]
        return self.colours[0] * (1 - mix) + self.colours[1] * mix


@dataclass(frozen=True)
class Decal:
    """A poster or a rug: flat paint on a plane, an upright rectangle or a disc, about `centre`."""

    centre: Array
    half: float
    round: bool
    paint: Paint

    def covers(self, points: Array) -> Array:
        away = np.abs(points - self.centre)
        return (np.sqrt((away**2).sum(-1)) if self.round else away.max(-1)) < self.half


@dataclass(frozen=True)
class Thing:
    """A shape, what it is, and how it looks."""

    shape: Shape
    label: int
    paint: Paint
    decals: tuple[Decal, ...] = ()

    def colour(self, points: Array) -> Array:
        colour = self.paint.on(self.shape.local(points))
        for decal in self.decals:
            colour = np.where(decal.covers(points)[:, None], decal.paint.on(points), colour)
        return colour


@dataclass(frozen=True)
class Scene:
    """One view: what a sensor would give, and the truth."""

    image: Array
    """(3, H, W) float32 in [0, 1]."""
    depth: Array
    """(H, W) float32, metres as measured, 0 where the sensor has none."""
    exact: Array
    """(H, W) float64, metres."""
    labels: Array
    """(H, W) uint8, an index into LABELS."""
    camera: Camera

    @property
    def focal(self) -> float:
        return self.camera.focal


def scene(*seed: int, size: tuple[int, int] = SIZE) -> Scene:
    """The view that belongs to these seeds; the same for ever."""
    rng = np.random.default_rng(seed)
    room = rng.uniform((3.5, 2.3, 3.5), (6.5, 3.2, 6.5))
    camera = placed(room, size, rng)
    return seen(furnished(room, camera, rng), camera, light(room, rng), rng)


def seen(things: Sequence[Thing], camera: Camera, lamp: Array, rng: np.random.Generator) -> Scene:
    """Cast one ray per pixel, one from the lamp and one from the depth sensor's projector to every hit."""
    shapes = [thing.shape for thing in things]
    eye, rays = np.array(camera.position), camera.rays()
    t, which = first(shapes, eye, rays)
    points = eye + t[:, None] * rays
    normals, colours = np.empty_like(points), np.empty_like(points)
    for index, thing in enumerate(things):
        on = which == index
        normals[on], colours[on] = thing.shape.normal(points[on]), thing.colour(points[on])
    cosine = np.abs((normals * rays).sum(-1)) / np.linalg.norm(rays, axis=-1)
    to_lamp = lamp - points
    facing = (normals * to_lamp).sum(-1) / np.linalg.norm(to_lamp, axis=-1)
    ambient = rng.uniform(0.35, 0.65)
    shade = ambient + (1 - ambient) * np.maximum(facing, 0) * visible(shapes, lamp, points)
    image = colours * (shade * rng.uniform(0.8, 1.2))[:, None] * rng.uniform(0.85, 1.15, 3)
    image = np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1)
    exact = t.reshape(camera.size)
    lit = visible(shapes, eye + kinect.BASELINE * camera.axes()[0], points)
    return Scene(
        np.ascontiguousarray(image.T.reshape(3, *camera.size), np.float32),
        kinect.measured(exact, cosine.reshape(camera.size), lit.reshape(camera.size), rng),
        exact,
        np.array([thing.label for thing in things], np.uint8)[which].reshape(camera.size),
        camera,
    )


def placed(room: Array, size: tuple[int, int], rng: np.random.Generator) -> Camera:
    """Somewhere in the room at the height of a hand or a head, looking across it."""
    x, z = rng.uniform(0.12, 0.88, 2) * room[[0, 2]]
    yaw = np.arctan2(room[0] / 2 - x, room[2] / 2 - z) + rng.uniform(-0.7, 0.7)
    return Camera(
        size, rng.uniform(*FIELD) * size[1], (x, rng.uniform(0.8, 1.8), z), yaw, rng.uniform(-0.3, 0.45), rng.uniform(-0.09, 0.09)
    )


def light(room: Array, rng: np.random.Generator) -> Array:
    """A lamp in the upper part of the room."""
    return rng.uniform((0.2, 0.7, 0.2), (0.8, 0.97, 0.8)) * room


def furnished(room: Array, camera: Camera, rng: np.random.Generator) -> list[Thing]:
    """Floor, ceiling, four walls, boxes that stand, hang or are tables, and balls on the floor, on boxes or in the air."""
    x, y, z = room
    sides = [((0, 1, 0), 0, 0), ((0, -1, 0), -y, 2), ((1, 0, 0), 0, 1), ((-1, 0, 0), -x, 1), ((0, 0, 1), 0, 1), ((0, 0, -1), -z, 1)]
    things = [Thing(Plane(n, offset), label, paint(rng), decals(n, offset, room, rng)) for n, offset, label in sides]
    boxes: list[Box] = []
    for _ in range(rng.integers(2, 7)):
        boxes += [box for box in furniture(room, rng) if clear(box, camera)]
    for box in boxes:
        things.append(Thing(box, LABELS.index("box"), paint(rng)))
    for _ in range(rng.integers(3, 9)):
        ball = resting(room, boxes, rng)
        if np.linalg.norm(np.subtract(ball.centre, camera.position)) > ball.radius + 0.5:
            things.append(Thing(ball, LABELS.index("sphere"), paint(rng)))
    return things


def furniture(room: Array, rng: np.random.Generator) -> list[Box]:
    """One piece: a cabinet on the floor, a cupboard in the air, or a table of two boxes."""
    cx, cz = rng.uniform(0.08, 0.92, 2) * room[[0, 2]]
    turn, kind = rng.uniform(0, np.pi), rng.random()
    wide, deep = rng.uniform(0.12, 0.6, 2)
    if kind < 0.2:
        top = rng.uniform(0.6, 0.85)
        slab = Box((cx, top - 0.04, cz), (max(wide, 0.35), 0.04, max(deep, 0.35)), turn)
        return [slab, replace(slab, centre=(cx, top / 2 - 0.04, cz), half=(0.1, top / 2 - 0.04, 0.1))]
    tall = rng.uniform(0.1, 0.9 if kind < 0.8 else 0.35)
    base = 0.0 if kind < 0.8 else rng.uniform(0.9, room[1] - 2 * tall)
    return [Box((cx, base + tall, cz), (wide, tall, deep), turn)]


def clear(box: Box, camera: Camera) -> bool:
    """Whether the camera is at least 0.5 m outside."""
    return bool((np.abs(box.local(np.array(camera.position))) > np.array(box.half) + 0.5).any())


def resting(room: Array, boxes: Sequence[Box], rng: np.random.Generator) -> Sphere:
    """A ball on the floor, on the middle of a box, or in the air."""
    radius, place = rng.uniform(0.12, 0.4), rng.random()
    if boxes and place < 0.3:
        under = boxes[rng.integers(len(boxes))]
        return Sphere((under.centre[0], under.centre[1] + under.half[1] + radius, under.centre[2]), radius)
    x, z = rng.uniform(0.1, 0.9, 2) * room[[0, 2]]
    return Sphere((x, radius if place < 0.8 else rng.uniform(radius, room[1] - radius), z), radius)


def decals(normal: tuple[int, int, int], offset: float, room: Array, rng: np.random.Generator) -> tuple[Decal, ...]:
    """Up to three posters or rugs on a plane of the room."""
    on = np.abs(np.array(normal)) * abs(offset)
    free = 1 - np.abs(np.array(normal))
    return tuple(
        Decal(on + free * rng.uniform(0.1, 0.9, 3) * room, rng.uniform(0.15, 0.5), rng.random() < 0.5, paint(rng))
        for _ in range(rng.integers(0, 4))
    )


def paint(rng: np.random.Generator) -> Paint:
    """From the one bag: what is painted is not asked."""
    wave = rng.normal(size=(4, 3))
    wave *= rng.uniform(1, 6) / np.linalg.norm(wave, axis=-1, keepdims=True)
    greyness = rng.uniform(0, 0.8)
    colours = rng.uniform(0.15, 0.95, (2, 3))
    colours = greyness * colours.mean(-1, keepdims=True) + (1 - greyness) * colours
    pattern = ("plain", "checker", "stripes", "waves")[rng.choice(4, p=(0.4, 0.2, 0.2, 0.2))]
    return Paint(pattern, colours, wave, rng.random(4) if pattern == "waves" else rng.random(3))
