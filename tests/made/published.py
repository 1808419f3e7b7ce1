"""Published latencies of networks on boards that are emulated, none of which the profiles were made with.

MACs, bytes and layers are counted as `testbed.snn.graphwork` counts them, in float32 at batch 1, 224 x 224 where
nothing else is said, with a bias in each layer. ResNets, ResNeXt and MobileNetV2 are torchvision's, the others are
written down from their papers and repositories. The MACs are what these publish: half of 26.8 and 73.8 GFLOP of YOLOX-S
and M, half of 6.5, 21.5, 68.0 and 86.9 of YOLO11n, s, m and l; 0.57 GMAC of MobileNetV1, 395.8 of FCN-R50.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import devices
from devices.profile import Profile, load_profile
from devices.timemodel import Roofline, Work

QUICKSTART_STEP = Work(macs=77_858_048, bytes=8_177_232, layers=20)
"""A timestep of the quickstart's network, `full_step.onnx`."""
FULL_WIDTH = Work(macs=2_216_382_464, bytes=64_361_280, layers=21)
"""A request of the spiking ResNet-18 at full width, T=4, in one call, `full.onnx`."""

NETWORKS = {
    "MobileNetV1": Work(macs=568_740_352, bytes=57_635_136, layers=28),
    "MobileNetV2": Work(macs=300_774_272, bytes=67_736_512, layers=53),
    "ResNet-34, 256 x 256": Work(macs=4_785_164_288, bytes=124_649_280, layers=37),
    "ResNet-50": Work(macs=4_089_184_256, bytes=189_239_616, layers=54),
    "ResNeXt-50": Work(macs=4_230_479_872, bytes=213_389_120, layers=54),
    "FCN-R50, 512 x 1024": Work(macs=395_195_711_488, bytes=2_451_869_132, layers=59),
    "YOLOX-S, 640 x 640": Work(macs=13_342_771_200, bytes=331_546_812, layers=83),
    "YOLOX-M, 640 x 640": Work(macs=36_765_158_400, bytes=629_387_388, layers=107),
    "YOLO11n, 640 x 640": Work(macs=3_239_993_600, bytes=171_514_528, layers=87),
    "YOLO11s, 640 x 640": Work(macs=10_732_902_400, bytes=335_067_776, layers=87),
    "YOLO11m, 640 x 640": Work(macs=33_990_246_400, bytes=720_494_784, layers=112),
    "YOLO11l, 640 x 640": Work(macs=43_454_566_400, bytes=935_232_704, layers=173),
}


class Published(NamedTuple):
    """What somebody measured.

    `board` is a shipped profile, `network` one of `NETWORKS`, `software` one of `SOURCES`.
    """

    board: str
    network: str
    ms: float
    software: str

    @property
    def modelled_ms(self) -> float:
        """How long the profile takes for that network."""
        return roofline(emulated(self.board)).call_ns(NETWORKS[self.network]) / 1e6

    @property
    def ratio(self) -> float:
        """Modelled over published."""
        return self.modelled_ms / self.ms


SOURCES = {
    "OpenCV": "https://github.com/opencv/opencv_zoo/tree/main/benchmark",
    "TensorRT (mmdeploy)": "https://github.com/open-mmlab/mmdeploy/blob/main/docs/en/03-benchmark/benchmark.md",
    "TensorRT (kentaroy47)": "https://github.com/kentaroy47/benchmark-FP32-FP16-INT8-with-TensorRT",
    "TensorRT (Idein)": "https://github.com/Idein/aicast_jetson_benchmark",
    "MNN (Ultralytics)": "https://docs.ultralytics.com/guides/nvidia-jetson/",
    "ONNX Runtime (Ultralytics, Jetson)": "https://docs.ultralytics.com/guides/nvidia-jetson/",
    "ONNX Runtime (Ultralytics, Pi)": "https://docs.ultralytics.com/guides/raspberry-pi/",
    "ONNX Runtime (Vision Analysis)": "https://www.visionanalysis.org/articles/ncnn-fp32-vs-onnx-fp32-rpi5",
}

PUBLISHED = [
    Published("emulated-jetson-nano", "YOLOX-S, 640 x 640", 1209.12, "OpenCV"),
    Published("emulated-jetson-nano", "MobileNetV1", 65.72, "OpenCV"),
    Published("emulated-jetson-nano-gpu", "ResNet-34, 256 x 256", 48.0, "TensorRT (kentaroy47)"),
    Published("emulated-jetson-nano-gpu", "ResNet-50", 59.32, "TensorRT (mmdeploy)"),
    Published("emulated-jetson-nano-gpu", "ResNeXt-50", 88.10, "TensorRT (mmdeploy)"),
    Published("emulated-jetson-nano-gpu", "YOLOX-S, 640 x 640", 153.3, "TensorRT (Idein)"),
    Published("emulated-orin-nano", "YOLOX-S, 640 x 640", 400.91, "OpenCV"),
    Published("emulated-orin-nano", "MobileNetV1", 18.47, "OpenCV"),
    Published("emulated-orin-nano", "MobileNetV2", 17.08, "OpenCV"),
    Published("emulated-orin-nano-gpu", "YOLOX-S, 640 x 640", 20.9, "TensorRT (Idein)"),
    Published("emulated-agx-orin", "YOLO11m, 640 x 640", 215.16, "MNN (Ultralytics)"),
    Published("emulated-agx-orin-gpu", "YOLO11m, 640 x 640", 25.24, "ONNX Runtime (Ultralytics, Jetson)"),
    Published("emulated-agx-orin-gpu", "YOLO11l, 640 x 640", 32.0, "ONNX Runtime (Ultralytics, Jetson)"),
    Published("emulated-raspberry-pi-5", "YOLO11n, 640 x 640", 168.08, "ONNX Runtime (Ultralytics, Pi)"),
    Published("emulated-raspberry-pi-5", "YOLO11s, 640 x 640", 324.17, "ONNX Runtime (Ultralytics, Pi)"),
    Published("emulated-raspberry-pi-5", "YOLOX-M, 640 x 640", 909.0, "ONNX Runtime (Vision Analysis)"),
    Published("emulated-t4", "ResNeXt-50", 4.31, "TensorRT (mmdeploy)"),
    Published("emulated-t4", "FCN-R50, 512 x 1024", 128.42, "TensorRT (mmdeploy)"),
]

EMULATED = sorted(path.stem for path in Path(devices.__file__).parent.glob("emulated-*.yaml"))
"""The profiles of emulated boards that ship, by name."""


def emulated(name: str) -> Profile:
    """One of them."""
    return load_profile(Path(devices.__file__).parent / f"{name}.yaml")


def roofline(profile: Profile) -> Roofline:
    """Its model of time, which is made of published figures."""
    assert profile.emulates is not None
    assert isinstance(profile.emulates.time, Roofline)
    return profile.emulates.time
