"""Weights of others that training and judging need and that don't ship: `weights/` beside the data folder."""

from pathlib import Path

from streamheal.errors import ConfigError


def weights_beside(data_dir: Path, file: str, needed_by: str) -> Path:
    """Where `file` is. Raises ConfigError, with the place where it belongs, if it isn't there."""
    path = data_dir.resolve().parent / "weights" / file
    if not path.is_file():
        raise ConfigError(f"{needed_by} needs weights that are not at {path}; put them there, or do without it")
    return path
