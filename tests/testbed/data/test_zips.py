"""Zips as they come: names in every encoding, and one line for each that cannot be read."""

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from testbed.data.datasets import DatasetSpec, load
from testbed.data.files import IMAGE_SUFFIXES, contents, list_files
from testbed.errors import DataError
from tests.testbed.data.conftest import one_line

NAMES = ("cat/a.jpg", "cat/b.jpg", "dog/a.jpg", "dog/b.jpg")


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (180, 60, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


def placeholder(number: int, name: bytes) -> str:
    return chr(ord("A") + number) * len(name)


def packed(path: Path, names=NAMES, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of images; a name as bytes is written as it is, without the mark of UTF-8."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for number, name in enumerate(names):
            archive.writestr(placeholder(number, name) if isinstance(name, bytes) else name, jpeg())
    content = path.read_bytes()
    for number, name in enumerate(names):
        if isinstance(name, bytes):
            content = content.replace(placeholder(number, name).encode(), name)
    path.write_bytes(content)
    return path


def patched(path: Path, local: int, central: int, value: bytes) -> Path:
    """Overwrite a field of every member, in its own header and in the directory."""
    raw = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = 0
        while (at := raw.find(mark, at)) >= 0:
            raw[at + offset : at + offset + len(value)] = value
            at += 4
    path.write_bytes(raw)
    return path


def read_all(path: Path) -> list[tuple[str, bytes]]:
    return list(contents(list_files(path, IMAGE_SUFFIXES)))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_compression_that_python_has_is_read(tmp_path, compression):
    assert [content for _, content in read_all(packed(tmp_path / "a.zip", compression=compression))] == [jpeg()] * 4


@pytest.mark.parametrize("above", ["", "data\\set\\"])
def test_backslashes_part_folders_as_slashes_do(tmp_path, above):
    names = [(above + name.replace("/", "\\")).encode() for name in NAMES]
    listing = list_files(packed(tmp_path / "a.zip", names), IMAGE_SUFFIXES)
    assert listing.classes == ("cat", "dog")
    assert [name[-9:] for name in listing.names] == list(NAMES)
    assert [content for _, content in contents(listing)] == [jpeg()] * 4


def test_a_backslash_beside_slashes_is_part_of_a_name(tmp_path):
    listing = list_files(packed(tmp_path / "a.zip", [*NAMES, b"cat/odd\\name.jpg"]), IMAGE_SUFFIXES)
    assert "cat/odd\\name.jpg" in listing.names


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_class_names_that_the_zip_does_not_mark_are_read_as_what_they_are_and_said(tmp_path, encoding):
    names = [f"{label}/{number}.jpg".encode(encoding) for label in ("Käfer", "Bär") for number in range(4)]
    listing = list_files(packed(tmp_path / "a.zip", names), IMAGE_SUFFIXES)
    assert listing.classes == ("Bär", "Käfer")
    assert len(list(contents(listing))) == 8
    said = "UTF-8" if encoding == "utf-8" else "code page 437"
    assert listing.notes == (f"8 names read as {said}, of which the zip says nothing",)
    assert said in load(DatasetSpec(name="image_folder", image_size=8), tmp_path / "a.zip").variant


def test_names_marked_as_utf_8_are_read_without_a_word(tmp_path):
    names = [name.replace("cat", "猫").replace("dog", "犬") for name in NAMES]
    listing = list_files(packed(tmp_path / "a.zip", names), IMAGE_SUFFIXES)
    assert listing.classes == ("犬", "猫")
    assert listing.notes == ()


@pytest.mark.parametrize("encoding", ["gbk", "cp932", "euc-kr", "cp1251", "cp1252", "cp866"])
def test_a_class_name_in_another_encoding_is_refused_with_what_to_do(tmp_path, encoding):
    label = {"gbk": "汽车", "cp932": "ねこ", "euc-kr": "고양이", "cp1251": "Кот", "cp1252": "Bär", "cp866": "КОТ"}[
        encoding
    ]
    names = [name.replace("dog", label).encode(encoding) for name in NAMES]
    with pytest.raises(DataError, match="neither UTF-8 nor code page 437; pack it with names in UTF-8, or unpack it"):
        list_files(packed(tmp_path / "a.zip", names), IMAGE_SUFFIXES)


def test_a_file_name_in_another_encoding_is_said(tmp_path):
    listing = list_files(packed(tmp_path / "a.zip", [*NAMES, "cat/汽车.jpg".encode("gbk")]), IMAGE_SUFFIXES)
    assert listing.classes == ("cat", "dog")
    assert listing.notes == ("1 names read as code page 437, of which the zip says nothing",)


@pytest.mark.parametrize(("of", "label"), [("this name", "käfer"), ("another name", "k?fer")])
def test_the_unicode_path_of_info_zip_is_the_name_if_it_is_of_this_name(tmp_path, of, label):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES:
            info = zipfile.ZipInfo(name.replace("cat", "k?fer"))
            crc = zlib.crc32(info.filename.encode() if of == "this name" else b"cat/renamed.jpg")
            field = b"\1" + struct.pack("<I", crc) + name.replace("cat", "käfer").encode()
            info.extra = struct.pack("<HH", 0x7075, len(field)) + field
            archive.writestr(info, jpeg())
    listing = list_files(path, IMAGE_SUFFIXES)
    assert listing.classes == ("dog", label)
    assert listing.notes == ()


def test_renamed_members_are_prepared_under_another_hash(tmp_path):
    path = packed(tmp_path / "a.zip", [name.replace("/", "\\").encode() for name in NAMES])
    stat = path.stat()
    renamed = list_files(path, IMAGE_SUFFIXES)
    path.write_bytes(path.read_bytes().replace(b"\\", b"/"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    plain = list_files(path, IMAGE_SUFFIXES)
    assert renamed.names == plain.names
    assert renamed.digest != plain.digest


def test_what_macos_leaves_and_folders_are_no_samples(tmp_path):
    path = packed(tmp_path / "a.zip", [*NAMES, "__MACOSX/cat/._a.jpg", "cat/._b.jpg", ".git/cat/a.jpg"])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("dog/folder.jpg/", b"")
        archive.writestr("dog/folder.tiff/", b"")
    listing = list_files(path, IMAGE_SUFFIXES)
    assert (listing.names, listing.notes) == (NAMES, ())


def test_an_encrypted_zip_is_named_with_what_to_do(tmp_path):
    path = patched(packed(tmp_path / "a.zip"), 6, 8, b"\1\0")
    with pytest.raises(DataError, match=r"a\.zip: cat/a\.jpg is encrypted: unpack the zip with its password"):
        list_files(path, IMAGE_SUFFIXES)


@pytest.mark.parametrize(("method", "said"), [(9, "Deflate64"), (95, "XZ"), (98, "PPMd"), (77, "method 77")])
def test_a_compression_that_python_lacks_is_named_with_what_to_do(tmp_path, method, said):
    path = patched(packed(tmp_path / "a.zip"), 8, 10, struct.pack("<H", method))
    with pytest.raises(DataError, match=f"compressed by {said}, which cannot be read here; unpack it and name the fol"):
        list_files(path, IMAGE_SUFFIXES)


def test_a_member_too_large_for_a_sample_and_a_link_are_refused(tmp_path):
    path = patched(packed(tmp_path / "a.zip"), 22, 24, struct.pack("<I", (1 << 32) - 2))
    with pytest.raises(DataError, match="4,294,967,294 bytes are too many for one sample"):
        list_files(path, IMAGE_SUFFIXES)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name in NAMES:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, b"../elsewhere.jpg")
    with pytest.raises(DataError, match="is a link, not a file"):
        list_files(tmp_path / "b.zip", IMAGE_SUFFIXES)


def test_a_wrong_crc_and_a_zip_cut_short_are_one_line(tmp_path):
    path = packed(tmp_path / "a.zip")
    whole = path.read_bytes()
    patched(path, 14, 16, b"\1\2\3\4")
    with pytest.raises(DataError, match=r"a\.zip: cat/a\.jpg is damaged: Bad CRC-32"):
        read_all(path)
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="not a zip file, or one cut short"):
        read_all(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_damage_to_a_zip_gives_its_files_or_one_line(tmp_path_factory, compression, data):
    path = packed(tmp_path_factory.mktemp("zip") / "a.zip", compression=compression)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    assert one_line(lambda: read_all(path)).startswith(str(path)) or read_all(path)


def test_what_is_no_zip_or_has_a_damaged_directory_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"7z\xbc\xaf\x27\x1c" + np.arange(90, dtype=np.uint8).tobytes())
    with pytest.raises(DataError, match=r"a\.zip: not a zip file"):
        list_files(tmp_path / "a.zip", IMAGE_SUFFIXES)
    path = packed(tmp_path / "b.zip", [name.replace("cat", "Kä").encode("latin-1") for name in NAMES])
    patched(path, 6, 8, b"\0\x08")  # says that these names are UTF-8
    with pytest.raises(DataError, match=r"b\.zip: the zip's directory cannot be read: 'utf-8' codec can't decode"):
        list_files(path, IMAGE_SUFFIXES)
