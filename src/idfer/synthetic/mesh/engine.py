"""The mesh engine: faces of parametric heads, rendered by Mitsuba in parallel processes.

A face is rendered by one thread from numbers that are its own, so its pixels are the same to the last bit
whatever the batch and the number of processes. Another version of Mitsuba, numpy or the processor's
instructions may round differently.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idfer.capacity import available_memory, gibibytes
from idfer.data.manifest import RENDERED
from idfer.errors import IdferError, UsageError
from idfer.progress import track
from idfer.synthetic.factors import Factors
from idfer.synthetic.mesh import asset as assets_
from idfer.synthetic.mesh.person import stream
from idfer.synthetic.render import check_size
from idfer.workers import cores, processes

VERSION = 3  # raised when the same factors give other pixels
_CHUNK = 4  # faces a process renders before it hands them over
_PROCESS_BYTES = 850 * 2**20  # measured: torch, Mitsuba and two heads
_PIXEL_BYTES = 2000  # textures, film and hair, per pixel of a face
SAMPLES = 12  # by default
_SAMPLES = (1, 4096)
Asset = tuple[str, str]  # file and digest


class Mesh:
    """Faces of open parametric heads.

    Args:
        files: asset files, as `idfer assets` makes them; each person has the head of one of them.
        samples: paths of light per pixel.
        workers: processes; one a core by default, as far as memory goes.

    Raises:
        UsageError: no asset file, a number out of range, Mitsuba is not installed.
        IdferError: an asset file that cannot be used.
    """

    name, source, sheet_size, sheet_people = "mesh", RENDERED, 96, 4

    def __init__(
        self, files: Sequence[str | Path], samples: int = SAMPLES, workers: int | None = None
    ) -> None:
        if not files:
            raise UsageError(
                "the mesh engine needs a head: --assets FILE.npz, made once by `idfer assets makehuman "
                "CHECKOUT -o FILE.npz` (or `idfer assets ict`) from a clone of that project."
            )
        for name, value, low, high in (
            ("samples", samples, *_SAMPLES), ("workers", workers if workers is not None else 1, 1, 1024),
        ):  # fmt: skip
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}; it must be {low} to {high}.")
        from idfer.synthetic.mesh.stage import mitsuba

        read = [assets_.read(file) for file in files]
        self._kinds = tuple(a.kind for a in read)
        self._heads = tuple(
            (str(Path(file).absolute()), a.digest) for file, a in zip(files, read, strict=True)
        )
        mitsuba()
        self.samples = samples
        self.workers = workers if workers is not None else _fitting()

    def check(self, size: int) -> None:
        """Raises `UsageError` for a size that it does not draw or that this machine has no memory for."""
        check_size(size)
        needed, free = self.workers * (_PROCESS_BYTES + _PIXEL_BYTES * size**2), available_memory()
        if free is not None and needed > free:
            fit = int(free // (_PROCESS_BYTES + _PIXEL_BYTES * size**2))
            advice = f"--workers {fit} fits" if fit else "ask for a smaller --size"
            raise UsageError(
                f"{self.workers} processes that render {size} pixels a side need about {gibibytes(needed)} "
                f"of memory, {gibibytes(free)} are free; {advice}."
            )

    def fingerprint(self) -> str:
        """Heads, samples and the version of the engine."""
        return f"{self.name} {VERSION} {' '.join(digest for _, digest in self._heads)} {self.samples}"

    def columns(self, factors: Factors) -> dict[str, Any]:
        """The engine's name and the model of each head."""
        return {"engine": self.name, "head": np.array(self._kinds)[self._head_of(factors)]}

    def landmarks(self, factors: Factors, size: int, progress: bool = False) -> np.ndarray:
        """(N, 5, 2) x, y in pixels of eyes, nose and mouth, from the surface that is rendered."""
        from idfer.synthetic.mesh.draw import seen

        heads = self._head_of(factors)
        values = {name: getattr(factors, name).tolist() for name in factors.names()}
        found = np.empty((len(factors), 5, 2), np.float32)
        for k in track(range(len(factors)), "placing faces", len(factors), progress):
            who = {name: column[k] for name, column in values.items()}
            found[k] = seen(_model(*self._heads[heads[k]]).sparse, who, size)
        return found

    def render(self, factors: Factors, size: int) -> Tensor:
        """(N, 3, size, size) uint8 RGB, in this process."""
        check_size(size)
        pictures = _render(self._heads, factors, self._head_of(factors), size, self.samples)
        return torch.from_numpy(pictures).permute(0, 3, 1, 2)

    def pictures(self, factors: Factors, size: int) -> Generator[np.ndarray, None, None]:
        """Few faces at a time, from processes that render ahead by two turns."""
        heads = self._head_of(factors)
        parts = [slice(start, start + _CHUNK) for start in range(0, len(factors), _CHUNK)]
        if self.workers == 1 or len(parts) < 2:
            for part in parts:
                yield _render(self._heads, factors.rows(part), heads[part], size, self.samples)
            return
        waiting: deque[Future[np.ndarray]] = deque()
        count = min(self.workers, len(parts))
        with processes(count, _leave_interrupts, "a rendering process") as pool:
            for part in parts:
                values = factors.rows(part).map(lambda stacked: stacked.clone())
                numbers = {name: getattr(values, name).numpy() for name in values.names()}
                waiting.append(
                    pool.submit(_render_numbers, self._heads, numbers, heads[part], size, self.samples)
                )
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _head_of(self, factors: Factors) -> np.ndarray:
        """(N,) which asset each face's person has."""
        if len(self._heads) == 1:
            return np.zeros(len(factors), np.int64)
        people = np.stack([factors.cohort.numpy(), factors.identity.numpy()])
        unique, of = np.unique(people, axis=1, return_inverse=True)
        chosen = [int(stream(c, i, 0).integers(len(self._heads))) for c, i in unique.T]
        return np.array(chosen, np.int64)[of.reshape(-1)]


def _fitting() -> int:
    """As many processes as there are cores, or as memory holds of faces of 256 pixels; at least one."""
    free, each = available_memory(), _PROCESS_BYTES + _PIXEL_BYTES * 256**2
    return cores() if free is None else max(1, min(cores(), free // each))


@lru_cache(maxsize=4)
def _model(file: str, digest: str) -> Any:
    """The head of a file with these contents: a file that was replaced is another head."""
    from idfer.synthetic.mesh.head import Model

    asset = assets_.read(file)
    if asset.digest != digest:
        raise IdferError(f"{file} was replaced while its faces were rendered; run the same command again.")
    return Model(asset)


def _render(
    assets: Sequence[Asset], factors: Factors, heads: np.ndarray, size: int, samples: int
) -> np.ndarray:
    """(N, size, size, 3) uint8."""
    from idfer.synthetic.mesh.draw import draw
    from idfer.synthetic.mesh.stage import single_thread

    pictures = np.empty((len(factors), size, size, 3), np.uint8)
    with single_thread():
        for k in range(len(factors)):
            pictures[k] = draw(_model(*assets[heads[k]]), factors.rows([k]), size, samples)
    return pictures


def _leave_interrupts() -> None:
    """Ctrl-C is left to the process that started this one, with which it ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _render_numbers(
    assets: Sequence[Asset], numbers: dict[str, np.ndarray], heads: np.ndarray, size: int, samples: int
) -> np.ndarray:
    """`_render` of factors that travelled as arrays."""
    factors = Factors(**{name: torch.from_numpy(value) for name, value in numbers.items()})
    return _render(assets, factors, heads, size, samples)
