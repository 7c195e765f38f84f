"""What `lampion doctor` says: versions, processor, threads, and what is missing."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import textwrap
from pathlib import Path

import lampion

# Environment variables that change how fast NumPy or Lampion runs: the first thing to look at.
_VARIABLES = (
    "LAMPION_NUM_THREADS", "LAMPION_CACHE", "LAMPION_CACHE_DIR", "LAMPION_EAGER_PLANS", "LAMPION_WINOGRAD",
    "LAMPION_DATA", "LAMPION_HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE",
    "MKL_NUM_THREADS",
)  # fmt: skip
# What is not needed to train: the package, what it is for, and the extra that brings it.
_EXTRAS = (
    ("scikit-learn", "the digits", "recipes"), ("matplotlib", "pictures", "recipes"),
    ("Pillow", "pictures as data", "data"), ("tokenizers", "pieces of words", "text"),
    ("tensorboardX", "TensorBoard's logs", "tensorboard"),
    ("onnx", "ONNX files", "onnx"), ("mpi4py", "training on several machines", "distributed"),
)  # fmt: skip


def doctor() -> None:
    """Print versions, processor, threads, and what is missing."""
    lines = [
        ("lampion", f"{lampion.__version__}  ({Path(__file__).parent})"),
        ("python", f"{platform.python_version()} {platform.python_implementation()}, {platform.platform()}"),
        *((name, _version(name)) for name in ("numpy", "ml_dtypes", "safetensors", "tqdm")),
        ("llvmlite", _llvmlite()),
        ("processor", _processor()),
        ("threads", _threads()),
        ("cupy (GPU)", _cupy()),
        *((name, _version(name, f'for {use}: pip install ".[{extra}]"')) for name, use, extra in _EXTRAS),
        ("data", _data()),
        ("environment", ", ".join(f"{v}={os.environ[v]}" for v in _VARIABLES if v in os.environ) or "-"),
    ]  # fmt: skip
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        show(f"{name:{width}}  ", text)
    if "OPENBLAS_CORETYPE" in os.environ:
        print()
        show("", "OPENBLAS_CORETYPE names the processor that NumPy's matrix products are made for: "
                  "unset it, and NumPy finds out itself.")  # fmt: skip


def show(head: str, text: str) -> None:
    """Print a line; on a terminal, broken at its edge, with `text` as a column of its own."""
    if not sys.stdout.isatty():
        print(head + text)
        return
    width = max(shutil.get_terminal_size().columns - 1, len(head) + 20)
    print(textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head)))


def _version(name: str, remedy: str = "") -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed" + (f"; {remedy}" if remedy else "")


def _why_not(module: str) -> str:
    """Import a module, and say in a line why that failed; an empty text where it did not."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken installation may raise anything, and the doctor is there to say so
        first = (str(error).strip().splitlines() or [""])[0]
        return f"{type(error).__name__}: {first}"
    return ""


def _llvmlite() -> str:
    if importlib.util.find_spec("llvmlite") is None:
        return "not installed: compiled functions run through the interpreter, correctly but slowly"
    reason = _why_not("llvmlite.binding")
    if reason:
        return f"{_version('llvmlite')}, cannot be loaded ({reason})"
    from llvmlite.binding import llvm_version_info

    return f"{_version('llvmlite')} (LLVM {'.'.join(map(str, llvm_version_info))}): functions are compiled"


def _processor() -> str:
    name = _cpu_name()
    if importlib.util.find_spec("llvmlite") is None or _why_not("llvmlite.binding"):
        return name
    from lampion.compiler.codegen.target import Target

    target = Target.host()
    fma = "with" if target.fma else "without"
    return f"{name}; LLVM: {target.cpu}, {8 * target.vector_bytes}-bit vectors, {fma} fused multiply-add"


def _cpu_name() -> str:
    """The name that is printed on the processor, where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _threads() -> str:
    try:
        return f"{lampion.get_num_threads()} for compiled functions; {os.cpu_count()} logical processors"
    except ValueError as error:  # LAMPION_NUM_THREADS is not a number
        return str(error)


def _data() -> str:
    from lampion.datasets.fetch import cache_folder

    fetched = f"fetched into {cache_folder()} when they are first used"
    folder = os.environ.get("LAMPION_DATA", "").strip()
    if not folder:
        return f"datasets are {fetched}; LAMPION_DATA=FOLDER would be read first"
    try:
        found = sorted(path.name for path in Path(folder).expanduser().iterdir())
    except OSError as error:
        return f"LAMPION_DATA={folder} cannot be read ({error.strerror}); datasets are {fetched}"
    return f"LAMPION_DATA={folder} is read first ({', '.join(found) or 'it is empty'}); others are {fetched}"


def _cupy() -> str:
    if importlib.util.find_spec("cupy") is None:
        return 'not installed; for an NVIDIA GPU: pip install ".[gpu]"'
    reason = _why_not("cupy")
    if reason:
        return f"cannot be loaded ({reason})"
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # cupy's errors are its own classes, which differ between versions
        return f"{cupy.__version__}, but no GPU answers ({error})"
    return f"{cupy.__version__}, {count} GPU{'s' if count != 1 else ''}"
