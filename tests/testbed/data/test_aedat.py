"""Recordings in AER-DAT 3.1 and 4: as the formats have them, as other programs write and read them, and damaged."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from spikingjelly.datasets import load_aedat_v3

from testbed.data.aedat3 import read_aedat3
from testbed.data.aedat4 import read_aedat4
from testbed.data.davis import read_aedat2
from testbed.data.framing import to_frames
from testbed.data.recordings import Recording, read_aedat
from testbed.errors import DataError
from tests.testbed.data.conftest import aedat_file, one_line, random_events

DV_LZ4 = (
    r"c-"
    r"q}m!EVz)5FJ`K6st``p=wYIGE0sSJEaE>NpMI)iAspnTCJg6tauw%G+t}Hj#N$+Cq4rqzJODYd;%Q#1Fp~?VC*JUNQ{Uo4izhncV"
    r"<2F-"
    r"tNxq+__z;Z{4d^to6JxuUazzSpaCXp41^8D%uLn!7OS3mryb&#T1;4Rg5XRJ*`JYz_?c;Yk7l|RSiec<1W=ar%OwOhqB@AbE5f<d"
    r"{rWP-`4xCqwdC-qcQ9nyE{?}?KM3tkv8x8f(8*k(d40z0D%<D>yYx(7wbhm^88~k7p%iP=b*{m@PIx;`caG~_jnc8g|jP|q+&wAR"
    r"w(^YCIQkO^<?lDm?)%1gSKG4OgLCI3?%Prt|OiJkH%xV`~;{C7wOqPqhb`azGH1C0t}^wC8g2O*+@1MxC8cv+5<}FNm9O_n4E;L="
    r"f8&;lZ5e5w8yT#wqqwAP>)VHREwkb&;=C6PG9(sY7?hU2jB7qtWImIv2m{IEKF3L|EgXFdQo?KWp&Ue+b9ZYW=-"
    r"?6h3bj=vfoUjHwTcy7OOziR}}?*PJ?+Xn^Pn6W*q&!nt>0~uoAc6FB=&sq~L}I<ajd!M^|7uUOykz`_?Jd94y7r@3xU@0j|Z6{w`"
    r"82!d0ZQ_mFA{7S5>p6d|f#KjP;)%44hY2pvw8Arh1+6gvk$a8AP-"
    r"QYq-Y3OPs{@b+}W-)81vQMnACV6Y*3Zx*JO;b9u?nxL$BCJ-<mz|ryM;BEkZ0R*13F#"
)
DV_ZSTD = (
    r"c-"
    r"m7|baV~Ub#V+a(KF!X3SnhnkYHe7@bvd^WdH*%AfJVShk*mgVqjnfVgVr5WMhB>IiMb!lrn{~)S}|d{5)GFBRvBpJ1zwvu*u6$Nm"
    r"a;8%uTgb$}cVP%uCBxQYc6)$*@(@hw}BIO3{@YU??;|Rti?0SW;4?keym-tCXCdTTql*46<KIp`@|^Xh3mEQD$Dcl3i4Ah>MLrNG"
    r"VR;`9+!OnR$shzWFJoIjMd?`_T>Y&Ckns28tIYh8Ja)q!tlrpnqveL1_s#15?XV^Gb>d7z5Jcl3JWxlvz-"
    r"M#b?f?#U=T<3Mq*tiC`Ipe6V$TM40NC0<=CeEi<(U-B8!CkYKC^AjM54ws<tq&qRw(EOr-XR;5P3tjx?SQL-"
    r"~O!Dbs4ZIP(j42aQ|Us{xm5%ex$5m-"
    r"H_5Aq>WVnpX71%M%j?+u4j;sjFZ>A>7P2$N?>kf%FY$<vUi<Vmdr17q9hr<B=oLCVQUAlBHb|5qWQm5E^sa}2a71!Xt}1~y;;%fb"
    r"LERaqDu<RnzMWEoyKGc!mtFam`xxU(@xGVJi?WDp1Q*%_SA3TW{dTsU)Z#{pC4muGrGq6|@R3woItzTmcCfj`IsHejJH%Fq$a&ma"
    r"sov>;rFL69LLT9knw%x6QgWP(+3GT7u5vdj!gu7a`)G}kiPhs_TU-E-`=UU=TBYxBQv|NM0O+ij}m7d77-"
    r"Y!#Yx=(uF_iHr9VvosY>Kj~e(CLxPWXwmJdv*U$7$nkI=xvb2{&5&^5!b`;^2YELbaWKW0E>QJbd8jI+P4@>A02o-`d;"
)
"""Recordings of a sensor of 34 columns and 30 rows that dv-processing 2.0.4 wrote (zlib, base 85): two packets of four
events with t = 1.7e15 + 1000 n, x = 3 n, y = 29 - 2 n and p = n mod 2."""

HEADER_3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def packet_3(
    t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, *, kind: int = 1, overflow: int = 0, valid: int = 1
) -> bytes:
    data = np.stack([x << 17 | y << 2 | p << 1 | valid, t], axis=1).astype("<u4").tobytes()
    return struct.pack("<HHIIIIII", kind, 1, 8, 4, overflow, len(t), len(t), len(t) * valid) + data


EVENT = np.dtype(
    {"names": list("txyp"), "formats": ["<i8", "<i2", "<i2", "u1"], "offsets": [0, 8, 10, 12], "itemsize": 16}
)


def packet_4(
    t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, compression: str | None, stream: int = 0
) -> bytes:
    """A packet of events: the Flatbuffer of a table with one field, a vector of structs."""
    events = np.zeros(len(t), EVENT)
    for name, values in zip("txyp", (t, x, y, p), strict=True):
        events[name] = values
    # Root and name; the table's fields at 12; the table at 20 with its way back to them, and to the vector at 28.
    table = struct.pack("<I4sI3HHiI", 20, b"EVTS", 0, 6, 8, 4, 0, 8, 4) + struct.pack("<I", len(t)) + events.tobytes()
    body = struct.pack("<I", len(table)) + table
    if compression is not None:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, compression) as stream_out:
            stream_out.write(body)
        body = sink.getvalue().to_pybytes()
    return struct.pack("<ii", stream, len(body)) + body


def file_4(*packets: bytes, compression: int = 1, end: int = -1, fields: int = 8) -> bytes:
    """A recording; `end` is where its packets end, if that is said; `fields` the way back to the header's fields."""
    table = (
        struct.pack("<I4s", 20, b"IOHE")
        + struct.pack("<I4H", 0, 8, 16, 12, 4)
        + struct.pack("<iqi", fields, end, compression)
    )
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(table)) + table + b"".join(packets)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "a.aedat"
    path.write_bytes(content)
    return path


