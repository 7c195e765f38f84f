"""The cache of object code: what it keeps, and what it refuses to trust."""

import os
import stat
import sys
import threading
import warnings

import pytest

from lampion.compiler import cache

pytest.importorskip("llvmlite", reason="llvmlite's version is a part of every key")
posix = pytest.mark.skipif(sys.platform == "win32", reason="about POSIX permissions")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    path = tmp_path / "kernels"
    monkeypatch.setenv("LAMPION_CACHE_DIR", str(path))
    monkeypatch.delenv("LAMPION_CACHE", raising=False)
    monkeypatch.setattr(cache, "_warned", set())
    return path


def entry(folder, name):
    return folder / f"{name}.o"


def test_what_was_stored_is_found(folder):
    name, other = cache.key("plan", "a"), cache.key("plan", "b")
    assert cache.load(name) is None
    cache.store(name, b"code")
    assert cache.load(name) == b"code"
    assert cache.load(other) is None
    cache.store(name, b"newer")
    assert cache.load(name) == b"newer"
    assert [path.name for path in folder.iterdir()] == [f"{name}.o"]  # nothing temporary is left


def test_keys_tell_texts_apart():
    names = {cache.key("ab", "c"), cache.key("a", "bc"), cache.key("abc"), cache.key("ab", "c", "")}
    assert len(names) == 4
    assert cache.key("ab", "c") == cache.key("ab", "c")


def test_keys_depend_on_llvmlite_and_on_the_sources(monkeypatch):
    import llvmlite

    before = cache.key("plan")
    monkeypatch.setattr(cache, "sources", lambda: "other")
    changed = cache.key("plan")
    monkeypatch.setattr(llvmlite, "__version__", "0.0")
    assert len({before, changed, cache.key("plan")}) == 3


def test_sources_cover_the_compiler_and_the_operations(tmp_path):
    for name in ("dtype.py", "compiler/plan.py", "compiler/codegen/matmul.py", "ops/basic.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    digests = {cache._digest(tmp_path)}
    for path in sorted(tmp_path.rglob("*.py")):
        path.write_text("two")
        digests.add(cache._digest(tmp_path))
    assert len(digests) == 5
    assert cache._digest(tmp_path / "nowhere") != cache._digest(tmp_path / "nowhere")


@pytest.mark.parametrize("at", [0, 9, 45, 72, -1], ids=["magic", "key", "checksum", "code", "last byte"])
def test_a_damaged_entry_is_deleted(folder, at):
    name = cache.key("plan")
    cache.store(name, b"machine code")
    data = bytearray(entry(folder, name).read_bytes())
    data[at] ^= 1
    entry(folder, name).write_bytes(data)
    assert cache.load(name) is None
    assert not entry(folder, name).exists()
    cache.store(name, b"machine code")
    assert cache.load(name) == b"machine code"


@pytest.mark.parametrize("size", [0, 10, 72, 75])
def test_a_truncated_entry_is_deleted(folder, size):
    name = cache.key("plan")
    cache.store(name, b"machine code")
    entry(folder, name).write_bytes(entry(folder, name).read_bytes()[:size])
    assert cache.load(name) is None
    assert not entry(folder, name).exists()


def test_an_entry_under_another_name_is_not_taken(folder):
    name, other = cache.key("a"), cache.key("b")
    cache.store(name, b"code")
    os.rename(entry(folder, name), entry(folder, other))
    assert cache.load(other) is None


@posix
def test_only_the_owner_can_read_and_write(folder):
    cache.store(cache.key("plan"), b"code")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry(folder, cache.key("plan")).stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_an_entry_that_others_could_write_is_not_taken(folder, mode):
    name = cache.key("plan")
    cache.store(name, b"code")
    entry(folder, name).chmod(mode)
    assert cache.load(name) is None


@posix
def test_a_link_is_not_followed(folder, tmp_path):
    name = cache.key("plan")
    cache.store(name, b"code")
    os.rename(entry(folder, name), tmp_path / "elsewhere")
    entry(folder, name).symlink_to(tmp_path / "elsewhere")
    assert cache.load(name) is None


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_could_write_is_refused_with_one_warning(folder, mode):
    name = cache.key("plan")
    cache.store(name, b"code")
    folder.chmod(mode)
    with pytest.warns(RuntimeWarning, match="must be a folder that belongs to you"):
        assert cache.load(name) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store(name, b"other")
        assert cache.load(name) is None
    folder.chmod(0o700)
    assert cache.load(name) == b"code"


@posix
def test_a_folder_of_somebody_else_is_refused(folder, monkeypatch):
    cache.store(cache.key("plan"), b"code")
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match="belongs to you"):
        assert cache.load(cache.key("plan")) is None


def test_a_file_in_place_of_the_folder_warns(folder):
    folder.write_text("")
    with pytest.warns(RuntimeWarning, match="not kept"):
        cache.store(cache.key("plan"), b"code")


def test_a_full_disk_warns_and_leaves_nothing(folder, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        cache.store(cache.key("plan"), b"code")
    assert list(folder.iterdir()) == []


def test_it_can_be_switched_off(folder, monkeypatch):
    cache.store(cache.key("plan"), b"code")
    monkeypatch.setenv("LAMPION_CACHE", "0")
    assert cache.load(cache.key("plan")) is None
    cache.store(cache.key("other"), b"code")
    assert len(list(folder.iterdir())) == 1


def test_what_was_not_used_for_longest_goes_first(folder, monkeypatch):
    names = [cache.key(str(i)) for i in range(5)]
    for age, name in enumerate(names):
        cache.store(name, bytes(1000))
        os.utime(entry(folder, name), (1000 + age, 1000 + age))
    cache.load(names[0])  # used just now
    monkeypatch.setattr(cache, "LIMIT", 3300)
    cache.store(cache.key("new"), bytes(1000))
    assert {path.stem for path in folder.iterdir()} == {names[0], names[4], cache.key("new")}


def test_writers_at_the_same_time_do_no_harm(folder):
    name = cache.key("plan")
    threads = [threading.Thread(target=cache.store, args=(name, bytes([i]) * 100_000)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    code = cache.load(name)
    assert len(code) == 100_000
    assert len(set(code)) == 1


def test_the_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("LAMPION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.default_folder() == tmp_path / "lampion" / "kernels"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.default_folder().parts[-4:] == ("Library", "Caches", "lampion", "kernels")
    monkeypatch.setattr(sys, "platform", "win32")
    assert cache.default_folder() == tmp_path / "lampion" / "kernels"
