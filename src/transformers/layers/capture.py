"""What is said to whoever captures a forward pass as a graph: a batch's layout depends on its lengths."""

from __future__ import annotations

import torch

__all__ = ["explain_capture", "is_captured"]

_REASON = (
    "A graph of this forward pass (torch.jit.trace, torch.export, ONNX export through either, "
    "torch.compile(fullgraph=True)) would record the lengths of this one batch, and the captured model would give "
    "wrong results for others. Ship the model itself with save_pretrained(); `transformers-cli export onnx` writes it "
    "for other runtimes, and transformers.exporting.static_model.StaticModel(model) is a copy that can be captured. "
    "To make it faster, use torch.compile without fullgraph, or bfloat16."
)


def is_captured() -> bool:
    """Say whether a graph of operations is made of this pass, for another runtime or by ``torch.compile``."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def explain_capture() -> None:
    """Refuse to be captured as one graph; `torch.compile` goes on without what it cannot capture.

    Raises:
        RuntimeError: Under ``torch.jit.trace`` and ``torch.export``, and so under ONNX export. Where PyTorch must have
            the whole graph (``fullgraph=True``, ``strict=True``), its own error says the same.
    """
    if torch.compiler.is_dynamo_compiling():
        torch._dynamo.graph_break(msg=_REASON)
    if torch.jit.is_tracing() or torch.compiler.is_exporting():  # type: ignore[attr-defined]
        raise RuntimeError(_REASON)
