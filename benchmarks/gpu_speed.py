"""Megapixels a second of each shipped student on a GPU, by precision and size, in one run; and what memory it takes.

    python benchmarks/gpu_speed.py [fast standard quality]

The network alone, data on the device: what the copy to it and back, decoding and encoding leave of that is
`nsp bench --device cuda`'s to say.
"""

import json
import sys
import time
from collections.abc import Callable

import torch

from nsp_pipeline.calibration.together.train import SIZES
from nsp_pipeline.models.unet import UNet

SIDES = {"1 MP": (1024, 1024), "24 MP": (4096, 6000)}
WAYS = {
    "fp32 (TF32 off)": (torch.float32, False, False),
    "fp32 (TF32)": (torch.float32, True, False),
    "fp16": (torch.float16, True, False),
    "fp16 compiled": (torch.float16, True, True),
}


def seconds_of(network: Callable[..., torch.Tensor], image: torch.Tensor, table: torch.Tensor) -> float:
    """Median seconds of one pass."""
    times = []
    with torch.inference_mode():
        for number in range(8):
            torch.cuda.synchronize()
            begun = time.perf_counter()
            network(image, table)
            torch.cuda.synchronize()
            if number >= 3:
                times.append(time.perf_counter() - begun)
    return sorted(times)[len(times) // 2]


def main() -> None:
    """Print a row for each student, way and size."""
    names = sys.argv[1:] or list(SIZES)
    print(torch.cuda.get_device_name(), torch.__version__)
    for name in names:
        for way, (kind, tf32, compiled) in WAYS.items():
            torch.backends.cudnn.allow_tf32 = tf32
            network = UNet(*SIZES[name], 2, True).cuda().eval().to(kind)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            run = torch.compile(network.cell_means) if compiled else network.cell_means
            for size, (height, width) in SIDES.items():
                image = torch.rand(1, 3, height, width, device="cuda", dtype=kind)
                image = image.contiguous(memory_format=torch.channels_last)
                torch.cuda.reset_peak_memory_stats()
                took = seconds_of(run, image, torch.full((1, 4, 8), 0.02, device="cuda", dtype=kind))
                memory = torch.cuda.max_memory_allocated() / 2**30
                row = {"student": name, "way": way, "size": size, "MP/s": round(height * width / 1e6 / took, 1)}
                print(json.dumps(row | {"GiB": round(memory, 2)}), flush=True)


if __name__ == "__main__":
    main()
