"""Files from mirrors and the network, and all that goes wrong on the way."""

import errno
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from vlalign_lib.data import DATASETS, DataUnavailable, _download, available, fetch, verify
from vlalign_lib.data._registry import SETS, DataFile, DataSet

BODY = bytes(range(256)) * 1500  # 384,000 bytes: several chunks
SMALL = b"one\ntwo\n"


@dataclass
class Served:
    """What the server has, how it misbehaves, and what it was asked."""

    files: dict = field(default_factory=dict)
    cut_after: list = field(default_factory=list)  # bytes before each of the next cuts
    ignore_range: bool = False
    lie_about_range: bool = False
    status: int = 200
    waits: list = field(default_factory=list)  # seconds before each of the next answers
    stop: threading.Event = field(default_factory=threading.Event)
    asked: list = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch):
    served = Served()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            span = self.headers.get("Range")
            served.asked.append((self.path, span))
            if served.waits:
                served.stop.wait(served.waits.pop(0))
            if served.status != 200 or self.path not in served.files:
                self.send_error(served.status if served.status != 200 else 404)
                return
            body = served.files[self.path]
            begin = 0 if span is None or served.ignore_range else int(span[6:-1])
            if begin >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if begin else 200)
            if begin:
                shown = begin - 1 if served.lie_about_range else begin
                self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - begin))
            self.end_headers()
            rest = body[begin:]
            if served.cut_after:
                rest = rest[: served.cut_after.pop(0)]
            with suppress(ConnectionError):  # a killed client no longer listens
                self.wfile.write(rest)

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{running.server_address[1]}"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield served
    served.stop.set()
    running.shutdown()
    running.server_close()


def entry_for(base, *, body=BODY):
    return DataSet(
        name="toy",
        title="numbers in a row",
        licence="free as the air",
        citation="Nobody (2000)",
        files=(
            DataFile("big.bin", len(body), hashlib.sha256(body).hexdigest(), (f"{base}/big.bin",)),
            DataFile(
                "small.txt", len(SMALL), hashlib.sha256(SMALL).hexdigest(), (f"{base}/small.txt",)
            ),
        ),
    )


@pytest.fixture
def toy(server, tmp_path, monkeypatch):
    """A data set on the server, an empty cache, no mirror; returns the cache's folder."""
    monkeypatch.setitem(SETS, "toy", entry_for(server.url + "/home"))
    server.files = {"/home/big.bin": BODY, "/home/small.txt": SMALL}
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)
    monkeypatch.delenv("VLALIGN_OFFLINE", raising=False)
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    return tmp_path / "cache" / "toy"


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def states(name="toy"):
    return [file.state for file in verify(name)]


def test_fetch_brings_the_files_and_shows_licence_and_citation(toy, capsys):
    assert states() == ["missing", "missing"]
    paths = fetch("toy")
    assert [path.read_bytes() for path in paths] == [BODY, SMALL]
    assert states() == ["ok", "ok"]
    assert names(toy) == [".lock", "big.bin", "small.txt"]
    shown = capsys.readouterr().err
    assert "free as the air" in shown
    assert "Nobody (2000)" in shown
    assert "toy/big.bin" in shown  # the progress bar


def test_what_is_there_is_not_asked_for_again(toy, server, capsys):
    fetch("toy", progress=False)
    server.asked.clear()
    capsys.readouterr()
    fetch("toy")
    assert server.asked == []
    assert capsys.readouterr() == ("", "")


def test_a_cut_is_resumed_within_one_call(toy, server):
    server.cut_after = [100_000, 150_000]
    fetch("toy", progress=False)
    spans = [span for path, span in server.asked if path.endswith("big.bin")]
    assert spans[0] is None
    begins = [int(span[6:-1]) for span in spans[1:]]
    assert len(begins) == 2
    assert 0 < begins[0] <= 100_000 < begins[1]
    assert states() == ["ok", "ok"]


