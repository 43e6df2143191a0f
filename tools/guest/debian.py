"""Fetches and unpacks Debian packages without installing them."""

import os
import shutil
import subprocess


class BuildError(Exception):
    """Something outside this script went wrong; the message is for the person."""


def run(*command, **options):
    """Runs a command and returns its output; BuildError with its last line when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise BuildError(f"{command[0]} {command[1] if len(command) > 1 else ''}: {last}")
    return done.stdout


def dependencies(package):
    """The first choice of each direct dependency of a package."""
    command = ("apt-cache", "depends", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
               "--no-replaces", "--no-enhances", package)
    try:
        out = run(*command)
    except BuildError:
        refresh_lists()
        out = run(*command)
    names = []
    after_choice = False
    for line in out.splitlines()[1:]:
        kind, _, name = line.strip().partition(": ")
        if kind.lstrip("|") in ("Depends", "PreDepends") and not after_choice and not name.startswith("<"):
            names.append(name)
        if kind.lstrip("|") in ("Depends", "PreDepends"):
            after_choice = kind.startswith("|")
    return names


def refresh_lists():
    """Fetches apt's package lists, as root where that is needed."""
    command = ("apt-get", "-q", "-o", "Acquire::Retries=3", "update")
    if os.geteuid() == 0:
        run(*command)
        return
    remedy = "apt's package lists are missing or old; as root run: apt-get update"
    if shutil.which("sudo") is None:
        raise BuildError(remedy)
    try:
        run("sudo", *command)
    except BuildError as error:
        raise BuildError(f"{remedy} ({error})") from error


def candidate(package):
    """The version that apt would install, or None."""
    for line in run("apt-cache", "policy", package).splitlines():
        if line.strip().startswith("Candidate:"):
            version = line.split(": ", 1)[1]
            return None if version == "(none)" else version
    return None


class Packages:
    """Unpacked packages in one directory, a tree for each name and version.

    What is there is used again, without asking apt, unless `update` says to look for newer versions.
    """

    def __init__(self, folder, update):
        self.folder = folder
        self.update = update

    def present(self, pattern):
        """The newest unpacked tree of a package, or None; always None when updating."""
        trees = sorted(self.folder.glob(f"{pattern}_*"), key=lambda tree: tree.stat().st_mtime)
        return trees[-1] if trees and not self.update else None

    def fetch(self, package):
        """Downloads and unpacks a package, unless it is there; returns its tree."""
        tree = self.present(package)
        if tree is not None:
            return tree
        try:
            return self._fetch_candidate(package)
        except BuildError:
            refresh_lists()  # lists that are missing, or so old that the archive lost the version they name
            return self._fetch_candidate(package)

    def _fetch_candidate(self, package):
        version = candidate(package)
        if version is None:
            raise BuildError(f"apt knows no package {package}; check the package sources of this system")
        tree = self.folder / f"{package}_{version.replace(':', '%3a')}"
        if tree.is_dir():
            return tree
        work = self.folder / f"{package}.partial"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        print(f"build-guest: fetching {package} {version}", flush=True)
        options = ("-q", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root")
        run("apt-get", *options, "download", package, cwd=work)
        run("dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(work / "tree"))
        (work / "tree").rename(tree)
        shutil.rmtree(work)
        return tree


def only(tree, pattern):
    """The one file of a package that matches; a package that changed its layout is an error worth a name."""
    found = sorted(tree.glob(pattern))
    if not found:
        raise BuildError(f"package {tree.name} has no {pattern}")
    return found[0]
