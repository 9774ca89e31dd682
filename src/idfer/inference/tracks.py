"""Which face of a frame is which of the frames before: motion and appearance, across short losses [ours].

A track coasts with constant velocity, pairs of tracks and faces are chosen together (the Hungarian method),
and a face must look like its track: its small grey picture correlates with the track's. As SORT (Bewley et
al., ICIP 2016) with centre distances in place of overlap and with appearance; a track ends when its face has
not been seen for `survive` seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from idfer.data.detection import Face

_SIDE, _SEARCH = 32, 56  # pixels of a face's small picture, and of the surroundings it is searched in
_COAST = 0.5  # seconds for which the last velocity is believed
_REACH, _DRIFT, _FARTHEST = 0.75, 1.5, 2.5  # face sizes that a centre may be off; per second of loss; at most
_GROWTH = 0.7  # |log| of a face's change of size
_UNLIKE, _ALIKE, _TWIN = (
    0.75,
    0.2,
    0.08,
)  # 1 - correlation: another face; the same off its path; in another shot
_CUT_LEVELS, _CUT_LIKE = 20.0, 0.75  # mean change of grey levels and correlation that make a cut
_FOUND = 0.6  # correlation at which a face counts as found again

FOLLOWED = "/track"
"""What ends a row's `detector` where faces were followed from the frame before and not searched."""


@dataclass
class Track:
    """A face over time; places in units of the frame's height.

    Attributes:
        face_id: its number.
        centre: (2,) x, y.
        size: (2,) width, height.
        time: when it was seen last, seconds.
        look: (32, 32) its small grey picture then, as of the last detection.
        mean: (32, 32) running mean of its pictures, zero mean and unit norm.
        shot: how many cuts came before it was seen last: place and motion do not carry over a cut.
        velocity: (2,) heights per second.
        landmarks: (5, 2) of the last detection, from the face's centre; None where there are none.
    """

    face_id: int
    centre: np.ndarray
    size: np.ndarray
    time: float
    look: np.ndarray
    mean: np.ndarray
    shot: int
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    landmarks: np.ndarray | None = None

    def expected(self, time: float) -> np.ndarray:
        """Centre (2,) at a time, if the face goes on as it moved."""
        return self.centre + self.velocity * min(max(time - self.time, 0.0), _COAST)


class Tracker:
    """Numbers faces over the frames of one video; a number is never given twice.

    Args:
        survive: seconds for which a face may be out of sight and keep its number.
    """

    def __init__(self, survive: float = 2.0) -> None:
        self.survive = survive
        self._tracks: list[Track] = []
        self._next = 0
        self._scene: np.ndarray | None = None
        self._shot = 0
        self._time = -math.inf

    def update(self, faces: Sequence[Face], image: np.ndarray, time: float) -> list[int]:
        """Take what was detected in the next frame.

        Args:
            faces: the faces in it.
            image: (H, W, 3) uint8, RGB.
            time: its time in seconds.

        Returns:
            The number of each face, in the order of `faces`.
        """
        self._shot += self._is_cut(image)
        self._tracks = [track for track in self._tracks if time - track.time <= self.survive]
        found = [_seen(face.box, image) for face in faces]
        pairs = self._pairs(found, time)
        numbers = []
        for index, (centre, size, look) in enumerate(found):
            track = pairs.get(index)
            if track is None:
                track = Track(self._next, centre, size, time, look, _normal(look), self._shot)
                self._tracks.append(track)
                self._next += 1
            else:
                _move(track, centre, size, look, time, self._shot)
            marks = faces[index].landmarks
            track.landmarks = None if marks is None else marks / image.shape[0] - centre
            numbers.append(track.face_id)
        self._time = time
        return numbers

    def remember(
        self,
        boxes: Sequence[tuple[int, int, int, int]],
        ids: Sequence[int],
        image: np.ndarray,
        time: float,
        followed: bool = False,
    ) -> None:
        """Take a frame whose faces have their numbers already, as from the rows of an earlier run.

        Args:
            boxes: of its N faces, x, y, width, height in pixels.
            ids: their N numbers.
            image: (H, W, 3) uint8, RGB.
            time: its time in seconds.
            followed: whether `follow` found them: it does so again, since boxes are rounded and `look` stays
                that of the last detection.
        """
        if followed:
            again = self.follow(image, time)
            if again is not None and {number for number, _ in again} == set(ids):
                return
        self._shot += self._is_cut(image)
        self._tracks = [track for track in self._tracks if time - track.time <= self.survive]
        known = {track.face_id: track for track in self._tracks}
        for box, number in zip(boxes, ids, strict=True):
            centre, size, look = _seen(box, image)
            if (track := known.get(number)) is None:
                self._tracks.append(Track(number, centre, size, time, look, _normal(look), self._shot))
                self._next = max(self._next, number + 1)
            else:
                _move(track, centre, size, look, time, self._shot)
        self._time = time

    def follow(self, image: np.ndarray, time: float) -> list[tuple[int, Face]] | None:
        """Find the faces of the last frame again without a detector, by their pictures.

        Returns:
            Number and place of each, `score` its correlation; None where one is lost or the scene has
            changed: the detector must look.
        """
        import cv2

        before = self._scene
        if self._is_cut(image):
            self._scene = before  # `update` sees the cut too
            return None
        moved: list[tuple[Track, np.ndarray, float]] = []
        for track in self._tracks:
            if track.time < self._time or track.shot != self._shot:
                continue  # lost before; the next key frame looks for it
            wide = track.size * _SEARCH / _SIDE
            around = _patch(image, track.expected(time), wide, _SEARCH)
            scores = cv2.matchTemplate(around, track.look, cv2.TM_CCOEFF_NORMED)
            _, best, _, (x, y) = cv2.minMaxLoc(scores)
            if not best >= _FOUND:
                return None
            shift = (np.array([x, y]) - (_SEARCH - _SIDE) / 2) / _SIDE
            moved.append((track, track.expected(time) + shift * track.size, best))
        height = image.shape[0]
        followed = []
        for track, centre, score in moved:
            _shift(track, centre, time)
            x, y = (centre - track.size / 2) * height
            width, tall = track.size * height
            box = (math.floor(x + 0.5), math.floor(y + 0.5), max(1, round(width)), max(1, round(tall)))
            marks = None
            if track.landmarks is not None:
                marks = ((track.landmarks + centre) * height).astype(np.float32)
            followed.append((track.face_id, Face(*box, score=float(score), landmarks=marks)))
        self._time = time
        return followed

    def _is_cut(self, image: np.ndarray) -> bool:
        """Whether the whole picture has changed since the last frame."""
        import cv2

        small = cv2.cvtColor(
            cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        ).astype(np.float32)
        before, self._scene = self._scene, small
        if before is None:
            return False
        changed = float(np.abs(small - before).mean()) > _CUT_LEVELS
        return changed and float((_normal(small) * _normal(before)).sum()) < _CUT_LIKE

    def _pairs(
        self, found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], time: float
    ) -> dict[int, Track]:
        """Which track each face continues, by the face's index."""
        from scipy.optimize import linear_sum_assignment

        if not found or not self._tracks:
            return {}
        refused = 1e3
        cost = np.full((len(self._tracks), len(found)), refused)
        for i, track in enumerate(self._tracks):
            for j, (centre, size, look) in enumerate(found):
                cost[i, j] = min(_cost(track, centre, size, look, time, self._shot), refused)
        rows, columns = linear_sum_assignment(cost)
        return {int(j): self._tracks[i] for i, j in zip(rows, columns, strict=True) if cost[i, j] < refused}


