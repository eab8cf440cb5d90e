"""MATLAB files: v5 to v7 (read with scipy) and v7.3, which is HDF5 (read with h5py)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import DatasetError, MissingCapabilityError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MATLAB_HEADER = 512
"""Bytes that MATLAB puts before the HDF5 content of a v7.3 file."""
MATLAB_5 = b"MATLAB 5.0 MAT-file"
MATLAB_CLASSES = {"float32": "single", "float64": "double"}
"""What MATLAB calls number types that numpy calls otherwise."""


@dataclass(frozen=True)
class Variable:
    """An array of a file: its shape as MATLAB shows it, and its class, such as "uint8", "single" or "struct"."""

    name: str
    shape: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        return f"{self.name} ({'×'.join(map(str, self.shape))} {self.kind})"


def list_variables(path: Path) -> list[Variable]:
    """Say what a MATLAB file holds, without reading it.

    Raises:
        DatasetError: there is no such file, it is no MATLAB file, or it is damaged.
        MissingCapabilityError: the package that reads it is not installed.
    """
    with _damage_named(path):
        return _list_hdf5(path) if _is_hdf5(path) else _list_matlab_5(path)


def read_array(path: Path, name: str) -> NDArray[Any]:
    """Read one numeric array, with its axes in MATLAB's order; raises as `list_variables` does."""
    with _damage_named(path):
        if _is_hdf5(path):
            with _h5py().File(path, "r") as file:
                return np.asarray(file[name][()]).T
        return np.asarray(_scipy_io().loadmat(path, variable_names=[name], appendmat=False)[name])


def read_struct_field(path: Path, name: str, field: str) -> list[NDArray[Any]]:
    """Read one field, a numeric array, of every element of a struct array; raises as `list_variables` does."""
    with _damage_named(path):
        if _is_hdf5(path):
            with _h5py().File(path, "r") as file:
                references = np.asarray(file[name][field][()]).ravel()
                return [np.asarray(file[reference][()]).T for reference in references]
        elements = _scipy_io().loadmat(path, variable_names=[name], appendmat=False)[name].ravel()
        return [np.asarray(element[field]) for element in elements]


def write_mat(path: Path, variables: dict[str, Any]) -> None:
    """Write a new v5 file, uncompressed, as the benchmarks' own tools do; raises OSError where it cannot be."""
    with path.open("xb") as file:
        _scipy_io().savemat(file, variables)


def require_writer() -> None:
    """Raise MissingCapabilityError where `write_mat` could not work."""
    _scipy_io()


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (DatasetError, MissingCapabilityError, MemoryError):
        raise
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except PermissionError as error:
        raise DatasetError(f"{path}: it cannot be read: {error.strerror}") from None
    except Exception as error:
        # Both readers fail on damaged files in more ways than they document.
        words = str(error) or type(error).__name__
        raise DatasetError(f"{path}: the MATLAB file is damaged or cut short ({words}); get a fresh copy") from error


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(MATLAB_HEADER + len(HDF5_SIGNATURE))
    if head.startswith(HDF5_SIGNATURE) or head[MATLAB_HEADER:] == HDF5_SIGNATURE:
        return True
    if head.startswith(MATLAB_5):
        return False
    raise DatasetError(f"{path}: this is no MATLAB file (neither v5 to v7 nor v7.3)")


def _list_matlab_5(path: Path) -> list[Variable]:
    return [Variable(*entry) for entry in _scipy_io().whosmat(path, appendmat=False)]


def _list_hdf5(path: Path) -> list[Variable]:
    h5py = _h5py()
    found = []
    with h5py.File(path, "r") as file:
        for name, item in file.items():
            if name.startswith("#"):
                continue  # where MATLAB keeps what references point to
            if isinstance(item, h5py.Dataset):
                kind = MATLAB_CLASSES.get(item.dtype.name, item.dtype.name)
                found.append(Variable(name, item.shape[::-1], kind))
            else:
                found.append(Variable(name, (), "struct"))
    return found


def _scipy_io() -> Any:
    try:
        import scipy.io
    except ImportError as error:
        raise _missing("scipy", error) from None
    return scipy.io


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise _missing("h5py", error) from None
    return h5py


def _missing(package: str, error: ImportError) -> MissingCapabilityError:
    return MissingCapabilityError(
        f"MATLAB files of this version need {package} ({error}): pip install 'nsp-pipeline[cpu,train]'"
    )
