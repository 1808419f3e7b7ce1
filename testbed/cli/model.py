"""Verbs that make and weigh models: train, evaluate, calibrate."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from testbed.cli.console import EXIT_ABORTED, complain, console, hush, note, print_rows
from testbed.cli.options import Data, ExitAccumulate, ExitPolicy, Plugins, RecipeFile, Results, check_exit
from testbed.cli.progress import answering, training
from testbed.errors import ModelError
from testbed.record.layout import ResultsFolder
from testbed.snn.architecture import Weights


def train(
    recipe: RecipeFile,
    data: Data = None,
    results: Results = Path("results"),
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="train, though weights ship with the recipe or it was trained; goes on if interrupted"
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="end by then, after a whole epoch; the same command goes on", show_default=False),
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu")] = "auto",
    devices: Annotated[int, typer.Option(help="processes on each node; 0: every GPU, or one on a CPU")] = 0,
    nodes: Annotated[int, typer.Option(help="nodes that train together, under torchrun or Slurm")] = 1,
    no_export: Annotated[
        bool, typer.Option("--no-export", help="keep the weights alone; step graphs are exported when first needed")
    ] = False,
) -> None:
    """Train a recipe and export its step graphs; goes on where an interrupted training stopped."""
    from testbed.runtime.artefact import load_card
    from testbed.snn.artefact import train as run_training
    from testbed.snn.budget import Budget, OutOfTimeError
    from testbed.snn.processes import Hardware, is_first_process
    from testbed.snn.recipe import describe, load_recipe
    from testbed.snn.share import shares
    from testbed.snn.trained import weights_of

    budget = Budget(minutes)
    console.quiet = not is_first_process()
    hush(console.quiet)
    spec, models = load_recipe(recipe), ResultsFolder(results).models
    for line in describe(spec, shares(spec).variants):
        console.print(line, highlight=False)
    with training() as report:
        hardware = Hardware(accelerator, devices or "auto", nodes)
        try:
            folders = run_training(
                recipe,
                models,
                data,
                report,
                retrain=retrain,
                hardware=hardware,
                export_graphs=not no_export,
                budget=budget,
            )
        except OutOfTimeError as error:
            if is_first_process():
                complain(str(error), style="red")
            raise typer.Exit(EXIT_ABORTED) from None
        except KeyboardInterrupt:
            if is_first_process():
                complain("interrupted; the same command goes on from the last whole epoch", style="red")
            raise typer.Exit(EXIT_ABORTED) from None
    if not folders:
        console.print(f"weights: {weights_of(recipe, spec, models)}", highlight=False, soft_wrap=True)
        return
    table = Table("artefact", "split", "code", "compression", "accuracy per timestep (whole | split)", box=None)
    for folder in folders:
        card = load_card(folder)
        per_step = [" ".join(f"{value:.4f}" for value in values) for values in card.accuracy_per_timestep.values()]
        code = "x".join(map(str, card.code_shape or []))
        compression = "" if card.compression is None else f"{card.compression:g}x"
        table.add_row(str(folder), card.split, code, compression, " | ".join(per_step))
    console.print(table)


def splits(recipe: RecipeFile) -> None:
    """List where a recipe's network can be cut: what crosses there, and how much of the arithmetic the edge has."""
    from testbed.snn.recipe import describe, load_recipe
    from testbed.snn.share import shares

    spec = load_recipe(recipe)
    found = shares(spec)
    rows = []
    for split, feature in spec.features.items():
        carries = spec.backbone.carries_current(split)
        crosses = "a bottleneck's code" if carries else "spikes, or a bottleneck's code"
        share = f"{100 * found.splits[split]:.1f}" if split in found.splits else ""
        rows.append([split, "x".join(map(str, feature)), str(prod(feature)), share, crosses])
    print_rows(["split", "spikes CxHxW", "bits per timestep", "edge's share [%]", "what may cross"], rows)
    for line in describe(spec, found.variants):
        console.print(line, highlight=False, soft_wrap=True)


