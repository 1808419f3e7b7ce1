"""A network of one's own as the backbone that is trained, cut and exported."""

from __future__ import annotations

from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from spikingjelly.activation_based import base, functional, layer, neuron
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from testbed.data.size import Size
from testbed.errors import DataError, ModelError
from testbed.snn.backbones import Backbone
from testbed.snn.own_spec import FileHere, OwnSpec
from testbed.snn.survey import segments_of, survey


def own_backbone(spec: OwnSpec, classes: int, channels: int, image_size: Size, weights: FileHere | None) -> Backbone:
    """The user's network, with these weights or with those that its function gave it.

    Layers without state see all timesteps at once, as SpikingJelly's do. A module of the user's own that has neurons
    in it is run timestep by timestep, for which it was written.

    Raises:
        TestbedError: it cannot be built, run or deployed, has other outputs than classes, or the weights are not its.
    """
    segments = segments_of(spec, classes, channels, image_size)
    found = survey(segments, str(spec.function), channels, image_size)
    if found.outputs != classes:
        raise DataError(f"{spec.function}: {found.outputs} logits, but the data set has {classes} classes")
    if weights is not None:
        _load(segments, weights)
    modules = {name: segments.get_submodule(name) for pair in found.folds for name in pair}
    stem, parts = _without_stem(dict(segments.items()))
    *names, head = parts
    backbone = Backbone(
        _over_time(stem), {name: _over_time(parts[name]) for name in names}, _over_time(parts[head]), stem_of=names[0]
    )
    functional.set_step_mode(backbone, "m")
    now = {module: name for name, module in backbone.named_modules()}
    backbone.folds = [(now[modules[weighted]], now[modules[norm]]) for weighted, norm in found.folds]
    return backbone


def _load(segments: nn.ModuleDict, weights: FileHere) -> None:
    try:
        segments.load_state_dict(load_file(weights.path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{weights.path}: cannot be read: {error}") from error
    except RuntimeError as error:  # its first line says nothing, each further one a tensor
        reason = " ".join((str(error).splitlines() * 2)[1].split())
        raise ModelError(f"{weights.path}: not the weights of this network: {reason}") from error


def _without_stem(segments: dict[str, nn.Module]) -> tuple[nn.Module, dict[str, nn.Module]]:
    """The layers before the first neuron, which a still image passes once, and the segments without them."""
    name, first = next(iter(segments.items()))
    if type(first) is not nn.Sequential:
        return nn.Identity(), segments
    layers = list(first)
    count = next((number for number, one in enumerate(layers) if _has_state(one)), len(layers))
    return nn.Sequential(*layers[:count]), {**segments, name: nn.Sequential(*layers[count:])}


def _has_state(module: nn.Module) -> bool:
    return any(isinstance(one, base.MemoryModule) for one in module.modules())


def _over_time(module: nn.Module) -> nn.Module:
    """A module that takes all timesteps [T, N, …] in step mode `m`, and one [N, …] in `s`."""
    if type(module) is nn.Sequential:
        return nn.Sequential(*map(_over_time, module))
    takes_time = isinstance(module, base.StepModule) and not list(module.children())
    if takes_time or isinstance(module, base.MemoryModule):
        return module
    functional.set_step_mode(module, "s")
    return cast(nn.Module, layer.StepModeContainer(_has_state(module), "s", module))


def settle(backbone: Backbone) -> None:
    """Fold the batch norms that `folds` names, and leave nothing that only training needs, in place.

    A ParametricLIFNode becomes the LIFNode that it has learned to be: its time constant no longer goes through a
    sigmoid, which processors round differently.
    """
    for weighted, norm in backbone.folds:
        fed, after = backbone.get_submodule(weighted), cast(Any, backbone.get_submodule(norm))
        if isinstance(fed, nn.Linear):
            fused: nn.Module = fuse_linear_bn_eval(fed, after)
        else:
            fused = fuse_conv_bn_eval(cast(Any, fed), after, transpose=isinstance(fed, _ConvTransposeNd))
        backbone.set_submodule(weighted, fused)
        backbone.set_submodule(norm, nn.Identity())
    backbone.folds = []
    for name, module in list(backbone.named_modules()):
        if isinstance(module, layer.Dropout):
            backbone.set_submodule(name, nn.Identity())
        elif isinstance(module, neuron.ParametricLIFNode):
            backbone.set_submodule(name, _learned(module))


def _learned(node: Any) -> neuron.LIFNode:
    return neuron.LIFNode(
        tau=1.0 / node.w.sigmoid().item(),
        decay_input=node.decay_input,
        v_threshold=node.v_threshold,
        v_reset=node.v_reset,
        surrogate_function=node.surrogate_function,
        detach_reset=node.detach_reset,
        step_mode=node.step_mode,
    )
