"""Runs upstream's Adafactor on the cases of a JSON file; runs in the reference environment.

Called with the file of cases, a list of keyword arguments, and the file to write the parameters after each step into.
"""

import json
import math
import sys
from pathlib import Path

import torch

from transformers.optimization import Adafactor


def trajectory(options: dict, steps: int = 6) -> list[list[float]]:
    shapes = [(3, 4), (5,), (2, 3, 2)]
    parameters = [
        torch.nn.Parameter(torch.linspace(-0.3, 0.5, math.prod(shape)).reshape(shape) * number)
        for number, shape in enumerate(shapes)  # the first is all zero, as LoRA's B
    ]
    optimizer = Adafactor(parameters, **options)
    seen = []
    for step in range(steps):
        for parameter in parameters:
            parameter.grad = torch.sin(torch.arange(parameter.numel()) * 2.0 + step).reshape(parameter.shape) * 3
        optimizer.step()
        seen.append(torch.cat([parameter.detach().flatten() for parameter in parameters]).tolist())
    return seen


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([trajectory(options) for options in cases]))
