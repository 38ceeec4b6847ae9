"""A folder of plans is only used where nobody else may write to it: a plan is code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.errors import BackendError
from engines.trt.folder import PrivateFolder

WANTED = "a plan is code, so it is only taken from where nobody else may write: expected"
MEND = "name another folder, or, if you trust what is in it, type:"


@pytest.fixture
def folder(tmp_path: Path) -> PrivateFolder:
    made = PrivateFolder(tmp_path / "cache" / "plans")
    made.write("a", b"text")
    return made


def refused(folder: PrivateFolder) -> str:
    """What every use of the folder is refused with."""
    said = set()
    for use in (folder.exists, folder.make, folder.names, lambda: folder.write("b", b"")):
        with pytest.raises(BackendError) as caught:
            use()
        said.add(str(caught.value))
    with pytest.raises(BackendError):
        folder.read("a", 10, exact=False)
    assert len(said) == 1
    return said.pop()


def test_it_is_made_open_to_nobody_else(folder: PrivateFolder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.path / "a").stat().st_mode & 0o777 == 0o600
    assert folder.names() == ["a"]
    assert folder.read("a", 4, exact=True) == b"text"


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o770, 0o775, 0o777, 0o1777])
def test_others_may_not_write_to_it(mode: int, folder: PrivateFolder) -> None:
    folder.path.chmod(mode)
    assert refused(folder) == (f"{folder.path}: {WANTED} mode 700, got {mode:o}; {MEND} chmod 700 {folder.path}")
    folder.path.chmod(0o700)  # as was told
    assert folder.read("a", 4, exact=True) == b"text"


@pytest.mark.parametrize("mode", [0o700, 0o500, 0o750, 0o755])
def test_others_may_look(mode: int, folder: PrivateFolder) -> None:
    folder.path.chmod(mode)
    assert folder.names() == ["a"]
    assert folder.read("a", 4, exact=True) == b"text"
    folder.path.chmod(0o700)


def test_a_file_that_others_may_write_to_is_refused_where_they_can_reach_it(folder: PrivateFolder) -> None:
    (folder.path / "a").chmod(0o664)
    assert folder.read("a", 4, exact=True) == b"text"  # nobody enters a folder of mode 700
    folder.path.chmod(0o755)
    with pytest.raises(BackendError) as caught:
        folder.read("a", 4, exact=True)
    assert str(caught.value) == (f"{folder.path}/a: {WANTED} mode 700, got 664; {MEND} chmod 700 {folder.path}")
    folder.path.chmod(0o700)
    assert folder.read("a", 4, exact=True) == b"text"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may give files away: sudo make test")
@pytest.mark.parametrize("whose", ["folder", "file"])
def test_what_another_user_owns_is_refused(whose: str, folder: PrivateFolder) -> None:
    place = folder.path if whose == "folder" else folder.path / "a"
    os.chown(place, 1234, 1234)
    if whose == "folder":
        said = refused(folder)
    else:
        with pytest.raises(BackendError) as caught:
            folder.read("a", 4, exact=True)
        said = str(caught.value)
    assert said == (
        f"{place}: {WANTED} user 0 to own it, got user 1234; {MEND} chown -R 0 {folder.path} && chmod 700 {folder.path}"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root owns it")
def test_a_folder_of_the_system_is_refused() -> None:
    assert "got user 0; name another folder" in refused(PrivateFolder(Path("/usr")))


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(PrivateFolder(tmp_path / "file")) == (
        f"{tmp_path}/file: expected a folder for plans, got something else; name another folder"
    )
    assert refused(PrivateFolder(tmp_path / "file" / "plans")) == (
        f"{tmp_path}/file/plans: expected a folder for plans, got: Not a directory"
    )
    assert refused(PrivateFolder(Path("\0"))).endswith("expected a folder for plans, got: embedded null byte")


def test_a_link_to_a_folder_of_ones_own_is_followed_and_looked_at(folder: PrivateFolder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder.path)
    linked = PrivateFolder(tmp_path / "link")
    assert linked.read("a", 4, exact=True) == b"text"
    folder.path.chmod(0o777)
    assert "got 777" in refused(linked)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(BackendError, match="expected a folder for plans that can be written, got: File exists"):
        PrivateFolder(tmp_path / "nowhere").make()


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path / "none")
    assert not folder.exists()
    assert folder.names() == []
    assert folder.size("a") is None
    with pytest.raises(BackendError, match=f"^{tmp_path}/none/a: expected a plain file, got: No such file"):
        folder.read("a", 1, exact=False)


def test_a_path_with_a_blank_can_be_typed_as_it_is_told(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path / "my plans")
    folder.make()
    folder.path.chmod(0o777)
    assert refused(folder).endswith(f"type: chmod 700 '{tmp_path}/my plans'")


def test_a_file_that_is_written_again_is_never_half_there(folder: PrivateFolder) -> None:
    for size in (0, 1, 100_000):
        folder.write("a", bytes(size))
        assert folder.read("a", size, exact=True) == bytes(size)
        assert folder.names() == ["a"]


def test_a_length_that_is_not_the_one_expected(folder: PrivateFolder) -> None:
    for size, exact, said in (
        (5, True, "expected 5 bytes, got 4: it is truncated"),
        (3, True, "expected 3 bytes, got 4"),
        (3, False, "expected at most 3 bytes, got 4"),
    ):
        with pytest.raises(BackendError) as caught:
            folder.read("a", size, exact=exact)
        assert str(caught.value) == f"{folder.path}/a: {said}"
    assert folder.read("a", 5, exact=False) == b"text"


def test_a_length_that_no_file_has(folder: PrivateFolder) -> None:
    assert folder.read("a", 10**30, exact=False) == b"text"
    with pytest.raises(BackendError, match=r"expected 1000000000000000000000000000000 bytes, got 4: it is truncated"):
        folder.read("a", 10**30, exact=True)
