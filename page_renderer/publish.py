"""Atomic publication into the folder that nginx serves (layout: docs/architecture.md).

A version is written aside, synced, renamed to its number, and only then does one rename of the
`current` link make it visible: a reader sees the old page or the new one, whole. A crash at any
point leaves the old page and some rubbish, which the next publisher removes.

Publishers of one target wait for each other on an advisory lock (`flock`), which the kernel drops
with its holder. So two of them at once are safe, and anything unfinished that a lock holder finds
belongs to a dead one. Limit: `flock` must work on the file system (it does on local ones and NFSv4).
"""

import gzip
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path, PurePosixPath
from secrets import token_hex

from page_renderer.assets import assets
from page_renderer.model import PICTURE_PATTERN, check_sku, check_slug

# Enough for a day of edits to roll back to; a page is about 10 kB.
VERSIONS_KEPT = 20
_UNFINISHED = ".unfinished-"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,64}")


class VersionTakenError(Exception):
    """The version exists with other bytes. A published version never changes."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is published: the page of one sale, or the index."""

    folder: PurePosixPath

    @classmethod
    def sale(cls, slug: str) -> "Target":
        return cls(PurePosixPath("sales", check_slug(slug)))

    @classmethod
    def index(cls) -> "Target":
        return cls(PurePosixPath("index"))


@dataclass(frozen=True, slots=True)
class Published:
    version: int
    changed: bool


def publish(pages_dir: Path, target: Target, files: Mapping[str, bytes], version: int | None = None) -> Published:
    """Assets, a version and its activation in one call.

    Without `version` the next free number is taken, and nothing is written when the current version
    has these very bytes: a clock may publish every few seconds without burying the history. With
    one, a version older than the current is written but not shown (see `activate`).
    """
    write_assets(pages_dir)
    with _locked(pages_dir / target.folder) as folder:
        if version is None:
            current = _current(folder)
            if current is not None and _same(folder / "versions" / str(current), files):
                return Published(current, changed=False)
            version = max(_numbers(folder), default=0) + 1
        _write(folder, version, files)
        changed = _point(folder, version, forward_only=True)
        _prune(folder)
        return Published(version, changed)


def write_version(pages_dir: Path, target: Target, version: int, files: Mapping[str, bytes]) -> None:
    """Write a version without showing it (a preview). The same bytes again are fine; other bytes
    under a number that exists raise `VersionTakenError`."""
    with _locked(pages_dir / target.folder) as folder:
        _write(folder, version, files)


def activate(pages_dir: Path, target: Target, version: int, *, forward_only: bool = False) -> bool:
    """Show a version; True when that changed what shoppers see.

    With `forward_only` a version older than the current one is left alone: of two publishers that
    race, the newer page stays. Without it this is also how a page is rolled back.
    FileNotFoundError when the version was never written or is no longer kept.
    """
    with _locked(pages_dir / target.folder) as folder:
        changed = _point(folder, version, forward_only=forward_only)
        _prune(folder)
        return changed


def current_version(pages_dir: Path, target: Target) -> int | None:
    """The version shoppers see, None when none is published."""
    return _current(pages_dir / target.folder)


def versions(pages_dir: Path, target: Target) -> list[int]:
    """The versions that can be shown again, oldest first."""
    return sorted(_numbers(pages_dir / target.folder))


def write_assets(pages_dir: Path) -> None:
    """Put every asset and its `.gz` in place; what is there already is right by its name."""
    folder = pages_dir / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name: content for name, content in assets().items() if not _there(folder / name)}
    for name, content in missing.items():
        # The plain file last: once it is there, so is its .gz.
        _replace(folder / f"{name}.gz", _gzip(content), sync=True)
        _replace(folder / name, content, sync=True)
    if missing:
        _sync_folder(folder)


def missing_files(pages_dir: Path, names: Iterable[str]) -> list[str]:
    """Those of the pictures' files that are not beside the pages yet."""
    return [name for name in dict.fromkeys(names) if not _there(pages_dir / "assets" / _check_picture(name))]


def write_files(pages_dir: Path, contents: Mapping[str, bytes]) -> None:
    """Put pictures' files beside the pages. They are compressed already, so they get no `.gz`."""
    folder = pages_dir / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        _replace(folder / _check_picture(name), content, sync=True)
    _sync_folder(folder)


def _check_picture(name: str) -> str:
    if PICTURE_PATTERN.fullmatch(name) is None:
        raise ValueError(f"not a picture's name: {name!r}")
    return name