def test_a_3_1_recording_is_read_as_spikingjelly_reads_it_over_packets_and_an_overflow(tmp_path):
    first, second = random_events(1, 50, 128, 128), random_events(2, 30, 128, 128)
    special = packet_3(*random_events(3, 5, 2, 2), kind=0)
    path = written(tmp_path, HEADER_3 + packet_3(*first) + special + packet_3(*second, overflow=1))
    found, theirs = read_aedat3(path), load_aedat_v3(path)
    for name in "txyp":
        np.testing.assert_array_equal(getattr(found, name), theirs[name])
    assert found.t[50] == second[0][0] + (1 << 31)
    size = len(HEADER_3)
    assert found.offset[0] == size + 28
    assert found.offset[50] == size + 28 + 400 + 28 + 40 + 28


def test_events_that_a_3_1_recording_marks_as_invalid_are_left_out_and_counted(tmp_path):
    good, bad = random_events(1, 6, 9, 9), random_events(2, 3, 9, 9)
    found = read_aedat3(written(tmp_path, HEADER_3 + packet_3(*bad, valid=0) + packet_3(*good)))
    assert (len(found), found.no_pixel) == (6, 3)


@pytest.mark.parametrize("packed", [DV_LZ4, DV_ZSTD], ids=["lz4", "zstd"])
def test_a_4_0_recording_of_another_program_is_read(tmp_path, packed):
    found = read_aedat4(written(tmp_path, zlib.decompress(base64.b85decode(packed))))
    number = np.arange(8)
    np.testing.assert_array_equal(found.t, 1_700_000_000_000_000 + 1000 * number)
    np.testing.assert_array_equal(found.x, 3 * number)
    np.testing.assert_array_equal(found.y, 29 - 2 * number)
    np.testing.assert_array_equal(found.p, number % 2)
    assert to_frames(found, (30, 34), 2, "number", (30, 34)).sum((1, 2, 3)).tolist() == [4, 4]


@pytest.mark.parametrize(("number", "compression"), [(0, None), (1, "lz4"), (3, "zstd")])
def test_a_4_0_recording_is_read_however_it_is_compressed(tmp_path, number, compression):
    first, second = random_events(1, 50, 300, 200), random_events(2, 30, 300, 200)
    packets = packet_4(*first, compression), packet_4(*second, compression)
    found = read_aedat4(written(tmp_path, file_4(*packets, compression=number)))
    assert len(found) == 80
    order = np.argsort(np.concatenate([first[0], second[0]]), kind="stable")
    for place, name in enumerate("txyp"):
        np.testing.assert_array_equal(getattr(found, name), np.concatenate([first[place], second[place]])[order])


A, B = random_events(1, 5, 9, 9), random_events(2, 5, 9, 9)
PLACE_4 = len(file_4())


