"""An initrd with kernel modules and a script added, for guests that need drivers."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from doppel import GUEST, ROOT, Failure, Skip

LOAD = "for module in $(cat /modules/order); do insmod /modules/$module.ko || exit 1; done\n"


def kernel_modules():
    """Every module of the guest kernel's package by its name, with `_` for `-`."""
    found = {path.stem.replace("-", "_"): path for path in GUEST.glob("packages/linux-image-*/lib/modules/**/*.ko")}
    if not found:
        raise Skip("the kernel package is not unpacked; run tools/build-guest")
    return found


def dependencies(module):
    """The names in a module's `depends=`, as modinfo shows it."""
    for entry in module.read_bytes().split(b"\0"):
        if entry.startswith(b"depends="):
            return [name.replace("-", "_") for name in entry[8:].decode().split(",") if name]
    return []


def load_order(names):
    """The modules with all that they need, in an order in which insmod takes them."""
    modules = kernel_modules()
    order = []

    def visit(name):
        if name in order or name not in modules:  # what is no module is built in
            return
        for needed in dependencies(modules[name]):
            visit(needed)
        order.append(name)

    for name in names:
        visit(name)
    return [(name, modules[name]) for name in order]


def cpio(tree):
    """The directory as an archive that the kernel unpacks over what came before."""
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    return subprocess.run(("cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"), check=True, capture_output=True,
                          input="\0".join(names).encode() + b"\0", cwd=tree).stdout


def program(target, sources, *words):
    """Compiles sources of tests/system/programs to a static program of the guest; returns its path."""
    if shutil.which("clang-19") is None:
        raise Skip("clang-19 is not installed; run tools/install-deps build")
    paths = [ROOT / "tests" / "system" / "programs" / source for source in sources]
    built = subprocess.run(("clang-19", "-O1", "-static", *words, "-o", target, *paths), check=False)
    if built.returncode != 0:
        raise Failure(f"clang-19 does not build {', '.join(sources)}")
    return target


def initrd(folder, modules, script, unloaded=(), base="initrd.img", files=()):
    """Writes `base` with modules below /modules and `script` as /scripts/test into a folder; returns its path.

    The script runs with doppel.exec=test, after the modules are loaded but for those `unloaded`. `files` are pairs of
    a path in the guest and an executable of the host.
    """
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work)
        (tree / "modules").mkdir()
        (tree / "scripts").mkdir()
        order = load_order((*modules, *unloaded))
        for name, path in order:
            (tree / "modules" / f"{name}.ko").write_bytes(path.read_bytes())
        (tree / "modules" / "order").write_text("".join(f"{name}\n" for name, _ in order if name not in unloaded))
        (tree / "scripts" / "test").write_text(LOAD + script)
        for target, source in files:
            (tree / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tree / target)
        archive = cpio(tree)
    data = (GUEST / base).read_bytes()
    result = Path(folder) / "initrd.img"
    result.write_bytes(data + b"\0" * (-len(data) % 512) + archive)
    return result
