"""The initramfs of the host inside an emulator: busybox, KVM's modules, our programs, guests and cases."""

import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GUEST = ROOT / "build" / "guest"
MODULES = ("virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko", "arch/x86/kvm/kvm-intel.ko")


class Failure(Exception):
    """Something is not as it should be."""


def load_bare():
    """tests/bare/run as a module."""
    path = ROOT / "tests" / "bare" / "run"
    loader = importlib.machinery.SourceFileLoader("bare_run", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bare_run", loader))
    sys.modules["bare_run"] = module
    loader.exec_module(module)
    return module


def only(paths, what):
    """The one path of a glob."""
    found = sorted(paths)
    if not found:
        raise Failure(f"{what} is missing; run tools/build-guest")
    return found[-1]


def copy(source, tree, target):
    """Copies a file into the tree, following links."""
    goal = tree / target
    goal.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, goal)
    goal.chmod(0o755)


def archive(tree, target):
    """The tree as an initramfs."""
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    done = subprocess.run(("cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"), cwd=tree, check=True,
                          input="\0".join(names).encode() + b"\0", stdout=subprocess.PIPE)
    target.write_bytes(done.stdout)


def copy_program(program, tree):
    """A dynamically linked program without its symbols, and what it is linked with."""
    if not program.exists():
        raise Failure(f"{program} is missing; run make build")
    copy(program, tree, f"bin/{program.name}")
    subprocess.run(("strip", str(tree / "bin" / program.name)), check=True)
    listed = subprocess.run(("ldd", str(program)), check=True, capture_output=True, text=True).stdout
    for path in re.findall(r"(/\S+)", listed):
        target = path[1:] if "ld-linux" in path else f"lib/{Path(path).name}"
        copy(path, tree, target)


def make_script_image(target):
    """The default guest with our scripts: archives may follow each other."""
    with tempfile.TemporaryDirectory() as name:
        tree, scripts = Path(name) / "tree", Path(name) / "scripts.cpio"
        for script in (HERE / "scripts").iterdir():
            copy(script, tree, f"scripts/{script.name}")
        archive(tree, scripts)
        base = (GUEST / "initrd.img").read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base + bytes(-len(base) % 512) + scripts.read_bytes())


def add_bare_images(options, tree, names):
    """Assembles programs of the corpus."""
    images = options.build / f"images-{options.host.name}"
    images.mkdir(exist_ok=True)
    bare = load_bare()
    for test in bare.find_tests(options.programs):
        if test.name not in names:
            continue
        image, error = bare.assemble(test, images)
        if error:
            raise Failure(f"{test.name} does not assemble: {error}")
        copy(image, tree, f"bare/{image.name}")
        (tree / "bare" / image.name).with_suffix(".cpus").write_text(test.cpus(), encoding="ascii")


def make_initrd(options, programs):
    """Everything the host inside the emulator needs, with these programs of the corpus."""
    build, packages = options.build, GUEST / "packages"
    tree = build / f"tree-{options.host.name}"
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("proc", "sys", "dev", "tmp", "root", "bare"):
        (tree / folder).mkdir(parents=True)
    copy(only(packages.glob("busybox-static*/bin/busybox"), "busybox"), tree, "bin/busybox")
    listed = subprocess.run((str(tree / "bin/busybox"), "--list"), check=True, capture_output=True, text=True)
    for applet in listed.stdout.split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    for module in MODULES:
        copy(only(packages.glob(f"linux-image-*/lib/modules/*/kernel/{module}"), module), tree,
             f"modules/{Path(module).name}")
    copy_program(options.doppel, tree)
    if "unit" in options.cases:
        copy_program(options.doppel.parent / "bin" / "kvm_test", tree)
        copy_program(options.doppel.parent / "bin" / "machine_test", tree)
    copy(HERE / "init", tree, "init")
    for case in options.cases:
        copy(HERE / "cases" / case, tree, f"cases/{case}")
    for name in ("vmlinuz", "initrd.img"):
        copy(GUEST / name, tree, f"guest/{name}")
    make_script_image(tree / "guest" / "scripts.img")
    add_bare_images(options, tree, programs)
    archive(tree, build / f"initrd-{options.host.name}.img")