def _cost(
    track: Track, centre: np.ndarray, size: np.ndarray, look: np.ndarray, time: float, shot: int
) -> float:
    """How badly a face continues a track; infinity where it cannot."""
    side, before = float(np.sqrt(size.prod())), float(np.sqrt(track.size.prod()))
    growth = abs(math.log(side / before))
    away = float(np.linalg.norm(track.expected(time) - centre)) / math.sqrt(side * before)
    seen = _normal(look)
    unlike = 1 - max(float((seen * track.mean).sum()), float((seen * _normal(track.look)).sum()))
    reach = min(_REACH + _DRIFT * max(time - track.time, 0.0), _FARTHEST)
    if track.shot != shot:
        return 1 + 2 * unlike if unlike <= _TWIN and growth <= 2 * _GROWTH else math.inf
    near = away <= reach and growth <= _GROWTH and unlike <= _UNLIKE
    same = unlike <= _ALIKE and away <= 2 * _FARTHEST and growth <= 2 * _GROWTH
    return away / reach + growth / _GROWTH + 2 * unlike if near or same else math.inf


def _move(
    track: Track, centre: np.ndarray, size: np.ndarray, look: np.ndarray, time: float, shot: int
) -> None:
    """Put a track where its face was found."""
    if track.shot != shot:
        track.velocity = np.zeros(2)
        track.centre, track.time, track.shot = centre, time, shot
    else:
        _shift(track, centre, time)
    track.size, track.look = size, look
    track.mean = _normal(0.8 * track.mean + 0.2 * _normal(look))


def _shift(track: Track, centre: np.ndarray, time: float) -> None:
    passed = time - track.time
    if passed > 0:
        track.velocity = 0.5 * track.velocity + 0.5 * (centre - track.centre) / passed
    track.centre, track.time = centre, time


def _seen(box: tuple[int, int, int, int], image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (2,) and size (2,) of a box in units of the image's height, and its small picture."""
    x, y, width, height = box
    size = np.array([width, height]) / image.shape[0]
    centre = np.array([x, y]) / image.shape[0] + size / 2
    return centre, size, _patch(image, centre, size, _SIDE)


def _patch(image: np.ndarray, centre: np.ndarray, size: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32 grey of a place in an image; beyond its border the edge pixels are repeated."""
    import cv2

    height, width = image.shape[:2]
    left, top = (np.floor((centre - size / 2) * height)).astype(int)
    right, below = (np.ceil((centre + size / 2) * height)).astype(int)
    columns = np.clip(np.linspace(left, right - 1, min(right - left, 4 * side)).astype(int), 0, width - 1)
    rows = np.clip(np.linspace(top, below - 1, min(below - top, 4 * side)).astype(int), 0, height - 1)
    cut = np.ascontiguousarray(image[rows[:, None], columns])
    small = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
    grey: np.ndarray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey


def _normal(picture: np.ndarray) -> np.ndarray:
    """Zero mean and unit norm; a uniform picture stays 0."""
    flat: np.ndarray = picture - picture.mean()
    norm = float(np.linalg.norm(flat))
    return flat / norm if norm > 1e-6 else flat
