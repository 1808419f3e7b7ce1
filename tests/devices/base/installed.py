"""A package as pip leaves it in a folder of the path: modules beside a dist-info with entry points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path, name: str, entry_points: Mapping[str, str], modules: Mapping[str, str], version: str = "1.0"
) -> None:
    """Write the distribution `name` into `site`.

    Args:
        site: a folder that is, or will be, on `sys.path`.
        name: of the distribution.
        entry_points: group → lines `NAME = module:object`.
        modules: file name → source.
        version: of the distribution.
    """
    site.mkdir(parents=True, exist_ok=True)
    for file, source in modules.items():
        (site / file).write_text(source)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[{group}]\n{points}\n" for group, points in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
