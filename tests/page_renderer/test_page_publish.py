"""Publication: whole pages only, in order, and nothing outside the folder."""

import gzip
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from page_renderer import (
    Published,
    Target,
    VersionTakenError,
    activate,
    assets,
    current_version,
    publish,
    set_sold_out,
    versions,
    write_assets,
    write_state,
    write_version,
)
from page_renderer.publish import VERSIONS_KEPT

SALE = Target.sale("friday-tee")


def _files(word: str, size: int = 1) -> dict[str, bytes]:
    return {"index.html": word.encode() * size}


def _shown(pages: Path) -> bytes:
    return (pages / "sales/friday-tee/current/index.html").read_bytes()


def test_the_folder_is_laid_out_as_agreed(tmp_path: Path) -> None:
    assert publish(tmp_path, SALE, _files("one")) == Published(1, changed=True)
    assert publish(tmp_path, Target.index(), _files("list")) == Published(1, changed=True)
    folder = tmp_path / "sales/friday-tee"
    assert (folder / "current").readlink() == Path("versions/1")
    assert (folder / "versions/1/index.html").read_bytes() == b"one"
    assert (tmp_path / "index/current").readlink() == Path("versions/1")
    assert (tmp_path / "index/current/index.html").read_bytes() == b"list"
    assert {path.name for path in (tmp_path / "assets").iterdir()} == {
        name + suffix for name in assets() for suffix in ("", ".gz")
    }


def test_gz_holds_the_same_bytes_as_the_file_beside_it(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("one", 1000))
    compressed = [path for path in tmp_path.rglob("*.gz") if path.is_file()]
    assert len(compressed) > len(assets())
    for path in compressed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()


def test_everything_can_be_read_by_another_user(tmp_path: Path) -> None:
    # nginx may run as another user; 0600, the habit of temporary files, would be a blank page.
    before = os.umask(0o022)
    try:
        publish(tmp_path, SALE, _files("one"))
        write_state(tmp_path, "friday-tee", b"{}")
        set_sold_out(tmp_path, "friday-tee", "TEE-M", True)
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        if path.name != ".lock":
            assert path.stat().st_mode & 0o004, path
            assert path.is_file() or path.stat().st_mode & 0o001, path


def test_the_same_page_again_changes_nothing(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("one"))
    assert publish(tmp_path, SALE, _files("one")) == Published(1, changed=False)
    assert publish(tmp_path, SALE, _files("two")) == Published(2, changed=True)
    assert versions(tmp_path, SALE) == [1, 2]


def test_a_version_can_be_written_first_and_shown_later(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("one"), version=1)
    write_version(tmp_path, SALE, 2, _files("two"))
    assert _shown(tmp_path) == b"one"
    assert activate(tmp_path, SALE, 2)
    assert _shown(tmp_path) == b"two"
    assert not activate(tmp_path, SALE, 2)


def test_a_late_publisher_does_not_put_the_old_page_back(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("new"), version=8)
    assert publish(tmp_path, SALE, _files("old"), version=7) == Published(7, changed=False)
    assert _shown(tmp_path) == b"new"
    assert not activate(tmp_path, SALE, 7, forward_only=True)
    assert current_version(tmp_path, SALE) == 8


def test_rolling_back_is_activating_an_older_version(tmp_path: Path) -> None:
    for word in ("one", "two", "three"):
        publish(tmp_path, SALE, _files(word))
    assert activate(tmp_path, SALE, 1)
    assert _shown(tmp_path) == b"one"
    assert publish(tmp_path, SALE, _files("four")) == Published(4, changed=True)


def test_a_version_never_changes(tmp_path: Path) -> None:
    write_version(tmp_path, SALE, 1, _files("one"))
    write_version(tmp_path, SALE, 1, _files("one"))
    with pytest.raises(VersionTakenError):
        write_version(tmp_path, SALE, 1, _files("other"))
    with pytest.raises(VersionTakenError):
        publish(tmp_path, SALE, {**_files("one"), "more.html": b"x"}, version=1)
    assert (tmp_path / "sales/friday-tee/versions/1/index.html").read_bytes() == b"one"


def test_only_what_was_written_can_be_shown(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("one"))
    with pytest.raises(FileNotFoundError):
        activate(tmp_path, SALE, 2)
    assert _shown(tmp_path) == b"one"


