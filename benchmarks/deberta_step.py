"""How much faster is a LoRA training step of DeBERTa-v3-base here than with upstream Transformers + PEFT?

A model of that shape with random weights, dropout 0.1, r 8 on query and value; forward, backward and AdamW on batches
of 16 RTE pairs padded to the longest. See `step_benchmark.py` for how it is measured. The result is
`results/deberta_step.json`. Needs the GLUE data (LORA_SHARED_DATA or ../shared/data) and the reference environment
(bash scripts/test.sh makes it)::

    .venv/bin/python benchmarks/deberta_step.py [--rounds 3] [--batches 3] [--threads 2]

The exit code is 1 unless the step is at least 3 times faster, in at most half of the memory, in fp32 and in bf16.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch

from step_benchmark import ROOT, compare_steps
from transformers import DebertaV2Config, DebertaV2Model

RESULT = ROOT / "benchmarks" / "results" / "deberta_step.json"
V3_BASE = DebertaV2Config(
    vocab_size=128100,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    relative_attention=True,
    position_buckets=256,
    share_att_key=True,
    pos_att_type="p2c|c2p",
    norm_rel_ebd="layer_norm",
    position_biased_input=False,
)


def main() -> int:
    """Measure, write the result, and say whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="counted steps of each side on each batch")
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    record = compare_steps(
        DebertaV2Model(V3_BASE),
        head=["pooler", "classifier"],
        seed=options.seed,
        rounds=options.rounds,
        threads=options.threads,
        batch_count=options.batches,
        r=8,
        alpha=16,
    )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    reached = True
    for dtype, row in record["results"].items():
        ours, theirs = row["ours"]["seconds_per_step"], row["upstream"]["seconds_per_step"]
        print(
            f"{dtype}: {ours:.2f} s a step, upstream {theirs:.2f} s: {row['speedup']:.2f} times faster "
            f"({row['cpu_speedup']:.2f} in CPU time), {row['memory_share']:.0%} of the memory"
        )
        reached = reached and row["speedup"] >= 3 and row["memory_share"] <= 0.5
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
