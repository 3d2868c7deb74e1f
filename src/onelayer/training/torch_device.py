"""The device that PyTorch trains on: whether it is there, its name, its free memory."""

import re
from typing import Any

from onelayer.errors import InputError
from onelayer.training.world import world

PRECISIONS = ("float32", "tf32", "bfloat16")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def check_device(device: str) -> None:
    """Raise InputError unless `device` has the form of a name of a device."""
    if not _DEVICE.fullmatch(device):
        raise InputError(f"device is {device!r}; expected auto, cpu, cuda, cuda:N or mps")


def find_device(device: str) -> str:
    """Return the device of that name if it is there; auto is a GPU if there is one, else cpu.

    Without a number, each of several processes on a machine has its own GPU.

    Raises
    ------
    InputError
        If PyTorch or the device is not there.
    """
    torch = _import_torch()
    if device.startswith("cuda"):
        return _find_cuda(torch, device)
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError("device is mps; this PyTorch sees no GPU of Apple's: device cpu trains")
    if device == "auto":
        if torch.cuda.is_available():
            return _find_cuda(torch, "cuda")
        return "mps" if torch.backends.mps.is_available() else "cpu"
    return device


def check_numbers(device: str, precision: str, dtype: str) -> None:
    """Raise InputError if the device or the precision does not go with models in `dtype`."""
    if device == "mps" and dtype == "float64":
        raise InputError("device is mps and dtype float64; GPUs of Apple's have float32 alone")
    if precision == "tf32" and not device.startswith("cuda"):
        raise InputError(f"precision is tf32 and device {device}; devices of CUDA alone have it")
    if precision != "float32" and dtype == "float64":
        raise InputError(f"precision is {precision} and dtype float64; expected dtype float32")


def free_bytes(device: str) -> int | None:
    """Return the free memory of a device in bytes; None if it is the memory of the processor."""
    torch = _import_torch()
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "mps":
        most = torch.mps.recommended_max_memory()
        return int(most - torch.mps.driver_allocated_memory())
    return None


def describe_device(device: str) -> str:
    """Return the device with its model, such as cuda:0 (NVIDIA H100)."""
    if device.startswith("cuda"):
        return f"{device} ({_import_torch().cuda.get_device_name(device)})"
    return device


def _import_torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise InputError(
            "engine is torch, and PyTorch is not installed: pip install 'onelayer[torch]'"
        ) from None
    except (ImportError, OSError) as error:
        raise InputError(f"engine is torch, and PyTorch cannot be imported: {error}") from None
    return torch


def _find_cuda(torch: Any, device: str) -> str:
    """Return the name, with its number, of a CUDA device that is there."""
    if not torch.backends.cuda.is_built():
        raise InputError(
            f"device is {device}; this PyTorch ({torch.__version__}) was built without CUDA: "
            "install one with it (pytorch.org), or choose device cpu"
        )
    if not torch.cuda.is_available():
        raise InputError(
            f"device is {device}; this PyTorch sees no CUDA device: is there an NVIDIA GPU with "
            "its driver, and does CUDA_VISIBLE_DEVICES show it? device cpu trains without one"
        )
    number, count = int(device.partition(":")[2] or world().local_rank), torch.cuda.device_count()
    if number >= count:
        raise InputError(
            f"device is cuda:{number}; there are {count}, from cuda:0 to cuda:{count - 1}"
        )
    return f"cuda:{number}"
