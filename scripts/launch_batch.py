"""One global batch on any number of devices: what each takes at once, and how often gradients are accumulated."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Batch", "split_batch"]


@dataclass(frozen=True)
class Batch:
    """A global batch in parts.

    Attributes:
        per_device: Examples that a device takes at once.
        devices: Number of devices.
        accumulation: How often gradients are accumulated before a step.
    """

    per_device: int
    devices: int
    accumulation: int

    @property
    def total(self) -> int:
        """Examples per optimizer step."""
        return self.per_device * self.devices * self.accumulation

    def __str__(self) -> str:
        parts = f"{self.per_device} per device x {self.devices} x {self.accumulation} accumulated"
        return f"{self.total} examples a step: {parts}"


def split_batch(
    total: int, devices: int, usual: int, per_device: int | None = None, accumulation: int | None = None
) -> Batch:
    """Split a global batch evenly.

    Args:
        total: Examples per optimizer step.
        devices: Number of devices.
        usual: What a device takes at once, at most, where the next two are not given.
        per_device: What it takes at once.
        accumulation: How often to accumulate.

    Raises:
        ValueError: If the parts do not give the whole.
    """
    if total % devices:
        fitting = [str(number) for number in range(1, 9) if total % number == 0]
        raise ValueError(
            f"a global batch of {total} does not divide among {devices} devices. Set NUM_GPUS to one of "
            f"{', '.join(fitting)}, or give another --global_batch_size (which changes the results)."
        )
    share = total // devices
    if per_device is None:
        most = share // accumulation if accumulation else usual
        per_device = share // accumulation if accumulation else _largest_divisor(share, most)
    accumulation = accumulation or share // per_device
    if per_device * accumulation != share:
        raise ValueError(
            f"a global batch of {total} on {devices} device{'s' if devices > 1 else ''} is {share} each, which "
            f"{per_device} at once x {accumulation or 1} accumulated does not give. Choose a divisor of {share}, or "
            "give another --global_batch_size (which changes the results)."
        )
    return Batch(per_device, devices, accumulation)


def _largest_divisor(number: int, most: int) -> int:
    return max(divisor for divisor in range(1, min(number, most) + 1) if number % divisor == 0)