@pytest.mark.parametrize(
    ("read", "content", "said"),
    [
        (read_aedat3, b"#!AER-DAT2.0\r\n", "at byte 0 begins no AER-DAT 3.1"),
        (read_aedat3, b"#!AER-DAT3.1\r\n#Source", "has no #!END-HEADER up to byte 14"),
        (read_aedat3, HEADER_3, "holds no polarity events"),
        (read_aedat3, HEADER_3 + packet_3(*A)[:20], f"header of a packet is cut short at byte {len(HEADER_3)}"),
        (
            read_aedat3,
            HEADER_3 + packet_3(*A)[:-1],
            f"packet at byte {len(HEADER_3)} has 40 bytes, of which 39 are there",
        ),
        (read_aedat3, HEADER_3 + packet_3(*A, kind=0x8001), f"packet at byte {len(HEADER_3)} is compressed"),
        (read_aedat4, b"", "at byte 0 begins no AER-DAT 4.0"),
        (read_aedat4, file_4()[:30], "header at byte 14 is cut short or damaged"),
        (read_aedat4, file_4(fields=30), "header at byte 14 is cut short or damaged: it leads to byte -10 of its 36"),
        (read_aedat4, file_4(compression=9), "names a compression 9"),
        (read_aedat4, file_4(end=10_000), f"packets lie from byte {PLACE_4} to 10000 of {PLACE_4}"),
        (read_aedat4, file_4(), "holds no events"),
        (read_aedat4, file_4(packet_4(*A, "lz4"))[:-1], f"packet at byte {PLACE_4} has"),
        (read_aedat4, file_4(packet_4(*A, "lz4"))[: PLACE_4 + 5], f"header of a packet is cut short at byte {PLACE_4}"),
        (read_aedat4, file_4(packet_4(*A, None)), f"packet at byte {PLACE_4} is damaged"),
        (read_aedat4, file_4(packet_4(*A, "lz4"), packet_4(*B, "lz4", stream=1)), "begins a second stream of events"),
    ],
)
def test_what_is_cut_short_damaged_or_another_format_is_one_line_with_the_byte(
    tmp_path: Path, read: Callable[[Path], Recording], content: bytes, said: str
) -> None:
    path = written(tmp_path, content)
    text = one_line(lambda: read(path))
    assert text.startswith(str(path))
    assert said in text


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (read_aedat3, HEADER_3 + packet_3(*A) + packet_3(*B)),
        (read_aedat4, file_4(packet_4(*A, "lz4"), packet_4(*B, "lz4"))),
        (read_aedat4, file_4(packet_4(*A, None), packet_4(*B, None), compression=0)),
    ],
    ids=["3.1", "4 lz4", "4"],
)
def test_no_flipped_or_missing_byte_ends_in_a_crash(tmp_path: Path, read, content: bytes) -> None:
    rng = np.random.default_rng(0)
    said = 0
    for number in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= rng.integers(1, 256)
        path = written(tmp_path, bytes(damaged) if number % 2 else content[: rng.integers(len(content))])
        said += bool(one_line(lambda: read(path)))  # noqa: B023  (called at once)
    assert said > 100


def test_times_that_go_back_are_put_in_order_and_the_first_of_them_is_named(tmp_path):
    t, x, y, p = (np.array(column) for column in ([5, 9, 7, 8], [1, 2, 3, 4], [0, 0, 0, 0], [1, 1, 1, 1]))
    found = read_aedat3(written(tmp_path, HEADER_3 + packet_3(t, x, y, p)))
    assert (found.unordered, found.went_back) == (True, len(HEADER_3) + 28 + 2 * 8)
    assert found.x.tolist() == [1, 3, 4, 2]


def test_the_first_event_beside_the_sensor_is_named_with_its_byte(tmp_path):
    t, x, y, p = (np.array(column) for column in ([5, 9, 7], [1, 30, 2], [0, 0, 20], [1, 1, 1]))
    found = read_aedat3(written(tmp_path, HEADER_3 + packet_3(t, x, y, p)))
    with pytest.raises(DataError, match=rf"^2 events .* at byte {len(HEADER_3) + 28 + 8} with x=30, y=0$"):
        to_frames(found, (20, 30), 1, "time", 8)


DAVIS = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis346blue\r\n#End Of ASCII Header\r\n"


def davis(*addresses: int) -> bytes:
    return DAVIS + np.array([(address, 7 + n) for n, address in enumerate(addresses)]).astype(">u4").tobytes()


def test_a_2_0_recording_of_a_davis_has_its_own_addresses_and_what_is_no_pixel_is_counted(tmp_path):
    pixel = 259 << 22 | 345 << 12 | 1 << 11
    found = read_aedat2(written(tmp_path, davis(pixel, 1 << 31, pixel ^ 1 << 11, 1 << 10)))
    assert found.x.tolist() == [345, 345]
    assert found.y.tolist() == [259, 259]
    assert found.p.tolist() == [1, 0]
    assert found.t.tolist() == [7, 9]
    assert found.offset.tolist() == [len(DAVIS), len(DAVIS) + 16]
    assert found.no_pixel == 2


def test_a_2_0_recording_that_names_no_davis_is_of_a_dvs128(tmp_path):
    path = written(tmp_path, aedat_file(3))
    np.testing.assert_array_equal(read_aedat2(path).x, read_aedat(path).x)
    assert "holds no events of pixels" in one_line(lambda: read_aedat2(written(tmp_path, davis(1 << 31))))
    assert "cut short at byte" in one_line(lambda: read_aedat2(written(tmp_path, davis(1 << 31)[:-1])))
