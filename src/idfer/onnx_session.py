"""Sessions of ONNX Runtime, opened with a clear error where a file is not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idfer.errors import IdferError, UsageError


def session_of(file: Path, device: str = "cpu", content: bytes | None = None, threads: int = 0) -> Any:
    """Open an ONNX file.

    Args:
        file: the .onnx file.
        device: cuda or cuda:N runs it on a GPU where ONNX Runtime can; anything else on the CPU.
        content: what is opened in the file's place, which then only gives its name to errors.
        threads: that share a call's work; while they wait for some they leave the cores to others. 1 is the
            caller's own; 0 is one a core, which do not wait.

    Raises:
        UsageError: ONNX Runtime cannot use the device.
        IdferError: the file is broken.
    """
    import onnxruntime as ort

    providers = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            raise UsageError(
                f"--device {device}: this ONNX Runtime has no CUDA; `pip uninstall onnxruntime`, then "
                "`pip install onnxruntime-gpu`, which takes its place."
            )
        providers.insert(0, "CUDAExecutionProvider")
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of inputs that have a default, as `strength` has
    options.intra_op_num_threads = threads
    if threads:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(file) if content is None else content, options, providers=providers)
    except Exception as error:  # ONNX Runtime raises many kinds
        reason = " ".join(str(error).split())[:300]
        raise IdferError(f"{file}: cannot be opened ({reason}).") from error
