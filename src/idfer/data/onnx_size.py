"""An ONNX network of one fixed image size, made to take any number of images of any size.

Networks of convolutions compute the same at any size, but a file may state one, and ONNX Runtime then refuses
others. What states it is taken out of the file's bytes, in the wire format of Protocol Buffers
(https://protobuf.dev/programming-guides/encoding/), by the field numbers of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

_GRAPH, _INPUT, _OUTPUT, _INNER = 7, 11, 12, 13  # ModelProto.graph; GraphProto.input, output, value_info
_SHAPE = (2, 1, 2)  # ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape
_DIM, _NAME = 1, 2  # TensorShapeProto.dim, Dimension.dim_param
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def any_size(model: bytes) -> bytes:
    """An ONNX file's bytes with every input (N, C, H, W) free in N, H and W; the graph must allow it.

    Raises:
        ValueError: these bytes are no ONNX network.
    """
    if not any(number == _GRAPH for number, *_ in _fields(model)):
        raise ValueError("there is no graph")
    model = _changed(model, (_GRAPH, _INNER), lambda _: None)
    model = _changed(model, (_GRAPH, _OUTPUT, *_SHAPE), lambda _: None)
    # named, not dropped: of an input without a shape ONNX Runtime cannot lay out its memory as well
    return _changed(model, (_GRAPH, _INPUT, *_SHAPE), _free)


def _free(shape: bytes) -> bytes:
    """A TensorShapeProto whose dimensions have names in place of sizes, but for the channels."""
    dims = [shape[content:end] for number, _, content, end in _fields(shape) if number == _DIM]
    named = [dim if i == 1 else _field(_NAME, f"size{i}".encode()) for i, dim in enumerate(dims)]
    return b"".join(_field(_DIM, dim) for dim in named)


def _changed(message: bytes, path: Sequence[int], change: Callable[[bytes], bytes | None]) -> bytes:
    """A message whose parts at a path of field numbers are what `change` makes of them; None drops one."""
    wanted, *deeper = path
    parts = []
    for number, start, content, end in _fields(message):
        if number != wanted:
            parts.append(message[start:end])
            continue
        part = message[content:end]
        new = _changed(part, deeper, change) if deeper else change(part)
        if new is not None:
            parts.append(_field(number, new))
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each field its number, and where it starts, where its content does, and where both end."""
    end = 0
    while end < len(message):
        start = end
        tag, content = _varint(message, start)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, end = _varint(message, content)
        elif kind == _BYTES:
            size, content = _varint(message, content)
            end = content + size
        elif kind in (_FIXED64, _FIXED32):
            end = content + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"byte {start} begins no field")
        if end > len(message):
            raise ValueError("the end is missing")
        yield number, start, content, end


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """A whole number in groups of 7 bits, the lowest first, and where it ends."""
    value = 0
    for place, byte in enumerate(message[start : start + 10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, start + place + 1
    raise ValueError(f"byte {start} begins no number")


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    tag, size, digits = number << 3 | _BYTES, len(content), []
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return bytes([tag, *digits, size]) + content
