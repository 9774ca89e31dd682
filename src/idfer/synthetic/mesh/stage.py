"""Mitsuba 3: the only module that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from idfer.errors import UsageError

VARIANT = "scalar_rgb"


def mitsuba() -> Any:
    """The module, with its variant chosen.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import mitsuba as mi
    except ImportError as error:
        raise UsageError(
            f"the mesh engine renders with Mitsuba 3, which cannot be imported ({error}); "
            "`pip install 'idfer[mesh]'` brings it, or leave --engine at drawn."
        ) from error
    if mi.variant() != VARIANT:
        mi.set_variant(VARIANT)
    return mi


def surface(
    points: np.ndarray,
    triangles: np.ndarray,
    normals: np.ndarray,
    material: Any,
    uv: np.ndarray | None = None,
    colour: np.ndarray | None = None,
) -> Any:
    """A mesh for Mitsuba; `colour` (V, 3) becomes its attribute `vertex_color`."""
    mi = mitsuba()
    properties = mi.Properties()
    properties["mesh_bsdf"] = material
    mesh = mi.Mesh(
        "part", len(points), len(triangles), has_vertex_normals=True, has_vertex_texcoords=uv is not None,
        props=properties,
    )  # fmt: skip
    if colour is not None:
        mesh.add_attribute("vertex_color", 3, np.ascontiguousarray(colour, np.float32).ravel())
    values = mi.traverse(mesh)
    values["vertex_positions"] = np.ascontiguousarray(points, np.float32).ravel()
    values["faces"] = np.ascontiguousarray(triangles, np.uint32).ravel()
    values["vertex_normals"] = np.ascontiguousarray(normals, np.float32).ravel()
    if uv is not None:
        values["vertex_texcoords"] = np.ascontiguousarray(uv, np.float32).ravel()
    values.update()
    return mesh


def material(
    base: Any, roughness: float, specular: float, height: np.ndarray | None = None, bump: float = 1.0,
    **more: float,
) -> Any:  # fmt: skip
    """A principled surface, two-sided; `base` is (3,) linear, (H, W, 3) or the name of a mesh attribute."""
    mi = mitsuba()
    described: dict[str, Any] = {
        "type": "principled", "base_color": _texture(base), "roughness": roughness, "specular": specular,
        **more,
    }  # fmt: skip
    if height is not None:
        relief = {"type": "bitmap", "data": mi.TensorXf(height[..., None] * bump), "raw": True,
                  "wrap_mode": "clamp"}  # fmt: skip
        described = {"type": "bumpmap", "arbitrary": relief, "scale": 1.0, "bsdf": described}
    return mi.load_dict({"type": "twosided", "bsdf": described})


def _texture(base: Any) -> dict[str, Any]:
    mi = mitsuba()
    if isinstance(base, str):
        return {"type": "mesh_attribute", "name": base}
    if isinstance(base, np.ndarray) and base.ndim == 3:
        return {
            "type": "bitmap", "data": mi.TensorXf(np.ascontiguousarray(base, np.float32)), "raw": True,
            "wrap_mode": "clamp",
        }  # fmt: skip
    return {"type": "rgb", "value": [float(v) for v in base]}


def shoot(
    parts: list[Any], lights: list[dict[str, Any]], size: int, samples: int, seed: int, view: float,
    distance: float, centre: float,
) -> np.ndarray:  # fmt: skip
    """Render (size, size, 4) float32, linear colour times coverage, and coverage.

    Args:
        parts: meshes.
        lights: emitters, described as Mitsuba's dictionaries.
        size: pixels a side.
        samples: paths per pixel.
        seed: of the random paths.
        view: half the side of the picture, in units, in the plane z = 0.
        distance: of the camera from that plane.
        centre: height y of the middle of the picture.
    """
    mi = mitsuba()
    at = mi.ScalarTransform4f()
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 2, "hide_emitters": True},
        "sensor": {
            "type": "perspective",
            "fov": float(2 * np.rad2deg(np.arctan(view / distance))),
            "to_world": at.look_at([0, centre, distance], [0, centre, 0], [0, 1, 0]),
            "film": {
                "type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgba",
                "component_format": "float32", "rfilter": {"type": "gaussian", "stddev": 0.45},
            },
            "sampler": {"type": "multijitter", "sample_count": samples, "seed": seed},
        },
    }  # fmt: skip
    scene |= {f"part{k}": part for k, part in enumerate(parts)}
    scene |= {f"light{k}": light for k, light in enumerate(lights)}
    picture = mi.render(mi.load_dict(scene), seed=seed, spp=samples)
    pixels: np.ndarray = np.array(picture, np.float32)
    return pixels


def key_light(direction: np.ndarray, radius: float, power: np.ndarray) -> dict[str, Any]:
    """A square lamp 6 units away in a direction, facing the head."""
    mi = mitsuba()
    place = 6 * direction / np.linalg.norm(direction)
    at = mi.ScalarTransform4f()
    return {
        "type": "rectangle",
        "to_world": at.look_at([float(v) for v in place], [0, -0.2, 0], [0, 1, 0.01]) @ at.scale(radius),
        "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [float(v) for v in power]}},
    }


def sky(power: np.ndarray) -> dict[str, Any]:
    """Even light from everywhere."""
    return {"type": "constant", "radiance": {"type": "rgb", "value": [float(v) for v in power]}}


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread for Mitsuba, numpy's friends and torch: the order of sums, and so the pixels, are fixed."""
    import cv2
    import drjit as dr
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads(), dr.thread_count()
    try:
        mitsuba()
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        dr.set_thread_count(1)
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
        dr.set_thread_count(before[2])