def write_state(pages_dir: Path, slug: str, body: bytes) -> None:
    """Replace `state.json`. Not synced: it is written every second, and a lost one is a second old."""
    path = pages_dir / "state" / f"{check_slug(slug)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, body, sync=False)


def write_preview(pages_dir: Path, token: str, files: Mapping[str, bytes]) -> None:
    """Write a page to look at under `/preview/<token>/`. It is not synced: a lost one is made again."""
    if _TOKEN.fullmatch(token) is None:
        raise ValueError("not a preview's token")
    folder = pages_dir / "preview" / token
    folder.mkdir(parents=True)
    for name, content in files.items():
        _new_file(folder / name, content, sync=False)


def set_sold_out(pages_dir: Path, slug: str, sku: str, sold_out: bool) -> None:
    """Set or remove the marker that lets nginx answer link requests. Setting twice is harmless."""
    marker = pages_dir / "soldout" / check_slug(slug) / check_sku(sku)
    if sold_out:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    else:
        marker.unlink(missing_ok=True)


# -- inside the lock -------------------------------------------------------------------------------


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        flock(descriptor, LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def _write(folder: Path, version: int, files: Mapping[str, bytes]) -> None:
    if version < 1:
        raise ValueError("versions count from 1")
    for name in files:
        plain = name and name == PurePosixPath(name).name
        if not plain or name.startswith(".") or name.endswith(".gz"):
            raise ValueError(f"not a plain file name: {name!r}")
    if "index.html" not in files:
        raise ValueError("a page has an index.html")
    final = folder / "versions" / str(version)
    if final.exists():
        if not _same(final, files):
            raise VersionTakenError(f"{folder.name}: version {version} has other content")
        return
    aside = folder / "versions" / f"{_UNFINISHED}{token_hex(8)}"
    aside.mkdir(mode=0o755)
    for name, content in files.items():
        _new_file(aside / name, content, sync=True)
        _new_file(aside / f"{name}.gz", _gzip(content), sync=True)
    _sync_folder(aside)
    aside.rename(final)
    _sync_folder(final.parent)


def _point(folder: Path, version: int, *, forward_only: bool) -> bool:
    if not (folder / "versions" / str(version) / "index.html").is_file():
        raise FileNotFoundError(f"{folder.name}: there is no version {version}")
    current = _current(folder)
    if current == version or (forward_only and current is not None and current > version):
        return False
    link = folder / f"{_UNFINISHED}{token_hex(8)}"
    link.symlink_to(PurePosixPath("versions", str(version)))
    link.replace(folder / "current")
    _sync_folder(folder)
    return True


def _prune(folder: Path) -> None:
    """Drop what dead publishers left, and all but the newest versions and the current one."""
    for rubbish in (*folder.glob(f"{_UNFINISHED}*"), *folder.glob(f"versions/{_UNFINISHED}*")):
        if rubbish.is_symlink():
            rubbish.unlink()
        else:
            shutil.rmtree(rubbish)
    kept = {*sorted(_numbers(folder))[-VERSIONS_KEPT:], _current(folder)}
    for number in _numbers(folder):
        if number not in kept:
            shutil.rmtree(folder / "versions" / str(number))


def _current(folder: Path) -> int | None:
    try:
        name = (folder / "current").readlink().name
    except FileNotFoundError:
        return None
    return int(name)


def _numbers(folder: Path) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(entry.name) for entry in (folder / "versions").iterdir() if entry.name.isdigit()]
    return []


def _same(version: Path, files: Mapping[str, bytes]) -> bool:
    there = {entry.name for entry in version.iterdir() if entry.suffix != ".gz"}
    return there == set(files) and all((version / name).read_bytes() == content for name, content in files.items())


# -- files -----------------------------------------------------------------------------------------


def _gzip(content: bytes) -> bytes:
    # No time stamp inside: the same content gives the same bytes.
    return gzip.compress(content, compresslevel=9, mtime=0)


def _there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _new_file(path: Path, content: bytes, *, sync: bool) -> None:
    # 0644 on purpose (tempfile would give 0600): nginx may run as another user.
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if sync:
            file.flush()
            os.fsync(descriptor)


def _replace(path: Path, content: bytes, *, sync: bool) -> None:
    """Write aside under a name of our own, then one rename: readers never see half a file."""
    aside = path.with_name(f"{_UNFINISHED}{token_hex(8)}")
    try:
        _new_file(aside, content, sync=sync)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
