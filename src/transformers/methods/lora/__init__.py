"""Low-rank adaptation (Hu et al., 2021): the layer and where it goes in.

``lora_state_dict`` and ``mark_only_lora_as_trainable`` are loralib's own, for scripts that know them: parameters are
named as loralib names them. Biases that the latter leaves trainable are saved and restored with the adapter.
"""

from .layers import lora_state_dict, mark_only_lora_as_trainable

__all__ = ["lora_state_dict", "mark_only_lora_as_trainable"]
