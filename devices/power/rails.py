"""Which rails of a board make up the whole node, and what each rail is: the board, the module, or a part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from devices.base.errors import DeviceError
from devices.base.power import Scope
from devices.power.plausible import rated


class Total(NamedTuple):
    """Rails that add up to the whole of a scope, each watt counted once."""

    scope: Scope
    rails: tuple[str, ...]


class Board(NamedTuple):
    """A kind of Jetson.

    `pattern` finds it in a device tree's model or compatible (lower case, every other character than letters and
    digits a space). `totals` are its whole-node figures; which of them there are depends on the sensor and the carrier.
    `module_w` is the greatest power that NVIDIA states for a module of this kind, its industrial variants included.
    `shunt_uohm` are the shunt resistors in µΩ, for where the driver does not tell them.
    """

    name: str
    pattern: str
    module_w: float
    totals: tuple[Total, ...]
    shunt_uohm: Mapping[str, int] = {}


_MODULE_INPUT = (Total("module", ("VDD_IN",)),)

BOARDS = (
    Board("Jetson Nano", r"\bjetson nano\b|\bp3448\b", 10, (Total("module", ("POM_5V_IN",)),)),
    # On TX1 and TX2, VDD_MUX (in sysfs only) feeds the carrier beside the module, not through it. It is left a part, so
    # that the total is the module's on every sensor; `rails: {VDD_IN: board, VDD_MUX: board}` counts both. Source:
    # https://forums.developer.nvidia.com/t/tx2-power-rail-relationships/201037, by way of energymon's rail tables.
    Board("Jetson TX1", r"\btx1\b|\bp2180\b|\bp2371 2180\b", 15, _MODULE_INPUT),
    Board("Jetson TX2", r"\btx2i?\b(?! nx)|\bquill\b|\bp3310\b|\bp3489\b", 20, _MODULE_INPUT),
    Board("Jetson TX2 NX", r"\btx2 nx\b|\bp3636\b", 15, _MODULE_INPUT),
    Board("Jetson Xavier NX", r"\bxavier nx\b|\bp3668\b", 20, _MODULE_INPUT),
    Board(
        "Jetson AGX Xavier",
        # JetPack 4 calls it Jetson-AGX and no more.
        r"\bagx xavier\b|\bjetson agx\b(?! orin| thor)|\bjetson xavier\b(?! nx)|\bp2888\b",
        40,
        (Total("module", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")),),
    ),
    Board(
        "Jetson Orin Nano or NX",
        r"\borin (nano|nx)\b|\bp3767\b",
        40,
        _MODULE_INPUT,
        {"VDD_IN": 5000, "VDD_CPU_GPU_CV": 5000, "VDD_SOC": 5000},
    ),
    Board(
        "Jetson AGX Orin",
        r"\bagx orin\b|\bp3701\b",
        75,
        # VDDQ_VDD2_1V8AO is fed from VIN_SYS_5V0: adding it would count it twice.
        (Total("module", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),),
        {"VDD_GPU_SOC": 2000, "VDD_CPU_CV": 2000, "VIN_SYS_5V0": 2000},
    ),
    Board(
        "Jetson AGX Thor",
        r"\bthor\b|\bp3834\b|\bt[45]000\b",
        130,
        # VIN is an INA238 on the developer kit's carrier; other carriers have the module's rails alone.
        (Total("board", ("VIN",)), Total("module", ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"))),
    ),
)
"""The boards whose rails are known. Sources: NVIDIA's Jetson Linux developer guide, power monitors by module; for
`module_w` the technical specifications at https://developer.nvidia.com/embedded/jetson-modules."""

MOST_W = max(board.module_w for board in BOARDS)
"""For a board that is none of these: no Jetson is stated to draw more."""


def board_text(root: Path = Path("/")) -> str:
    """What the device tree says this board is, its model and its compatible; empty where there is none."""
    parts = []
    for name in ("model", "compatible"):
        try:
            text = (root / "proc/device-tree" / name).read_text(errors="replace")
        except OSError:
            continue
        parts += [part.strip() for part in text.split("\0") if part.strip()]
    return ", ".join(parts)


def find_board(text: str) -> Board | None:
    """The board that a model, a compatible or a name in a profile means; None if it is none of `BOARDS`."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    return next((board for board in BOARDS if re.search(board.pattern, words)), None)


def board_limit_mw(text: str) -> float:
    """What no rail of a Jetson exceeds, in mW; the greatest module's limit where the board is unknown."""
    board = find_board(text)
    return rated(1000 * (board.module_w if board else MOST_W))


def topology(model: str, found: Iterable[str], named: Mapping[str, Scope] | None = None) -> dict[str, Scope]:
    """The scope of each rail found, in their order.

    The rails of one scope other than `rail` add up to that scope. Where a board has two such sums (Thor's module, and
    its carrier's input), the widest is the node's total.

    Args:
        model: what names the board: its device tree's model or compatible, or its name, such as `Jetson AGX Orin`.
        found: the rails that the sensor shows; hwmon, iio and tegrastats use the same names.
        named: rails and scopes as a profile names them. They count instead of what is known of the board.

    Raises:
        DeviceError: the board is unknown and nothing is named, or a rail that the total needs was not found.
    """
    rails = list(found)
    seen = ", ".join(rails) or "none"
    if named:
        if missing := [rail for rail in named if rail not in rails]:
            raise DeviceError(f"no rail named {', '.join(missing)} (found: {seen}); correct `rails:` in the profile")
        if all(scope == "rail" for scope in named.values()):
            raise DeviceError(
                f"`rails:` names parts alone ({', '.join(named)}), so the node has no total; "
                "give the rails that make up the whole the scope module or board"
            )
        return {rail: named.get(rail, "rail") for rail in rails}
    board = find_board(model)
    if board is None:
        raise DeviceError(
            f"no rails are known of the board `{model or 'without a device tree'}` (found: {seen}); name those that "
            "make up the whole node in the profile, such as `rails: {VDD_IN: module}`"
        )
    scopes: dict[str, Scope] = {}
    for total in board.totals:
        if all(rail in rails for rail in total.rails):
            scopes.update(dict.fromkeys(total.rails, total.scope))
    if not scopes:
        wanted = " or ".join(" + ".join(total.rails) for total in board.totals)
        raise DeviceError(
            f"{board.name}: the whole node is {wanted}, but the rails found are: {seen}; name those that "
            "make up the whole node in the profile, such as `rails: {VDD_IN: module}`"
        )
    return {rail: scopes.get(rail, "rail") for rail in rails}