def test_nothing_published_is_none(tmp_path: Path) -> None:
    assert current_version(tmp_path, SALE) is None
    assert versions(tmp_path, SALE) == []


def test_old_versions_are_kept_and_then_dropped(tmp_path: Path) -> None:
    for number in range(1, VERSIONS_KEPT + 6):
        publish(tmp_path, SALE, _files(f"page {number}"))
    assert versions(tmp_path, SALE) == list(range(6, VERSIONS_KEPT + 6))


def test_the_current_version_is_kept_however_old(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("kept"))
    for number in range(2, VERSIONS_KEPT + 10):
        write_version(tmp_path, SALE, number, _files(str(number)))
    activate(tmp_path, SALE, VERSIONS_KEPT + 9)
    activate(tmp_path, SALE, 20)
    for number in range(VERSIONS_KEPT + 10, VERSIONS_KEPT + 40):
        write_version(tmp_path, SALE, number, _files(str(number)))
    assert not activate(tmp_path, SALE, 20)
    assert _shown(tmp_path) == b"20"
    assert versions(tmp_path, SALE)[0] == 20
    assert len(versions(tmp_path, SALE)) == VERSIONS_KEPT + 1


def test_rubbish_of_a_dead_publisher_is_removed(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("one"))
    folder = tmp_path / "sales/friday-tee"
    (folder / "versions/.unfinished-dead").mkdir()
    (folder / "versions/.unfinished-dead/index.html").write_bytes(b"half")
    (folder / ".unfinished-link").symlink_to("versions/9")
    publish(tmp_path, SALE, _files("two"))
    assert {path.name for path in folder.iterdir()} == {"versions", "current", ".lock"}
    assert {path.name for path in (folder / "versions").iterdir()} == {"1", "2"}