def test_a_cut_is_resumed_by_the_next_call(toy, server):
    server.cut_after = [100_000, 0, 0, 0]
    with pytest.raises(DataUnavailable, match=r"toy/big\.bin cannot be had") as caught:
        fetch("toy", progress=False)
    assert "continues where it was cut" in str(caught.value)
    assert "of 384,000 bytes" in str(caught.value)
    assert str(toy / "big.bin") in str(caught.value)
    assert names(toy) == [".lock", "big.bin.part"]
    assert states() == ["missing", "missing"]
    have = (toy / "big.bin.part").stat().st_size
    server.asked.clear()
    fetch("toy", progress=False)
    assert server.asked[0] == ("/home/big.bin", f"bytes={have}-")
    assert names(toy) == [".lock", "big.bin", "small.txt"]
    assert states() == ["ok", "ok"]


def test_a_server_without_ranges_starts_again(toy, server):
    server.ignore_range = True
    server.cut_after = [100_000]
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]


def test_a_server_that_continues_elsewhere_is_not_believed(toy, server):
    server.lie_about_range = True
    server.cut_after = [100_000]
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]


def test_a_rotten_beginning_is_thrown_away(toy, server):
    toy.mkdir(parents=True)
    (toy / "big.bin.part").write_bytes(b"x" * 1000)
    fetch("toy", progress=False)
    spans = [span for path, span in server.asked if path.endswith("big.bin")]
    assert spans == ["bytes=1000-", None]
    assert states() == ["ok", "ok"]


def test_a_beginning_that_is_too_long_is_thrown_away(toy):
    toy.mkdir(parents=True)
    (toy / "big.bin.part").write_bytes(b"x" * (len(BODY) + 1))
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]


def test_a_complete_part_needs_no_request(toy, server):
    toy.mkdir(parents=True)
    (toy / "big.bin.part").write_bytes(BODY)
    fetch("toy", progress=False)
    assert [path for path, _ in server.asked] == ["/home/small.txt"]


def test_a_file_truncated_at_the_source(toy, server):
    server.files["/home/big.bin"] = BODY[:-1]
    with pytest.raises(DataUnavailable, match=r"383,999 of 384,000 bytes"):
        fetch("toy", progress=False)
    assert "big.bin" not in names(toy)


@pytest.mark.parametrize("change", ["same length", "longer"])
def test_a_file_altered_at_the_source(toy, server, change):
    altered = BODY[:-1] + b"!" if change == "same length" else BODY + b"!"
    server.files["/home/big.bin"] = altered
    pattern = "altered: its sha256 is" if change == "same length" else "more than the 384,000"
    with pytest.raises(DataUnavailable, match=pattern):
        fetch("toy", progress=False)
    assert "big.bin" not in names(toy)
    if change == "same length":
        assert "big.bin.part" not in names(toy)
    server.files["/home/big.bin"] = BODY
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_that_refuses(toy, server, status):
    server.status = status
    with pytest.raises(DataUnavailable, match=f"answered {status}"):
        fetch("toy", progress=False)
    assert names(toy) == [".lock"]


