"""Runs upstream's BERT on one batch; runs in the reference environment.

Arguments: the BERT folder, a safetensors file of inputs, and where the hidden states of all layers go.
"""

import sys

import torch
from safetensors.torch import load_file, save_file

from transformers import BertModel

if __name__ == "__main__":
    torch.set_num_threads(1)
    bert, inputs, outputs = sys.argv[1:]
    model = BertModel.from_pretrained(bert, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        states = model(**load_file(inputs), output_hidden_states=True).hidden_states
    save_file({str(number): state.contiguous() for number, state in enumerate(states)}, outputs)