@pytest.mark.parametrize("name", ["../index.html", "/etc/x", "a/b.html", "..", ".hidden", "x.gz", "", "a\\..\\b/../c"])
def test_a_file_name_cannot_leave_its_version(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        write_version(tmp_path / "pages", SALE, 1, {**_files("one"), name: b"x"})
    assert versions(tmp_path / "pages", SALE) == []
    assert [path.name for path in tmp_path.iterdir()] == ["pages"]


@pytest.mark.parametrize("version", [0, -1])
def test_versions_count_from_one(tmp_path: Path, version: int) -> None:
    with pytest.raises(ValueError, match="from 1"):
        write_version(tmp_path, SALE, version, _files("one"))


@pytest.mark.parametrize(
    "slug", ["", ".", "..", "../x", "a/b", "/etc", "A", "-a", "a-", "a" * 64, "a\n", "a\0", "%2e%2e", "é"]
)
def test_a_slug_cannot_leave_the_folder(tmp_path: Path, slug: str) -> None:
    pages = tmp_path / "pages"
    for act in (
        lambda: Target.sale(slug),
        lambda: write_state(pages, slug, b"{}"),
        lambda: set_sold_out(pages, slug, "TEE-M", True),
        lambda: set_sold_out(pages, slug, "TEE-M", False),
    ):
        with pytest.raises(ValueError, match="not a slug"):
            act()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sku", ["", ".", "..", "../x", "a/b", "/etc", "-a", "a" * 65, "a\n", "a\0"])
def test_a_sku_cannot_leave_the_folder(tmp_path: Path, sku: str) -> None:
    for sold_out in (True, False):
        with pytest.raises(ValueError, match="not a SKU"):
            set_sold_out(tmp_path, "friday-tee", sku, sold_out)
    assert list(tmp_path.iterdir()) == []


def test_the_sold_out_marker_comes_and_goes(tmp_path: Path) -> None:
    marker = tmp_path / "soldout/friday-tee/TEE-M"
    set_sold_out(tmp_path, "friday-tee", "TEE-M", False)
    assert not marker.exists()
    for _ in range(2):
        set_sold_out(tmp_path, "friday-tee", "TEE-M", True)
        assert marker.is_file()
    for _ in range(2):
        set_sold_out(tmp_path, "friday-tee", "TEE-M", False)
        assert not marker.exists()


def test_assets_are_written_once_and_mended(tmp_path: Path) -> None:
    write_assets(tmp_path)
    folder = tmp_path / "assets"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_assets(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    name = next(iter(assets()))
    (folder / name).write_bytes(b"")  # a power cut before the first sync
    write_assets(tmp_path)
    assert (folder / name).read_bytes() == assets()[name]


# -- races -----------------------------------------------------------------------------------------

_SIZE = 200_000  # long enough that a file written in place would be seen half done


def _watch(pages: Path, stop: threading.Event, whole: Callable[[bytes], bool]) -> tuple[int, int]:
    """Read the shown page as nginx does until told to stop: (reads, reads that were not whole)."""
    reads = broken = 0
    path = pages / "sales/friday-tee/current/index.html"
    while not stop.is_set() or reads == 0:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        reads += 1
        broken += not whole(content)
    return reads, broken


def _is_whole(content: bytes) -> bool:
    return len(content) == _SIZE and len(set(content)) == 1


def test_readers_see_one_whole_page_while_publishers_race(tmp_path: Path) -> None:
    publish(tmp_path, SALE, _files("a", _SIZE))
    stop = threading.Event()

    def work(offset: int) -> None:
        for step in range(8):
            publish(tmp_path, SALE, _files(chr(ord("b") + (offset + step) % 20), _SIZE))

    with ThreadPoolExecutor(6) as pool:
        watchers = [pool.submit(_watch, tmp_path, stop, _is_whole) for _ in range(2)]
        for done in [pool.submit(work, offset) for offset in (0, 5, 10)]:
            done.result(timeout=60)
        stop.set()
        results = [watcher.result(timeout=60) for watcher in watchers]
    assert all(reads > 10 for reads, _ in results)
    assert [broken for _, broken in results] == [0, 0]


def test_the_watcher_notices_a_publisher_without_care(tmp_path: Path) -> None:
    """The negative control: writing in place is seen half done by the very same watcher."""
    publish(tmp_path, SALE, _files("a", _SIZE))
    path = tmp_path / "sales/friday-tee/current/index.html"
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        watcher = pool.submit(_watch, tmp_path, stop, _is_whole)
        for step in range(200):
            with path.open("wb") as file:
                for _ in range(20):
                    file.write(chr(ord("b") + step % 20).encode() * (_SIZE // 20))
                    file.flush()
        stop.set()
        _, broken = watcher.result(timeout=60)
    assert broken > 0


def _publish_many(pages: Path, mark: str, count: int) -> None:
    for number in range(count):
        publish(pages, SALE, _files(f"{mark}{number}"))


def test_processes_that_publish_at_once_take_different_versions(tmp_path: Path) -> None:
    count = 5
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_publish_many, args=(tmp_path, mark, count)) for mark in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert versions(tmp_path, SALE) == list(range(1, 3 * count + 1))
    folder = tmp_path / "sales/friday-tee/versions"
    pages = {(folder / str(number) / "index.html").read_text() for number in versions(tmp_path, SALE)}
    assert pages == {f"{mark}{number}" for mark in "abc" for number in range(count)}
    assert current_version(tmp_path, SALE) == 3 * count


def test_state_is_whole_under_two_writers(tmp_path: Path) -> None:
    path = tmp_path / "state/friday-tee.json"
    bodies = [b'{"a":"' + b"x" * 5000 + b'"}', b'{"b":"' + b"y" * 3000 + b'"}']
    write_state(tmp_path, "friday-tee", bodies[0])
    stop = threading.Event()

    def write(body: bytes) -> None:
        for _ in range(300):
            write_state(tmp_path, "friday-tee", body)

    def read() -> set[bytes]:
        seen = set()
        while not stop.is_set():
            seen.add(path.read_bytes())
        return seen

    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(read)
        for done in [pool.submit(write, body) for body in bodies]:
            done.result(timeout=60)
        stop.set()
        assert reader.result(timeout=60) <= set(bodies)
    assert [entry.name for entry in path.parent.iterdir()] == ["friday-tee.json"]


def test_a_full_disk_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, SALE, _files("one"))
    write_state(tmp_path, "friday-tee", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        publish(tmp_path, SALE, _files("two"))
    monkeypatch.undo()
    assert _shown(tmp_path) == b"one"
    assert publish(tmp_path, SALE, _files("three")) == Published(2, changed=True)
    assert {path.name for path in (tmp_path / "sales/friday-tee/versions").iterdir()} == {"1", "2"}
