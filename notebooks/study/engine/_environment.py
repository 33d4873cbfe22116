"""What a row was made with."""

import importlib.metadata
import platform
from pathlib import Path

import keras

from engine._encoder import encoder_name

_PACKAGES = ("keras", "keras-hub", "numpy", "keras-robust")
_BACKEND_PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def environment(preset: str | None = None) -> dict[str, str]:
    """Returns the columns that say what a row was made with, the encoder if any."""
    backend = keras.backend.backend()
    packages = (*_PACKAGES, _BACKEND_PACKAGES[backend])
    versions = {
        f"{name.replace('-', '_')}_version": importlib.metadata.version(name)
        for name in dict.fromkeys(packages)
        if name != _BACKEND_PACKAGES[backend]
    }
    encoder = {} if preset is None else {"encoder": encoder_name(preset)}
    return {
        **encoder,
        "backend": backend,
        "backend_version": importlib.metadata.version(_BACKEND_PACKAGES[backend]),
        **versions,
        "python_version": platform.python_version(),
        "hardware": _hardware(),
    }


def _hardware() -> str:
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return device.device_kind
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return f"{models[0] if models else platform.processor()}, {len(models)} cores"
