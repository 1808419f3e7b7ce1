"""The verb that makes a model of step graphs made elsewhere: import."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.cli.console import console
from testbed.cli.options import Data, Results
from testbed.cli.progress import working
from testbed.errors import ExperimentError
from testbed.record.layout import ResultsFolder

VARIANT = "imported"


def import_pair(
    edge: Annotated[Path, typer.Argument(help="from a sample to the code, one timestep", metavar="EDGE.onnx")],
    cloud: Annotated[Path, typer.Argument(help="from the code to the logits", metavar="CLOUD.onnx")],
    recipe: Annotated[Path, typer.Option("--recipe", metavar="RECIPE.yaml", help="the recipe to write, a new file")],
    dataset: Annotated[
        str,
        typer.Option("--dataset", metavar="YAML", help="a recipe's `dataset:`; it says classes and the sample's shape"),
    ],
    timesteps: Annotated[int, typer.Option("--timesteps", min=1, help="T")],
    stem: Annotated[
        Path | None,
        typer.Option("--stem", metavar="STEM.onnx", help="from uint8 pixels to what the edge takes"),
    ] = None,
    full: Annotated[
        Path | None,
        typer.Option("--full", metavar="FULL.onnx", help="the uncompressed network; default: edge and cloud, joined"),
    ] = None,
    full_stem: Annotated[
        Path | None, typer.Option("--full-stem", metavar="STEM.onnx", help="what comes before it; default: the stem")
    ] = None,
    feature: Annotated[
        str | None,
        typer.Option("--feature", metavar="C,H,W", help="what the code stands for; default: itself"),
    ] = None,
    data: Data = None,
    results: Results = Path("results"),
) -> None:
    """Make a model of step graphs made elsewhere; an experiment names the recipe that this writes."""
    from devices import yamltext
    from testbed.record.log import write_atomically
    from testbed.runtime.artefact import load_card
    from testbed.snn.artefact import ensure

    if recipe.exists():
        raise ExperimentError(f"{recipe}: is there already; --recipe names a new file")
    given = {"edge": edge, "cloud": cloud, "stem": stem, "full": full, "full_stem": full_stem}
    folder = recipe.resolve().parent
    backbone: dict[str, Any] = {
        name: os.path.relpath(path.resolve(), folder) for name, path in given.items() if path is not None
    }
    if feature is not None:
        backbone["feature"] = _from_yaml("--feature", f"[{feature}]")
    document = {
        "name": recipe.stem,
        "dataset": _from_yaml("--dataset", dataset),
        "backbone": backbone,
        "timesteps": timesteps,
        "variants": {VARIANT: {"split": "cut"}},
    }
    write_atomically(recipe, yamltext.dump(document, flow=None, width=110).encode())
    try:
        with working("Running the graphs on the data set"):
            card = load_card(ensure(recipe, VARIANT, ResultsFolder(results).models, data))
    except BaseException as error:
        recipe.unlink()
        if isinstance(error, ExperimentError):  # the file that its places are in is gone
            raise ExperimentError(re.sub(rf"^{re.escape(str(recipe))}:\d+: ", "", str(error), flags=re.M)) from error
        raise
    accuracy = " ".join(f"{share:.4f}" for share in card.accuracy_per_timestep["split"])
    code = "x".join(map(str, card.code_shape or []))
    console.print(f"{card.name}: a code of {code} bits, {card.compression:g}x; accuracy per timestep {accuracy}")
    console.print(f"in an experiment: {{recipe: {recipe}, variant: {VARIANT}}}", highlight=False, soft_wrap=True)


def _from_yaml(option: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ExperimentError(f"{option} {text}: {' '.join(str(error).split())}") from error