def test_no_network(toy, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        port = closed.server_address[1]
    monkeypatch.setitem(SETS, "toy", entry_for(f"http://127.0.0.1:{port}"))
    with pytest.raises(DataUnavailable, match=r"cannot be reached.*") as caught:
        fetch("toy", progress=False)
    text = str(caught.value)
    for way_out in ("vlalign data fetch toy", "VLALIGN_MIRROR", str(toy / "big.bin")):
        assert way_out in text
    assert isinstance(caught.value, OSError)


def test_offline_asks_nobody_and_says_so(toy, server, monkeypatch):
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    monkeypatch.setenv("VLALIGN_MIRROR", server.url + "/mirror")
    with pytest.raises(DataUnavailable, match="VLALIGN_OFFLINE=1 forbids the network"):
        fetch("toy", progress=False)
    assert server.asked == []


def test_offline_uses_what_is_there_and_a_mirror_that_is_a_folder(
    toy, server, monkeypatch, tmp_path
):
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    mirror = tmp_path / "mirror" / "toy"
    mirror.mkdir(parents=True)
    (mirror / "big.bin").write_bytes(BODY)
    (mirror / "small.txt").write_bytes(SMALL)
    monkeypatch.setenv("VLALIGN_MIRROR", str(mirror.parent))
    assert available("toy")
    fetch("toy", progress=False)
    monkeypatch.delenv("VLALIGN_MIRROR")
    assert available("toy")
    fetch("toy", progress=False)
    assert server.asked == []
    assert not (toy / "big.bin").is_symlink()


@pytest.mark.parametrize("value", ["0", "false", "", " no "])
def test_offline_can_be_switched_off(toy, monkeypatch, value):
    monkeypatch.setenv("VLALIGN_OFFLINE", value)
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_mirror_at_an_address_comes_first(toy, server, monkeypatch, slash):
    server.files = {
        f"/mirror/toy/{n}": server.files[f"/home/{n}"] for n in ("big.bin", "small.txt")
    }
    monkeypatch.setenv("VLALIGN_MIRROR", server.url + "/mirror" + slash)
    fetch("toy", progress=False)
    assert {path for path, _ in server.asked} == set(server.files)


@pytest.mark.parametrize("harm", ["missing", "truncated", "altered"])
def test_a_bad_mirror_is_passed_over(toy, server, monkeypatch, tmp_path, harm):
    mirror = tmp_path / "mirror" / "toy"
    mirror.mkdir(parents=True)
    bad = {"missing": None, "truncated": BODY[:10], "altered": b"!" + BODY[1:]}[harm]
    if bad is not None:
        (mirror / "big.bin").write_bytes(bad)
    monkeypatch.setenv("VLALIGN_MIRROR", str(mirror.parent))
    assert not available("toy")
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]
    assert ("/home/big.bin", None) in server.asked


def test_every_source_says_why_it_failed(toy, server, monkeypatch, tmp_path):
    server.status = 404
    monkeypatch.setenv("VLALIGN_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(DataUnavailable) as caught:
        fetch("toy", progress=False)
    text = str(caught.value)
    assert f"{tmp_path / 'nowhere' / 'toy' / 'big.bin'}: not there" in text
    assert f"{server.url}/home/big.bin: answered 404" in text


@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_file_damaged_in_the_cache_is_seen_and_replaced(toy, server, monkeypatch, harm):
    fetch("toy", progress=False)
    bad = BODY[:-5] if harm == "truncated" else BODY[:-1] + b"!"
    (toy / "big.bin").write_bytes(bad)
    assert states() == ["damaged", "ok"]
    assert not available("toy")
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    told = "cut off: 383,995 of" if harm == "truncated" else "altered: its sha256"
    with pytest.raises(DataUnavailable, match=told):
        fetch("toy", progress=False)
    assert states() == ["damaged", "ok"]
    monkeypatch.delenv("VLALIGN_OFFLINE")
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]


@pytest.mark.parametrize("source", ["address", "folder"])
def test_a_full_disk_names_the_file_and_leaves_nothing(toy, monkeypatch, tmp_path, source):
    if source == "folder":
        mirror = tmp_path / "mirror" / "toy"
        mirror.mkdir(parents=True)
        (mirror / "big.bin").write_bytes(BODY)
        monkeypatch.setenv("VLALIGN_MIRROR", str(mirror.parent))
    real_open = open

    def crowded(path, mode="r", *rest, **more):
        stream = real_open(path, mode, *rest, **more)
        if str(path).endswith(".part") and ("w" in mode or "a" in mode):
            inner = stream.write

            class Crowded:
                def __getattr__(self, name):
                    return getattr(stream, name)

                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    stream.close()

                def write(self, data):
                    if stream.tell() >= 100_000:
                        raise OSError(errno.ENOSPC, "No space left on device")
                    return inner(data)

            return Crowded()
        return stream

    monkeypatch.setattr("builtins.open", crowded)
    with pytest.raises(DataUnavailable, match=r"big\.bin.*no room.*384,000.*VLALIGN_CACHE"):
        fetch("toy", progress=False)
    monkeypatch.undo()
    assert names(toy) == [".lock"]


