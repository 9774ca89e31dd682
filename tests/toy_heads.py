"""Made-up heads of a few hundred vertices in the layout of the open models: arrays, files, checkouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idfer.synthetic.mesh import asset, ict, landmarks, makehuman

_ROWS, _COLUMNS = 15, 18
_PLACES = {  # landmark -> x (of the person's left), y of an average face; the nearest vertex is taken
    "eye_outer_left": (0.62, 0.14), "eye_inner_left": (0.22, 0.14), "eye_outer_right": (-0.62, 0.14),
    "eye_inner_right": (-0.22, 0.14), "nose_tip": (0, -0.35), "lip_top": (0, -0.66),
    "lip_upper_inner": (0, -0.74), "lip_lower_inner": (0, -0.76), "lip_bottom": (0, -0.84),
    "mouth_left": (0.36, -0.74), "mouth_right": (-0.36, -0.74), "chin": (0, -1.38),
}  # fmt: skip
DETAILS = tuple(
    f"{place}/{stem}-{way}"
    for place, stem in (
        ("cheek", "cheek-bones"), ("chin", "chin-width"), ("ears", "ear-scale"),
        ("forehead", "forehead-scale-vert"),
        ("eyes", "eye-scale"), ("head", "head-scale-horiz"), ("mouth", "mouth-scale-horiz"),
        ("neck", "neck-scale-horiz"), ("nose", "nose-scale-vert"), ("eyebrows", "eyebrows-extra"),
    )
    for way in ("decr", "incr")
)  # fmt: skip
UNITS = ("eye-left-closure", "eye-right-closure", "eyebrows-left-down", "mouth-corner-puller", "mouth-open")
SHAPES = ("browDown_L", "eyeBlink_L", "jawOpen", "mouthSmile_L", "mouthSmile_R")


def surface() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An egg with eyes, teeth and a tongue: points (V, 3), triangles (F, 3) and parts (V,)."""
    from idfer.synthetic.mesh.surfaces import ball, grid

    tilt = np.linspace(0.02, np.pi - 0.02, _ROWS)
    turn = 2 * np.pi * np.arange(_COLUMNS) / _COLUMNS
    egg = np.stack(
        [
            1.0 * np.outer(np.sin(tilt), np.sin(turn)),
            np.outer(1.65 * np.cos(tilt), np.ones(_COLUMNS)) + 0.1,
            1.1 * np.outer(np.sin(tilt), np.cos(turn)) - 0.9,
        ],
        -1,
    ).reshape(-1, 3)
    marks = np.array([[x, y, 0.05] for x, y in _PLACES.values()])
    points, triangles, parts = (
        [egg, marks],
        [grid(_ROWS, _COLUMNS, closed=True)],
        [0] * (len(egg) + len(marks)),
    )
    start, marked = len(egg) + len(marks), len(egg)
    fans = [(marked + k, marked + (k + 1) % 12, marked + (k + 2) % 12) for k in range(0, 12, 2)]
    triangles.append(np.array(fans))
    round_, faces = ball(np.pi * np.linspace(0, 1, 7), 8)
    for part, centre, radius in ((1, (0.42, 0.14, -0.1), 0.2), (1, (-0.42, 0.14, -0.1), 0.2),
                                 (2, (0, -0.68, -0.1), 0.06), (2, (0, -0.83, -0.1), 0.06),
                                 (3, (0, -0.8, -0.2), 0.1)):  # fmt: skip
        points.append(round_ * radius + np.array(centre))
        triangles.append(faces + start)
        parts += [part] * len(round_)
        start += len(round_)
    used, renumbered = np.unique(np.concatenate(triangles), return_inverse=True)
    return np.concatenate(points)[used], renumbered.reshape(-1, 3), np.array(parts)[used]


def _marks(points: np.ndarray) -> list[int]:
    wanted = np.array([[x, y, 0.05] for x, y in _PLACES.values()])
    return [int(np.linalg.norm(points - mark, axis=1).argmin()) for mark in wanted]


