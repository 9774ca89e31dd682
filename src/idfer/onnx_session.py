"""Sessions of ONNX Runtime, opened with a clear error where a file is not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idfer.device import check_device
from idfer.errors import IdferError, UsageError

_CUDA = "CUDAExecutionProvider"


def session_of(file: Path, device: str = "cpu", content: bytes | None = None, threads: int = 0) -> Any:
    """Open an ONNX file.

    Args:
        file: the .onnx file.
        device: cuda or cuda:N runs it on that GPU; auto, cpu and mps on the CPU.
        content: what is opened in the file's place, which then only gives its name to errors.
        threads: that share a call's work; while they wait for some they leave the cores to others. 1 is the
            caller's own; 0 is one a core, which do not wait.

    Raises:
        UsageError: no device of that name, or an ONNX Runtime without CUDA.
        IdferError: the file is broken, or the GPU cannot be used.
    """
    import onnxruntime as ort

    check_device(device)
    cuda = device.startswith("cuda")
    providers: list[Any] = ["CPUExecutionProvider"]
    if cuda:
        if _CUDA not in ort.get_available_providers():
            raise UsageError(
                f"--device {device}: this ONNX Runtime has no CUDA; `pip uninstall onnxruntime`, then "
                "`pip install onnxruntime-gpu`, which takes its place."
            )
        providers.insert(0, (_CUDA, {"device_id": int(device.partition(":")[2] or 0)}))
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of inputs that have a default, as `strength` has
    options.intra_op_num_threads = threads
    if threads:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(
            str(file) if content is None else content, options, providers=providers
        )
    except Exception as error:  # ONNX Runtime raises many kinds
        reason = " ".join(str(error).split())[:300]
        raise IdferError(f"{file}: cannot be opened ({reason}).") from error
    if cuda and _CUDA not in session.get_providers():  # ONNX Runtime goes on without it and raises nothing
        raise IdferError(
            f"{file}: ONNX Runtime cannot start CUDA on --device {device}; check the driver, the CUDA and "
            "cuDNN that your onnxruntime-gpu needs and how many GPUs there are, or use --device cpu."
        )
    return session
