"""One number per face over time: motion, crossings, short losses, cuts; following without a detector."""

from __future__ import annotations

import numpy as np

from films import SIDE, Bright, picture
from idfer.data.detection import Face
from idfer.inference.tracks import Tracker

LARGE = (320, 96)


def numbers(tracker: Tracker, places: list[tuple[int, int, int]], time: float) -> list[int]:
    """Numbers of faces (person, x, y), which the detector gives in an order of its own."""
    image = picture(*places, size=LARGE)
    order = sorted(range(len(places)), key=lambda i: places[i][1])
    faces = [Face(places[i][1], places[i][2], SIDE, SIDE, 0.9) for i in order]
    found = tracker.update(faces, image, time)
    return [found[order.index(i)] for i in range(len(places))]


def test_faces_keep_their_numbers_whatever_the_detectors_order() -> None:
    tracker = Tracker()
    for i in range(40):
        assert numbers(tracker, [(0, 10 + i, 10), (1, 150 - i, 55), (2, 250, 30)], i / 25) == [0, 1, 2]


def test_two_people_who_cross_keep_theirs() -> None:
    tracker = Tracker()
    for i in range(60):
        assert numbers(tracker, [(0, 10 + 4 * i, 6), (1, 246 - 4 * i, 44)], i / 25) == [0, 1]


def test_a_face_out_of_sight_for_a_moment_comes_back_as_itself() -> None:
    tracker = Tracker(survive=2.0)
    for i in range(10):
        numbers(tracker, [(0, 10 + 2 * i, 30), (1, 200, 30)], i / 25)
    for i in range(10, 35):  # behind something, going on
        assert numbers(tracker, [(1, 200, 30)], i / 25) == [1]
    assert numbers(tracker, [(0, 10 + 2 * 35, 30), (1, 200, 30)], 35 / 25) == [0, 1]


def test_a_face_lost_for_long_and_a_stranger_in_its_place_get_new_numbers() -> None:
    tracker = Tracker(survive=1.0)
    assert numbers(tracker, [(0, 50, 30)], 0.0) == [0]
    assert numbers(tracker, [], 0.5) == []
    assert numbers(tracker, [(0, 50, 30)], 5.0) == [1]
    assert numbers(tracker, [(0, 250, 30)], 5.04) != numbers(tracker, [(1, 20, 60)], 5.08)


def test_after_a_cut_another_face_in_the_same_place_is_another() -> None:
    tracker = Tracker()
    face = [Face(50, 30, SIDE, SIDE, 0.9)]
    first = picture((0, 50, 30), size=LARGE)
    bright = np.full_like(first, 200)
    bright[::7] = 40
    bright[30:62, 50:82] = picture((1, 50, 30), size=LARGE)[30:62, 50:82]
    assert tracker.update(face, first, 0.0) == [0]
    assert tracker.update(face, first, 0.04) == [0]
    assert tracker.update(face, bright, 0.08) == [1]


def test_numbers_hold_when_the_resolution_changes() -> None:
    import cv2

    tracker = Tracker()
    image = picture((0, 40, 30), (1, 100, 30))
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    detector = Bright()
    before = detector(image)
    assert tracker.update(sorted(before, key=lambda f: f.x), image, 0.0) == [0, 1]
    after = [Face(f.x // 2, f.y // 2, f.width // 2, f.height // 2, 0.9) for f in before]
    assert tracker.update(sorted(after, key=lambda f: -f.x), small, 0.04) == [1, 0]


def test_a_face_is_followed_by_its_picture_and_a_lost_one_asks_for_the_detector() -> None:
    tracker = Tracker()
    numbers(tracker, [(0, 40, 20), (1, 150, 40)], 0.0)
    for i in range(1, 5):
        image = picture((0, 40 + 2 * i, 20 + i), (1, 150 - i, 40), size=LARGE)
        followed = tracker.follow(image, i / 25)
        assert followed is not None
        assert [number for number, _ in followed] == [0, 1]
        places = [(face.x, face.y) for _, face in followed]
        assert np.abs(np.array(places) - [(40 + 2 * i, 20 + i), (150 - i, 40)]).max() <= 2
    assert tracker.follow(picture((1, 145, 40), size=LARGE), 0.2) is None


def test_landmarks_move_with_the_face_that_is_followed() -> None:
    tracker = Tracker()
    marks = np.array([[45, 30], [65, 30], [55, 40], [48, 47], [62, 47]], np.float32)
    tracker.update([Face(40, 20, SIDE, SIDE, 0.9, marks)], picture((0, 40, 20), size=LARGE), 0.0)
    followed = tracker.follow(picture((0, 46, 23), size=LARGE), 0.04)
    assert followed is not None
    moved = followed[0][1].landmarks
    assert moved is not None
    assert np.abs(moved - marks - [6, 3]).max() <= 1.5


def test_rows_kept_put_a_tracker_where_it_was() -> None:
    whole, resumed = Tracker(), Tracker()
    for i in range(20):
        places = [(0, 10 + i, 10), (1, 150 - i, 55)]
        found = numbers(whole, places, i / 25)
        boxes = [(x, y, SIDE, SIDE) for _, x, y in places]
        resumed.remember(boxes, found, picture(*places, size=LARGE), i / 25)
    assert numbers(resumed, [(0, 31, 10), (1, 129, 55), (2, 250, 30)], 0.84) == [0, 1, 2]