def makehuman_arrays() -> dict[str, np.ndarray]:
    """As `makehuman.arrays` of a checkout."""
    points, triangles, parts = surface()
    count, rng = len(points), np.random.default_rng(0)
    source = np.full(count, -1)
    source[_marks(points)] = landmarks.MAKEHUMAN
    rest = np.setdiff1d(np.arange(14000), landmarks.MAKEHUMAN)
    source[source < 0] = rest[: (source < 0).sum()]
    order = np.argsort(source)
    place = np.argsort(order)
    points, parts, source, triangles = points[order], parts[order], source[order], place[triangles]
    skin = (parts == 0)[:, None]
    macro = [
        f"{p}-{s}-{y}"
        for p in ("african", "asian", "caucasian")
        for s in ("female", "male")
        for y in ("child", "old", "young")
    ]
    universal = [n for n in _universal() if "averagemuscle-averageweight" not in n]

    def offsets(number: int, size: float) -> np.ndarray:
        smooth = rng.normal(0, size, (number, 1, 3)) * np.cos(
            points[None] * rng.normal(1, 0.3, (number, 1, 3))
        )
        return (smooth * skin).round(3).astype(np.float16)

    detail = offsets(len(DETAILS), 0.0)
    for k, name in enumerate(DETAILS):
        sign = 1 if name.endswith("incr") else -1
        detail[k, :, 0] = (0.2 * sign * points[:, 0] * (points[:, 1] < -0.3) * skin[:, 0]).round(3)
    expression = np.zeros((3, len(UNITS), count, 3), np.float16)
    near = np.exp(-(((points - [0, -0.74, 0.05]) / [0.5, 0.2, 0.4]) ** 2).sum(-1)) * skin[:, 0]
    expression[:, 3, :, 1] = (0.15 * near * np.abs(points[:, 0]) * 2).round(3)
    expression[:, 4, :, 1] = (-0.25 * near * (points[:, 1] < -0.75)).round(3)
    expression[:, 2, :, 1] = -0.02 * skin[:, 0]
    return {
        "neutral": (points * 0.5 + [0, 7.0, 1.0]).astype(np.float32), "tri": triangles.astype(np.uint32),
        "region": parts.astype(np.uint8), "region_names": np.array(["skin", "eyes", "teeth", "tongue"]),
        "src_index": source.astype(np.uint32), "macro": offsets(len(macro), 0.02),
        "macro_names": np.array(macro), "universal": offsets(len(universal), 0.01),
        "universal_names": np.array(universal), "detail": detail, "detail_names": np.array(sorted(DETAILS)),
        "expr": expression, "expr_eth": np.array(["african", "asian", "caucasian"]),
        "expr_names": np.array(UNITS),
    }  # fmt: skip


def _universal() -> list[str]:
    amounts = ("average", "max", "min")
    return [
        f"universal-{s}-{y}-{m}muscle-{w}weight"
        for s in ("female", "male") for y in ("child", "old", "young") for m in amounts for w in amounts
    ]  # fmt: skip


def ict_arrays(modes: int = 12) -> dict[str, np.ndarray]:
    """As `ict.arrays` of a checkout, with few modes."""
    points, triangles, parts = surface()
    rng = np.random.default_rng(1)
    skin = (parts == 0)[:, None]
    waves = rng.normal(1, 0.6, (modes, 1, 3))
    identity = 0.06 * np.sin(points[None] * waves + rng.normal(0, 1, (modes, 1, 3))) * skin
    expression = np.zeros((len(SHAPES), len(points), 3), np.float16)
    near = np.exp(-(((points - [0, -0.74, 0.05]) / [0.5, 0.2, 0.4]) ** 2).sum(-1)) * skin[:, 0]
    expression[2, :, 1] = -0.3 * near * (points[:, 1] < -0.75)
    expression[3, :, 1] = 0.2 * near * (points[:, 0] > 0)
    expression[4, :, 1] = 0.2 * near * (points[:, 0] < 0)
    chosen = np.zeros((68, 3))
    t = np.linspace(-1, 1, 68)
    chosen[:] = np.stack([0.8 * t, np.cos(3 * t) * 0.5 - 0.3, np.zeros(68)], -1)
    for number, mark in zip(landmarks.MULTI_PIE, _marks(points), strict=True):
        chosen[number] = points[mark]
    return {
        "neutral": (points * 7.4).astype(np.float32), "tri": triangles.astype(np.uint32),
        "region": np.where(parts == 0, 0, np.where(parts == 1, 1, parts)).astype(np.uint8),
        "region_names": np.array(["face", "eyes", "teeth", "tongue"]),
        "src_index": np.arange(len(points), dtype=np.uint32), "identity": (identity * 7.4).astype(np.float16),
        "expr": (expression * 7.4).astype(np.float16), "expr_names": np.array(SHAPES),
        "landmarks68": (chosen * 7.4).astype(np.float32),
    }  # fmt: skip