def test_a_cache_that_cannot_be_a_folder(toy, monkeypatch, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    monkeypatch.setenv("VLALIGN_CACHE", str(blocked))
    with pytest.raises(DataUnavailable, match=r"blocked.toy.big\.bin: cannot be written.*CACHE"):
        fetch("toy", progress=False)
    assert not available("toy")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_cache_that_may_not_be_written(toy, monkeypatch, code):
    def forbidden(self, *_, **__):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(_download.Path, "mkdir", forbidden)
    with pytest.raises(DataUnavailable, match=r"big\.bin: cannot be written.*VLALIGN_CACHE"):
        fetch("toy", progress=False)


@pytest.mark.parametrize("name", ["chmod", "utime", "chown"])
def test_a_disk_that_knows_no_owners_takes_downloads(toy, monkeypatch, name):
    def refused(path, *_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(os, name, refused)
    fetch("toy", progress=False)
    assert states() == ["ok", "ok"]


def test_a_read_only_cache_with_good_files_is_good_enough(toy, monkeypatch):
    fetch("toy", progress=False)

    def forbidden(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(_download.Path, "mkdir", forbidden)
    assert [path.read_bytes() for path in fetch("toy")] == [BODY, SMALL]


CHILD = """
    import sys
    from vlalign_lib.data import _download
    from vlalign_lib.data._registry import SETS, DataFile, DataSet
    base, size, sha = sys.argv[1:]
    SETS["toy"] = DataSet("toy", "", "", "", (DataFile("big.bin", int(size), sha, (base,)),))
    print("ready", flush=True)
    _download.download("toy", progress=False)
    print(_download.file_states("toy")[0].state)
"""


def start_child(server):
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(CHILD),
            f"{server.url}/home/big.bin",
            str(len(BODY)),
            hashlib.sha256(BODY).hexdigest(),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_once_download_once(toy, server):
    server.waits = [0.5, 0.5]
    children = [start_child(server), start_child(server)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert out.split() == ["ready", "ok"], err
    assert len(server.asked) == 1
    assert names(toy) == [".lock", "big.bin"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_killed_process_leaves_nothing_broken_and_the_next_one_continues(toy, server):
    # The first answer is cut, the second is so late that the child is killed waiting for it.
    server.cut_after = [200_000]
    server.waits = [0.0, 60.0]
    child = start_child(server)
    deadline = time.monotonic() + 30
    while len(server.asked) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert names(toy) == [".lock", "big.bin.part"]
    have = (toy / "big.bin.part").stat().st_size
    assert 0 < have <= 200_000
    server.asked.clear()
    fetch("toy", progress=False)
    assert server.asked[0] == ("/home/big.bin", f"bytes={have}-")
    assert states() == ["ok", "ok"]


def test_unknown_names():
    for function in (fetch, verify):
        with pytest.raises(ValueError, match=r"digits, glyphs, .*nus_wide_10k, got 'imagenet'"):
            function("imagenet")
    assert not available("imagenet")
    assert DATASETS[:3] == ("digits", "glyphs", "wikipedia")


def test_every_registered_file_has_what_a_download_needs():
    for entry in SETS.values():
        assert entry.licence
        assert entry.citation
        for file in entry.files:
            assert len(file.sha256) == 64
            assert file.size > 0
            assert file.urls
            assert all(url.startswith("https://") for url in file.urls)


def test_what_the_disk_changes_under_way_does_not_count(toy, monkeypatch):
    def rotten(entry, file, part, target, progress):
        part.write_bytes(b"x" * file.size)

    monkeypatch.setattr(_download, "_from_any_source", rotten)
    with pytest.raises(DataUnavailable, match=r"big\.bin: changed while it was written"):
        fetch("toy", progress=False)
    assert names(toy) == [".lock"]


def test_what_cannot_be_reached_prints_no_bar(monkeypatch, tmp_path, capsys):
    """A page of the book falls back on recorded numbers; a bar in it would be noise."""
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path))
    monkeypatch.setenv("VLALIGN_MIRROR", "http://127.0.0.1:9")
    monkeypatch.delenv("VLALIGN_OFFLINE", raising=False)
    unreachable = replace(SETS["wikipedia"].files[0], urls=("http://127.0.0.1:9/x",))
    monkeypatch.setitem(SETS, "wikipedia", replace(SETS["wikipedia"], files=(unreachable,)))
    with pytest.raises(DataUnavailable):
        fetch("wikipedia")
    assert capsys.readouterr().err == ""