def evaluate(
    recipes: Annotated[list[Path], typer.Argument(help="experiments/train/*.yaml, trained", metavar="RECIPE.yaml...")],
    data: Data = None,
    results: Results = Path("results"),
    drop: Annotated[
        float, typer.Option(min=0, max=100, help="points of accuracy that an exit may lose on validation samples")
    ] = 0.5,
    exits: Annotated[
        list[float] | None,
        typer.Option("--exit", min=0, max=1, metavar="α", help="a threshold, in place of one from validation samples"),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="the int8 form too, beside the float one")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="write models.csv, models.md and the rate-accuracy figure here"),
    ] = None,
) -> None:
    """Print what trained recipes reach on the test set: accuracy, exits and bytes of every variant, without nodes.

    What networks answered is kept: where it was stopped, it goes on.
    """
    from analysis.figures.look import DEFAULT_LOOK
    from analysis.figures.of_models import publish_models
    from testbed.snn.artefact import trained_variants
    from testbed.snn.evaluate import evaluate as run_evaluation
    from testbed.snn.evaluation import table, write_rows
    from testbed.snn.recipe import load_recipe

    _tell_exits(recipes, exits or ())
    forms: tuple[Weights, ...] = ("float", "int8") if int8 else ("float",)
    rows = []
    for recipe in recipes:
        with answering() as report:
            rows += run_evaluation(recipe, ResultsFolder(results).models, data, drop, forms, report, exits or ())
        trained = trained_variants(recipe, ResultsFolder(results).models)
        if left_out := [name for name in load_recipe(recipe).variants if name not in trained]:
            note(f"{recipe}: not trained yet and left out: {', '.join(left_out)}")
    print_rows(*table(rows))
    if out is not None:
        paths = write_rows(rows, out)
        if any(row.kind == "bottleneck" for row in rows):
            paths += publish_models(out, DEFAULT_LOOK)
        for path in paths:
            console.print(str(path), highlight=False)


def _tell_exits(recipes: Sequence[Path], exits: Sequence[float]) -> None:
    """Say which of the recipes have no exit; they stand beside the others for comparison.

    Raises:
        ModelError: none of them has one, so that nothing of what was asked can be answered.
    """
    from testbed.snn.recipe import load_recipe

    without = [recipe for recipe in recipes if not load_recipe(recipe).spiking] if exits else []
    said = f"{', '.join(map(str, without))}: a relu network answers once, so it has no exit"
    if without and len(without) == len(recipes):
        raise ModelError(f"{said}; leave --exit out")
    if without:
        note(f"{said}; its rows are without one")


def calibrate(
    recipe: RecipeFile,
    variant: Annotated[str, typer.Argument(help="one of the recipe's variants", metavar="VARIANT")],
    drop: Annotated[
        float, typer.Option(min=0, max=100, metavar="POINTS", help="accuracy that an exit may cost, against all T")
    ],
    policy: ExitPolicy = "max_softmax",
    accumulate: ExitAccumulate = "mean",
    per_timestep: Annotated[bool, typer.Option("--per-timestep", help="an α for each timestep but the last")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="the uncompressed backbone, for edge_only cells, not the split network")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="the form with 8-bit weights")] = False,
    plugins: Plugins = None,
    data: Data = None,
    results: Results = Path("results"),
) -> None:
    """Choose an exit's α on validation data: the earliest mean exit for an allowed accuracy drop."""
    from testbed.snn.artefact import ensure
    from testbed.snn.calibrate import Settings, calibration_rows, exit_block
    from testbed.snn.calibrate import calibrate as run_calibration

    check_exit(policy, accumulate)
    settings = Settings(
        network="full" if full else "split",
        drop=drop,
        policy=policy,
        accumulate=accumulate,  # type: ignore[arg-type]
        per_timestep=per_timestep,
    )
    with answering() as report:
        weights: Weights = "int8" if int8 else "float"
        ensure(recipe, variant, ResultsFolder(results).models, data, weights)
        found = run_calibration(recipe, variant, ResultsFolder(results).models, data, settings, weights, report)
    print_rows(*calibration_rows(found))
    kept = found.validation
    console.print(
        f"{kept.samples} validation samples of {kept.dataset}; the test set was not used. Drops in points with "
        f"their interval ({found.interval}), which does not cover that α was chosen on these samples.",
        highlight=False,
    )
    console.print(exit_block(found), highlight=False, markup=False, soft_wrap=True)
