"""Writes upstream's buckets of all distances; runs in the reference environment.

Arguments: the result's path, then pairs of number of buckets and largest distance.
"""

import json
import sys

import torch

from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position


def main(result: str, *numbers: str) -> None:
    """For each pair, list the buckets of the distances from minus to plus twice the largest."""
    found = []
    for buckets, largest in zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True):
        distances = torch.arange(-2 * largest, 2 * largest + 1)
        found.append(make_log_bucket_position(distances, buckets, largest).long().tolist())
    with open(result, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
