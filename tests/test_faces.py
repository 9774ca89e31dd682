"""Face detection on a photograph that ships with scikit-image, and how YuNet's file is got."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from idfer.data import faces
from idfer.data.detection import Detector, Face, ordered
from idfer.data.faces import detect, load_detector
from idfer.data.haar import Haar
from idfer.data.yunet import YUNET_SHA256, YUNET_URLS, YuNet
from idfer.errors import IdferError, UsageError

from conftest import YUNET, needs_yunet

HEAD = (178, 63, 90, 113)  # the astronaut's face by hand-checked YuNet box


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()


@pytest.fixture(params=["haar", pytest.param("yunet", marks=needs_yunet)])
def detector(request: pytest.FixtureRequest) -> Detector:
    return Haar() if request.param == "haar" else YuNet(YUNET)


@pytest.fixture(autouse=True)
def _forget_downloads() -> Iterator[None]:
    yield
    faces._yunet_file.cache_clear()
    faces._say_once.cache_clear()


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


# -- finding faces ------------------------------------------------------------------------------------------


def test_one_face(detector: Detector, astronaut: np.ndarray) -> None:
    (face,) = detector(astronaut)
    assert overlap(face.box, HEAD) > 0.7
    assert 0.5 < face.score <= 1
    assert all(isinstance(v, int) for v in face.box)


@needs_yunet
def test_yunet_landmarks_lie_on_the_face(astronaut: np.ndarray) -> None:
    (face,) = YuNet(YUNET)(np.ascontiguousarray(astronaut[:, ::-1]))  # mirrored, to tell left from right
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    assert face.x < right_eye[0]
    assert left_eye[0] < face.x + face.width


@pytest.mark.parametrize("scale", [0.5, 5.0])
def test_boxes_are_in_pixels_of_the_image_given(
    detector: Detector, astronaut: np.ndarray, scale: float
) -> None:
    """A face of 56 and of 565 pixels: large images are searched shrunk, boxes scaled back."""
    image = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (face,) = detector(image)
    assert overlap(face.box, tuple(int(v * scale) for v in HEAD)) > 0.65


@needs_yunet
def test_yunet_finds_a_face_that_fills_a_large_image(astronaut: np.ndarray) -> None:
    """At full size its receptive field is too small and it finds nothing, or pieces."""
    (face,) = YuNet(YUNET)(cv2.resize(astronaut[60:190, 160:290], (2400, 2400)))
    assert min(face.width, face.height) > 1200


@needs_yunet
def test_yunet_finds_small_faces_in_a_large_image(astronaut: np.ndarray) -> None:
    small = cv2.resize(astronaut, (80, 80), interpolation=cv2.INTER_AREA)  # the face is 14 x 18 pixels
    found = YuNet(YUNET)(np.tile(small, (12, 16, 1)))
    assert len(found) == 12 * 16


@needs_yunet
def test_yunet_looks_again_only_where_a_small_face_may_be(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face of 28 pixels is seen at 1280 pixels only, and most of the image never is."""
    searched: list[tuple[int, ...]] = []
    detector = YuNet(YUNET)
    network = detector._network

    def noting(images: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        searched.append(images.shape[:3])
        return network(images, threshold)

    monkeypatch.setattr(detector, "_network", noting)
    image = cv2.resize(skimage.data.chelsea(), (1350, 1350), interpolation=cv2.INTER_CUBIC)
    assert detector(image) == []
    assert searched[0] == (1, 640, 640)
    assert len(searched) < 5
    small = cv2.GaussianBlur(cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA), (0, 0), 1.2)
    image[700:828, 1100:1228] = small
    searched.clear()
    (face,) = detector(image)
    assert overlap(face.box, (1100 + 44, 700 + 16, 22, 28)) > 0.5
    assert searched[0] == (1, 640, 640)
    assert len(searched) <= 4, "one call for the cuts, and one for the windows of a size"
    assert 0 < sum(count * height * width for count, height, width in searched[1:]) < 1280**2 / 4
    small_only = cv2.resize(image, (640, 640), interpolation=cv2.INTER_AREA)
    assert detector(small_only) == [], "or the second look would not be needed"


@needs_yunet
def test_yunet_is_given_its_own_colour_order(astronaut: np.ndarray) -> None:
    """Swapped channels still show a face, only less surely: the score is compared with OpenCV's own."""
    net = cv2.FaceDetectorYN.create(str(YUNET), "", (512, 512), 0.6)
    _, rows = net.detect(cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR))
    (face,) = YuNet(YUNET)(astronaut)
    assert face.score == pytest.approx(float(rows[0, 14]), abs=1e-6)


def test_several_faces_each_once_largest_first(detector: Detector, astronaut: np.ndarray) -> None:
    canvas = np.full((700, 1200, 3), 128, np.uint8)
    canvas[100:356, 0:256] = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    canvas[188:700, 500:1012] = astronaut
    found = detector(canvas)
    assert [round(f.x, -2) for f in found] == [700, 100]
    assert found[0].width > 1.5 * found[1].width
    assert [f.box for f in detector(canvas)] == [f.box for f in found]