def write(file: Path, model: str = "makehuman", **changes: object) -> Path:
    """An asset file, with arrays replaced or, if None, left out."""
    arrays: dict[str, object] = dict(makehuman_arrays() if model == "makehuman" else ict_arrays())
    about = {
        "format": asset.FORMAT,
        "version": asset.VERSION,
        "kind": model,
        "licence": "toy",
        "source": "tests",
    }
    arrays |= about | changes
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **{k: np.asarray(v) for k, v in arrays.items() if v is not None})
    return file


def makehuman_checkout(root: Path) -> Path:
    """MakeHuman's official tree, in which the head of `makehuman_arrays` is."""
    a = makehuman_arrays()
    data = root / "makehuman" / "data"
    vertices = np.zeros((14100, 3))
    vertices[a["src_index"]] = a["neutral"]
    lines = ["# basemesh hm08", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices)]
    groups = {
        "body": 0, "helper-l-eye": 1, "helper-r-eye": 1, "helper-upper-teeth": 2, "helper-lower-teeth": 2,
        "helper-tongue": 3,
    }  # fmt: skip
    part, source = a["region"][a["tri"][:, 0]], a["src_index"]
    left = a["neutral"][a["tri"], 0].mean(1) > 0
    height = a["neutral"][a["tri"], 1].mean(1)
    upper = height > height[part == 2].mean()
    for name, number in groups.items():
        lines.append(f"g {name}")
        chosen = part == number
        if number == 1:
            chosen &= left if name == "helper-l-eye" else ~left
        if number == 2:
            chosen &= upper if name == "helper-upper-teeth" else ~upper
        lines += [f"f {' '.join(f'{source[v] + 1}/1' for v in face)}" for face in a["tri"][chosen]]
    lines += ["g helper-skirt", "f 14001/1 14002/1 14003/1"]
    (data / "3dobjs").mkdir(parents=True)
    (data / "3dobjs" / "base.obj").write_text("\n".join(lines) + "\n")
    targets = data / "targets"
    for names, values in ((a["macro_names"], a["macro"]), (a["universal_names"], a["universal"])):
        for name, offsets in zip(names, values, strict=True):
            _target(targets / "macrodetails" / f"{name}.target", source, offsets)
    for name, offsets in zip(a["detail_names"], a["detail"], strict=True):
        place, stem = str(name).split("/")
        if place == "cheek":  # some are in two halves
            for side, sign in (("l", 1), ("r", -1)):
                _target(
                    targets / place / f"{side}-{stem}.target",
                    source,
                    offsets * (np.sign(a["neutral"][:, :1]) == sign),
                )
        else:
            _target(targets / place / f"{stem}.target", source, offsets)
    for people, units in zip(a["expr_eth"], a["expr"], strict=True):
        for name, offsets in zip(a["expr_names"], units, strict=True):
            _target(targets / "expression" / "units" / str(people) / f"{name}.target", source, offsets)
    return root


def _target(file: Path, source: np.ndarray, offsets: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    moved = np.flatnonzero(np.abs(offsets).max(1) > 0)
    rows = [f"{source[k]} {offsets[k, 0]:.4f} {offsets[k, 1]:.4f} {offsets[k, 2]:.4f}" for k in moved]
    file.write_text("# This is a target file\n#\n" + "\n".join(rows) + "\n")


def ict_checkout(root: Path) -> Path:
    """ICT FaceKit's official tree with a few faces; use it with `ict.MODES` set to 2."""
    rng = np.random.default_rng(2)
    vertices = rng.normal(0, 3, (26719, 3)).round(3)
    faces = []
    for first, end, _ in ict._PARTS.values():
        faces += [(first + k, first + k + 1, first + k + 2, first + k + 3) for k in range(0, 40, 2)]
        faces += [(end - 4, end - 3, end - 2, end - 1)]
    faces += [(p, p + 1, p + 2, p + 3) for p in ict._POINTS]
    folder = root / "FaceXModel"
    folder.mkdir(parents=True)
    text = "\n".join(f"f {' '.join(f'{v + 1}/1' for v in face)}" for face in faces)
    for name in ("generic_neutral_mesh", "identity000", "identity001", "jawOpen", "mouthSmile_L"):
        moved = vertices + (0 if name.startswith("generic") else 0.5)
        rows = "\n".join(f"v {x:.3f} {y:.3f} {z:.3f}" for x, y, z in moved)
        (folder / f"{name}.obj").write_text(f"# ICT FaceKit\n{rows}\n{text}\n")
    return root


__all__ = [
    "ict_arrays",
    "ict_checkout",
    "makehuman",
    "makehuman_arrays",
    "makehuman_checkout",
    "surface",
    "write",
]
