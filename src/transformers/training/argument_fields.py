"""The fields of ``TrainingArguments``: each with its default, and with the help text of its flag.

They carry the names of Transformers 4.4.2, in its order; where 5.x calls one differently, the newer name works as an
init argument, as a flag and as an attribute too (``_aliases``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..trainer_utils import HubStrategy, IntervalStrategy, OnNonfinite, SaveStrategy, SchedulerType
from ..utils.generic import ExplicitEnum
from .argument_names import OlderAndNewerNames, help_text, other_name
from .process_arguments import ProcessArguments

__all__ = ["ArgumentFields", "OptimizerNames"]


class OptimizerNames(ExplicitEnum):
    """The optimizers that ``--optim`` knows: PyTorch's, an Adafactor that can leave sizes aside, and 8 bits."""

    ADAMW_TORCH = "adamw_torch"
    ADAMW_TORCH_FUSED = "adamw_torch_fused"
    ADAFACTOR = "adafactor"
    SGD = "sgd"
    ADAMW_8BIT = "adamw_8bit"
    ADAMW_BNB = "adamw_bnb_8bit"
    PAGED_ADAMW_8BIT = "paged_adamw_8bit"


@dataclass
class ArgumentFields(ProcessArguments, metaclass=OlderAndNewerNames):
    """The fields of ``TrainingArguments``, and what follows from them.

    The help text of each field says what it does.
    """

    _aliases: ClassVar[dict[str, str]] = {
        "eval_strategy": "evaluation_strategy",
        "use_cpu": "no_cuda",
        "full_determinism": "use_deterministic_algorithms",
        "activation_checkpointing": "gradient_checkpointing",
    }

    # The fields of 4.4.2, in its order: scripts may give the first ones without their names.
    output_dir: str = field(
        metadata=help_text("Folder for checkpoints, the final model, metrics and logs. Created if missing.")
    )
    overwrite_output_dir: bool = field(
        default=False, metadata=help_text("Train from the start although output_dir holds an earlier run.")
    )
    do_train: bool = field(default=False, metadata=help_text("Train (read by the script, not by the Trainer)."))
    do_eval: bool | None = field(
        default=None,
        metadata=help_text(
            "Evaluate on the validation set at the end. Default: yes, if evaluation_strategy is not 'no'."
        ),
    )
    do_predict: bool = field(default=False, metadata=help_text("Write predictions for the test set."))
    evaluation_strategy: IntervalStrategy | str = field(
        default="no",
        metadata=help_text("When to evaluate during training: never, every eval_steps, or after every epoch."),
    )
    prediction_loss_only: bool = field(
        default=False, metadata=help_text("Evaluate the loss only: no predictions kept, no other metrics.")
    )
    per_device_train_batch_size: int = field(
        default=8,
        metadata=help_text(
            "Examples per device and forward pass. What results depend on is the global batch: this, times the number "
            "of processes, times gradient_accumulation_steps."
        ),
    )
    per_device_eval_batch_size: int = field(
        default=8, metadata=help_text("Examples per device in evaluation. Changes speed only.")
    )
    per_gpu_train_batch_size: int | None = field(
        default=None, metadata=help_text("The old name of per_device_train_batch_size.")
    )
    per_gpu_eval_batch_size: int | None = field(
        default=None, metadata=help_text("The old name of per_device_eval_batch_size.")
    )
    gradient_accumulation_steps: int = field(
        default=1, metadata=help_text("Forward passes per optimizer step: a larger global batch for the same memory.")
    )
    eval_accumulation_steps: int | None = field(
        default=None,
        metadata=help_text("Batches whose predictions stay on the GPU before they move to the CPU. Default: all."),
    )
    learning_rate: float = field(
        default=5e-5,
        metadata=help_text(
            "The highest learning rate. LoRA wants about ten times what full fine-tuning does: 2e-4 to 5e-4."
        ),
    )
    weight_decay: float = field(
        default=0.0, metadata=help_text("Decay of all weights but biases and normalisation layers.")
    )
    adam_beta1: float = field(default=0.9, metadata=help_text("Decay of AdamW's running mean of the gradient."))
    adam_beta2: float = field(
        default=0.999, metadata=help_text("Decay of AdamW's running mean of the squared gradient.")
    )
    adam_epsilon: float = field(default=1e-8, metadata=help_text("Added to AdamW's denominator."))
    max_grad_norm: float = field(
        default=1.0, metadata=help_text("Gradients are scaled down to this norm; 0 turns clipping off.")
    )
    num_train_epochs: float = field(
        default=3.0, metadata=help_text("Passes over the training set; a fraction stops within the last one.")
    )
    max_steps: int = field(
        default=-1,
        metadata=help_text("Optimizer steps to train for; if above 0 it takes the place of num_train_epochs."),
    )
    lr_scheduler_type: SchedulerType | str = field(
        default="linear", metadata=help_text("How the learning rate moves after the warm-up.")
    )
    warmup_ratio: float = field(
        default=0.0, metadata=help_text("Share of all steps over which the learning rate rises from 0.")
    )
    warmup_steps: float = field(
        default=0, metadata=help_text("The same as a number of steps; wins over warmup_ratio. Below 1 it is a share.")
    )
    logging_dir: str | None = field(
        default=None, metadata=help_text("TensorBoard folder. Default: <output_dir>/runs/<date>_<time>_<host>.")
    )
    logging_strategy: IntervalStrategy | str = field(
        default="steps", metadata=help_text("When to log the training loss.")
    )
    logging_first_step: bool = field(
        default=False, metadata=help_text("Also log (and evaluate, by steps) after the very first step.")
    )
    logging_steps: float = field(
        default=500, metadata=help_text("Optimizer steps between logs; below 1 a share of all steps.")
    )
    save_strategy: SaveStrategy | str = field(
        default="steps",
        metadata=help_text(
            "When to write a checkpoint: no, steps, epoch, or best (whenever an evaluation is the best so far). With "
            "load_best_model_at_end, steps and epoch mean: after every evaluation."
        ),
    )
    save_steps: float = field(
        default=500, metadata=help_text("Optimizer steps between checkpoints; below 1 a share of all steps.")
    )
    save_total_limit: int | None = field(
        default=None,
        metadata=help_text(
            "Keep so many checkpoints, the newest ones; the best and the newest are never deleted. Default: all."
        ),
    )
    no_cuda: bool = field(default=False, metadata=help_text("Stay on the CPU even if there is a GPU."))
    seed: int = field(
        default=42, metadata=help_text("Seed of the weights that are new, of dropout and of the order of the data.")
    )
    fp16: bool = field(
        default=False, metadata=help_text("Compute in fp16 with a scaled loss. Needs a GPU; bf16 is the safer choice.")
    )
    fp16_opt_level: str = field(default="O1", metadata=help_text("Kept for old command lines; of no effect."))
    fp16_backend: str = field(
        default="auto",
        metadata=help_text("Kept for old command lines; PyTorch's own mixed precision is what there is."),
    )
    fp16_full_eval: bool = field(
        default=False,
        metadata=help_text(
            "Evaluate in fp16 even if training does not, through a copy of the base in it. Needs a GPU."
        ),
    )
    local_rank: int = field(
        default=-1, metadata=help_text("This process's number on its machine; the launcher sets it.")
    )
    tpu_num_cores: int | None = field(
        default=None, metadata=help_text("Kept for old scripts; there are no TPUs here.")
    )
    tpu_metrics_debug: bool = field(default=False, metadata=help_text("Kept for old scripts; there are no TPUs here."))
    debug: bool | str = field(default=False, metadata=help_text("Kept for old scripts; there are no TPUs here."))
    dataloader_drop_last: bool = field(
        default=False,
        metadata=help_text(
            "Leave out the last global batch of a training epoch if it is not full. Evaluations are always whole."
        ),
    )
    eval_steps: float | None = field(
        default=None,
        metadata=help_text(
            "Optimizer steps between evaluations; below 1 a share of all steps. Default: logging_steps."
        ),
    )
    dataloader_num_workers: int = field(
        default=0, metadata=help_text("Processes that prepare batches; 0 does it in the training process.")
    )
    past_index: int = field(default=-1, metadata=help_text("Kept for old command lines; must be -1."))
    run_name: str | None = field(
        default=None, metadata=help_text("Name of the run, for reports. Default: output_dir.")
    )
    disable_tqdm: bool | None = field(
        default=None, metadata=help_text("No progress bars. Default: bars, unless only errors are logged.")
    )
    remove_unused_columns: bool | None = field(
        default=True, metadata=help_text("Leave out columns that the model's forward does not take.")
    )
    label_names: list[str] | None = field(
        default=None, metadata=help_text("Names of the labels in a batch. Default: found in forward.")
    )
    load_best_model_at_end: bool = field(
        default=False, metadata=help_text("End with the weights of the best evaluation, not those of the last.")
    )
    metric_for_best_model: str | None = field(
        default=None, metadata=help_text("What 'best' means: a metric's name. Default: loss.")
    )
    greater_is_better: bool | None = field(
        default=None, metadata=help_text("Whether more of it is better. Default: yes, unless it is a loss.")
    )
    ignore_data_skip: bool = field(
        default=False, metadata=help_text("When resuming within an epoch, start its data over.")
    )
    sharded_ddp: str | list[str] = field(
        default="", metadata=help_text("Kept for old scripts; see fsdp and deepspeed.")
    )
    deepspeed: str | None = field(
        default=None,
        metadata=help_text(
            'A DeepSpeed configuration file (JSON): ZeRO-1, 2 or 3; "auto" in it means: as the flags say.'
        ),
    )
    label_smoothing_factor: float = field(
        default=0.0, metadata=help_text("Share of the target spread evenly over all labels, such as 0.1.")
    )
    adafactor: bool = field(
        default=False,
        metadata=help_text("Short for --optim adafactor."),
    )
    group_by_length: bool = field(
        default=False, metadata=help_text("Batch examples of like length together (random otherwise).")
    )
    report_to: list[str] | None = field(
        default=None,
        metadata=help_text(
            "Where figures go: none, all, or some of tensorboard, wandb. Default: tensorboard, if installed."
        ),
    )
    ddp_find_unused_parameters: bool | None = field(
        default=None, metadata=help_text("Passed to DistributedDataParallel. Default: False.")
    )
    dataloader_pin_memory: bool = field(
        default=True, metadata=help_text("Copy batches to the GPU from page-locked memory.")
    )
    skip_memory_metrics: bool = field(
        default=False, metadata=help_text("Do not report how much memory training and evaluation took.")
    )
    cls_dropout: float | None = field(
        default=None, metadata=help_text("Dropout in front of the classifier. Default: the model's configuration.")
    )
    use_deterministic_algorithms: bool | None = field(
        default=False, metadata=help_text("Make PyTorch refuse operations that are not repeatable.")
    )

    # Further ones.
    eval_delay: float = field(
        default=0, metadata=help_text("Epochs (or steps, as the strategy counts) to wait before the first evaluation.")
    )
    eval_on_start: bool = field(
        default=False, metadata=help_text("Evaluate once before the first step, to see where training starts from.")
    )
    on_nonfinite: OnNonfinite | str = field(
        default="stop",
        metadata=help_text(
            "A loss or gradient that is not finite: 'stop' before it reaches the weights, 'skip' the step, or 'warn' "
            "and update all the same, as 4.4.2 does without a word. The rows are written to nonfinite_steps.jsonl."
        ),
    )
    optim: OptimizerNames | str = field(default="adamw_torch", metadata=help_text("The optimizer."))
    lr_scheduler_kwargs: dict[str, Any] | None = field(
        default=None, metadata=help_text("Further settings of the schedule as JSON, such as '{\"num_cycles\": 2}'.")
    )
    save_only_model: bool = field(
        default=False,
        metadata=help_text("Checkpoints without the optimizer's state: smaller, not to be resumed from."),
    )
    save_safetensors: bool = field(default=True, metadata=help_text("Always true: nothing here writes pickles."))
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata=help_text(
            "A checkpoint folder to go on from (read by the script); training goes on exactly where it stopped."
        ),
    )
    data_seed: int | None = field(
        default=None, metadata=help_text("Seed of the order of the data alone. Default: seed.")
    )
    bf16: bool = field(
        default=False, metadata=help_text("Compute in bf16; frozen weights are stored in it, trained ones stay fp32.")
    )
    bf16_full_eval: bool = field(
        default=False,
        metadata=help_text("Evaluate in bf16 even if training does not, through a copy of the base in it."),
    )
    gradient_checkpointing: bool = field(
        default=False, metadata=help_text("Recompute activations in the backward pass: less memory, slower.")
    )
    ddp_timeout: int = field(
        default=1800, metadata=help_text("Seconds after which a process that waits for the others in vain gives up.")
    )
    fsdp: str = field(
        default="",
        metadata=help_text(
            "Share the parameters of a large model among the processes: full_shard, or shard_grad_op (faster, more "
            "memory)."
        ),
    )
    include_for_metrics: list[str] | None = field(
        default=None, metadata=help_text("What compute_metrics is given besides: some of inputs, loss.")
    )
    save_on_preemption: bool = field(
        default=False,
        metadata=help_text(
            "Take SIGUSR1, SLURM's warning, as SIGTERM: finish the step, write a checkpoint, and end with code 138."
        ),
    )
    length_column_name: str = field(
        default="length", metadata=help_text("Column with the lengths, if there is one, for group_by_length.")
    )
    train_tokens_per_batch: int | None = field(
        default=None,
        metadata=help_text(
            "Instead of so many examples, as many of like length as fit into so many tokens, padding included, per "
            "device and forward pass: short texts make larger batches."
        ),
    )
    num_threads: int | None = field(
        default=None,
        metadata=help_text(
            "Threads that compute on the CPU. Default: one for each processor that this process may use, fewer where "
            "a short measurement finds other programs at work; a number in OMP_NUM_THREADS stands."
        ),
    )
    compile_kernels: bool = field(
        default=True,
        metadata=help_text(
            "On a CPU, let the C++ compiler of this machine, if there is one, compile attention, dropout and what "
            "follows it; some seconds, once. The results are the same up to rounding."
        ),
    )
    cuda_graphs: bool = field(
        default=False,
        metadata=help_text(
            "On a GPU, launch a step's forward and backward pass as one CUDA graph for each padded length, a multiple "
            "of 32: faster for short texts and small batches, where launching takes longer than computing."
        ),
    )

    push_to_hub: bool = field(
        default=False,
        metadata=help_text("Upload to the Hugging Face hub what is saved; the repository is made before training."),
    )
    hub_model_id: str | None = field(
        default=None, metadata=help_text("The repository, owner/name. Default: the name of output_dir, as one's own.")
    )
    hub_strategy: HubStrategy | str = field(
        default="every_save",
        metadata=help_text(
            "What is uploaded: the model at the end, with every_save each checkpoint's too; with checkpoint also the "
            "last one as last-checkpoint, to go on from elsewhere, or with all_checkpoints each."
        ),
    )
    hub_token: str | None = field(
        default=None,
        repr=False,
        metadata=help_text("An access token that may write. Default: the one of `hf auth login`. It is in no file."),
    )
    hub_private_repo: bool | None = field(
        default=None, metadata=help_text("Make the repository private. Default: as the hub does.")
    )
    hub_always_push: bool = field(
        default=False,
        metadata=help_text("Wait for an upload that is under way, where the next is left out otherwise."),
    )
    hub_revision: str | None = field(
        default=None, metadata=help_text("The branch to upload to, made if missing. Default: the main one.")
    )

    eval_strategy = other_name("evaluation_strategy")
    use_cpu = other_name("no_cuda")
    full_determinism = other_name("use_deterministic_algorithms")
    activation_checkpointing = other_name("gradient_checkpointing")

    @property
    def train_batch_size(self) -> int:
        """Examples per forward pass of this process."""
        return self.per_device_train_batch_size

    @property
    def eval_batch_size(self) -> int:
        """Examples per forward pass of this process in evaluation."""
        return self.per_device_eval_batch_size

    @property
    def global_batch_size(self) -> int:
        """Examples per optimizer step over all processes: what the results depend on; or tokens, if these count."""
        size = self.train_tokens_per_batch or self.per_device_train_batch_size
        return size * self.world_size * self.gradient_accumulation_steps

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Give the steps of the warm-up for a training of so many steps: ``warmup_steps``, or else the ratio's."""
        if self.warmup_steps >= 1:
            return int(self.warmup_steps)
        return math.ceil(num_training_steps * (self.warmup_steps or self.warmup_ratio))