@pytest.mark.parametrize("name", ["coffee", "rocket", "brick", "text"])
def test_no_face(detector: Detector, name: str) -> None:
    image = getattr(skimage.data, name)()
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    assert detector(image) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (9, 9), (20, 640), (30, 30)])
def test_odd_shapes_neither_crash_nor_invent_faces(detector: Detector, shape: tuple[int, int]) -> None:
    """OpenCV's own decoder finds faces in memory it never wrote when a side is short, and not every time."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for _ in range(10):
        assert np.full(rng.integers(10**4, 10**6), 1e9, np.float32).size  # leaves junk in freed memory
        assert detector(noise) == []


@needs_yunet
def test_both_detectors_mark_the_same_square(astronaut: np.ndarray) -> None:
    """A model must see the same crop whichever detector a machine has."""
    (haar,), (yunet,) = Haar()(astronaut), YuNet(YUNET)(astronaut)
    side = max(yunet.width, yunet.height)
    assert abs(max(haar.width, haar.height) - side) < 0.12 * side
    assert abs(haar.x + haar.width / 2 - yunet.x - yunet.width / 2) < 0.05 * side
    assert abs(haar.y + haar.height / 2 - yunet.y - yunet.height / 2) < 0.05 * side


def test_no_detection_takes_the_whole_image() -> None:
    (face,) = detect(np.zeros((30, 50, 3), np.uint8), "none")
    assert face.box == (0, 0, 50, 30)
    assert np.isnan(face.score)


def test_overlapping_boxes_keep_the_surest() -> None:
    outer, inner = Face(0, 0, 100, 100, 0.7), Face(10, 10, 50, 50, 0.9)
    beside, tiny = Face(95, 0, 100, 100, 0.6), Face(300, 0, 9, 9, 0.9)
    assert ordered([outer, beside, tiny, inner]) == [beside, inner]


def test_fingerprints_tell_detectors_apart(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the same detector in another process, another where the faces may be others."""
    same = type(detector)(*([YUNET] if detector.name == "yunet" else []))
    assert detector.name in detector.fingerprint
    assert detector.fingerprint == same.fingerprint
    before = detector.fingerprint
    monkeypatch.setattr(cv2, "__version__", "99")
    assert detector.fingerprint != before


# -- which detector -----------------------------------------------------------------------------------------


def test_unknown_detector_is_named() -> None:
    with pytest.raises(UsageError, match=r"'har'.*Did you mean 'haar'"):
        load_detector("har")


@needs_yunet
def test_yunet_by_path_and_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_detector(str(YUNET)).name == "yunet"
    monkeypatch.setenv("IDFER_YUNET", str(YUNET))
    assert load_detector("auto").name == "yunet"
    assert load_detector("yunet").name == "yunet"


def test_a_wrong_yunet_path_is_an_error_even_for_auto(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IDFER_YUNET", str(tmp_path / "gone.onnx"))
    with pytest.raises(IdferError, match=r"gone\.onnx: no such YuNet file"):
        load_detector("auto")
    (tmp_path / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(IdferError, match=r"pointer\.onnx: is not a YuNet ONNX file"):
        load_detector(str(tmp_path / "pointer.onnx"))


def test_offline_auto_falls_back_to_haar_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_detector("auto").name == "haar"
    assert load_detector("auto").name == "haar"
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("Haar") == 1
    assert "IDFER_OFFLINE" in told.err
    with pytest.raises(IdferError, match="downloads are off"):
        load_detector("yunet")


# -- the download -------------------------------------------------------------------------------------------


class Server:
    """A local HTTP server with one answer; counts its requests."""

    def __init__(self) -> None:
        self.status, self.body, self.requests = 200, b"", 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/yunet.onnx"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(faces, "YUNET_URLS", (served.url,))
    monkeypatch.setenv("IDFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IDFER_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield served
    served.http.shutdown()
    served.http.server_close()
    thread.join()


@needs_yunet
def test_download_once_then_from_the_cache(
    server: Server, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    server.body = YUNET.read_bytes()
    assert hashlib.sha256(server.body).hexdigest() == YUNET_SHA256
    assert load_detector("auto").name == "yunet"
    faces._yunet_file.cache_clear()  # as a new process
    monkeypatch.setenv("IDFER_OFFLINE", "1")
    assert len(load_detector("auto")(astronaut)) == 1
    assert server.requests == 1


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [(404, b"", "Not Found"), (200, b"<html>log in to the hotel's network</html>", "SHA-256")],
)
def test_a_bad_download_is_not_kept(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, body: bytes, reason: str
) -> None:
    server.status, server.body = status, body
    assert load_detector("auto").name == "haar"
    assert load_detector("auto").name == "haar"
    assert server.requests == 1  # one failure is enough for a process
    assert reason in capsys.readouterr().err
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    with pytest.raises(IdferError, match=reason):
        load_detector("yunet")


@needs_yunet
def test_the_second_address_serves_when_the_first_fails(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = YUNET.read_bytes()
    monkeypatch.setattr(faces, "YUNET_URLS", ("http://127.0.0.1:9/closed", server.url))
    assert load_detector("yunet").name == "yunet"


def test_a_server_that_never_answers_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, then says nothing
        monkeypatch.setattr(faces, "_TIMEOUT", 0.2)
        monkeypatch.setattr(faces, "YUNET_URLS", (f"http://127.0.0.1:{silent.getsockname()[1]}/yunet.onnx",))
        assert load_detector("auto").name == "haar"


def test_urls_do_not_serve_git_lfs_pointers() -> None:
    assert YUNET_URLS
    assert not any("raw.githubusercontent" in url or "/blob/" in url for url in YUNET_URLS)
