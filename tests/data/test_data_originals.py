"""Original files: found, unpacked and checked, whatever their packing."""

import gzip
import hashlib
import zipfile

import numpy as np
import pytest

from mtl_jax.data import originals

CONTENT = b"first line\nsecond line\n" * 50
FILE = originals.File("notes.txt.gz", hashlib.sha256(CONTENT).hexdigest())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("folder", ["", "deeper", "two/levels"])
def test_found_zipped_or_not_and_in_subfolders(tmp_path, zipped, folder):
    place = tmp_path / folder
    place.mkdir(parents=True, exist_ok=True)
    name, packed = ("notes.txt.gz", gzip.compress(CONTENT))
    if not zipped:
        name, packed = "notes.txt", CONTENT
    (place / name).write_bytes(packed)
    assert originals.read_bytes(tmp_path, FILE, "tiny") == CONTENT
    assert originals.candidates(tmp_path, FILE.name) == [place / name]


def test_a_file_published_unzipped_is_read_zipped(tmp_path):
    (tmp_path / "notes.txt.gz").write_bytes(gzip.compress(CONTENT))
    file = originals.File("notes.txt", FILE.sha256)
    assert originals.read_bytes(tmp_path, file, "tiny") == CONTENT


def test_of_several_files_of_a_name_the_right_one_is_taken(tmp_path):
    for folder, content in (("fashion", b"other"), ("mnist", CONTENT)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "notes.txt").write_bytes(content)
    assert originals.read_bytes(tmp_path, FILE, "tiny") == CONTENT
    (tmp_path / "notes.txt").write_bytes(b"other")  # the folder itself goes first
    with pytest.raises(ValueError, match=r"notes\.txt is not the published file"):
        originals.read_bytes(tmp_path, FILE, "tiny")


def test_neither_too_deep_nor_hidden(tmp_path):
    for folder in (".hidden", "a/b/c/d"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "notes.txt").write_bytes(CONTENT)
    with pytest.raises(FileNotFoundError, match=r"holds no notes\.txt\.gz, zipped or"):
        originals.read_bytes(tmp_path, FILE, "tiny")


def test_refused_by_name(tmp_path):
    path = tmp_path / "notes.txt.gz"
    path.write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(ValueError, match=r"notes\.txt\.gz \(\d+ bytes\) is a damaged"):
        originals.read_bytes(tmp_path, FILE, "tiny")
    path.write_bytes(CONTENT[:-1])  # not zipped, one byte short
    with pytest.raises(ValueError) as caught:
        originals.read_bytes(tmp_path, FILE, "tiny")
    text = str(caught.value)
    assert f"{path} is not the published file of tiny" in text
    assert hashlib.sha256(CONTENT[:-1]).hexdigest() in text
    assert FILE.sha256 in text


TABLE = "name,size\nant,1\nbee,?\ncat,3\n"
SAME = [
    "name;size\r\nant;1\r\nbee;?\r\ncat;3\r\n",
    '"name";"size"\n"ant";1\n\n"bee";"?"\n"cat";3\n',
    "name,size\ncat, 3\nbee, ? \nant, 1",
]


@pytest.mark.parametrize("text", SAME)
def test_a_table_is_checked_by_its_cells(tmp_path, text):
    rows = [line.split(",") for line in TABLE.split()]
    digest = originals.digest_of_table(rows)
    file = originals.File("table.csv", digest)
    (tmp_path / "table.csv").write_text(text)
    found = originals.read_table(tmp_path, file, "tiny")
    assert found[0] == ["name", "size"]
    assert sorted(found) == sorted(rows)
    (tmp_path / "table.csv").write_text(text.replace("3", "4"))
    with pytest.raises(ValueError, match=r"table\.csv is not the published file"):
        originals.read_table(tmp_path, file, "tiny")


def archive(path, files):
    with zipfile.ZipFile(path, "w") as writer:
        for name, content in files.items():
            writer.writestr(name, content)


def test_an_archive_or_its_folder(tmp_path):
    content = {"a/1.png": b"one", "b/2.png": b"two" * 100}
    file = originals.File("pictures.zip", originals.digest_of_files(content))
    packed = tmp_path / "packed"
    packed.mkdir()
    archive(
        packed / "pictures.zip",
        {f"pictures/{name}": value for name, value in content.items()}
        | {"pictures/a/": b"", "pictures/.DS_Store": b"x", "__MACOSX/a/1.png": b"x"},
    )
    assert originals.read_archive(packed, file, "tiny") == content
    unpacked = tmp_path / "unpacked"
    for name, value in content.items():
        (unpacked / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / "pictures" / name).write_bytes(value)
    assert originals.read_archive(unpacked, file, "tiny") == content
    (unpacked / "pictures" / "a" / "1.png").unlink()
    with pytest.raises(ValueError, match="pictures is not the published file of tiny"):
        originals.read_archive(unpacked, file, "tiny")
    whole = (packed / "pictures.zip").read_bytes()
    (packed / "pictures.zip").write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=r"pictures\.zip .* incomplete zip file"):
        originals.read_archive(packed, file, "tiny")


def test_arrays(tmp_path):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "bc"])}
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays, other=np.zeros(3))
    file = originals.File("arrays.npz", "")
    with pytest.raises(ValueError) as caught:
        originals.read_arrays(tmp_path, file, "tiny", ("x", "names"))
    digest = str(caught.value).split("content is ")[1][:64]
    file = originals.File("arrays.npz", digest)
    np.savez_compressed(path, names=arrays["names"], x=arrays["x"])  # packed otherwise
    found = originals.read_arrays(tmp_path, file, "tiny", ("x", "names"))
    np.testing.assert_array_equal(found["x"], arrays["x"])
    np.savez(path, **(arrays | {"x": arrays["x"].reshape(3, 2)}))  # the same bytes
    with pytest.raises(ValueError, match=r"arrays\.npz is not the published file"):
        originals.read_arrays(tmp_path, file, "tiny", ("x", "names"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"arrays\.npz .* incomplete \.npz file"):
        originals.read_arrays(tmp_path, file, "tiny", ("x", "names"))
