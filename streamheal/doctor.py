"""What the machine has for this program, and what is missing."""

import os
import platform
from dataclasses import dataclass
from importlib import metadata

from streamheal import weights
from streamheal.errors import StreamhealError

DECODERS = ("h264", "hevc", "mjpeg", "mpeg4", "vp9", "av1")
LIBRARIES = ("torch", "torchvision", "av", "opencv-python", "numpy", "ultralytics", "kafka-python")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's answer."""

    name: str
    ok: bool
    detail: str
    optional: bool = False  # missing, the program still runs


def examine() -> list[Check]:
    """Everything, in the order in which a person would ask."""
    return [_cpu(), _memory(), _gpu(), *_libraries(), _codecs(), _stand_in(), *_weights()]


def _cpu() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Check("cpu", True, f"{usable} cores, {platform.machine()}, Python {platform.python_version()}")


def _memory() -> Check:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return Check("memory", False, "can't be told on this system", optional=True)
    return Check("memory", total >= 2, f"{total:.0f} GiB (2 GiB are the least)")


def _gpu() -> Check:
    try:
        import torch
    except ImportError:
        return Check("gpu", False, "torch is not installed", optional=True)
    if not torch.cuda.is_available():
        return Check("gpu", False, "none that torch can use; everything runs on the CPU, more slowly", optional=True)
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Check("gpu", True, f"{', '.join(names)} (CUDA {torch.version.cuda})")


def _libraries() -> list[Check]:
    checks = []
    for name in LIBRARIES:
        try:
            checks.append(Check(name, True, metadata.version(name)))
        except metadata.PackageNotFoundError:
            checks.append(Check(name, False, f"not installed; pip install {name}"))
    return checks


def _codecs() -> Check:
    import av

    missing = [name for name in DECODERS if name not in av.codecs_available]
    here = [name for name in DECODERS if name not in missing]
    lacking = f"; missing: {', '.join(missing)}" if missing else ""
    return Check("decoders", "h264" in here and "hevc" in here, ", ".join(here) + lacking)


def _stand_in() -> Check:
    from streamheal.faces.detectors.centerface import CENTERFACE_SHA256, centerface_path

    try:
        sha256 = weights.check(centerface_path(), CENTERFACE_SHA256)
    except StreamhealError as error:
        return Check("centerface", False, str(error))
    return Check("centerface", True, f"detector (the default), MIT, SHA-256 {sha256}")


def _weights() -> list[Check]:
    try:
        known = weights.manifest()
    except StreamhealError as error:
        return [Check("weights", False, str(error))]
    checks = []
    for name, file in known.items():
        try:
            weights.find(name)
            checks.append(Check(name, True, f"{file.kind}, {file.licence}, SHA-256 {file.sha256}"))
        except StreamhealError as error:
            checks.append(Check(name, False, str(error)))
    return checks
