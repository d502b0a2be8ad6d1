"""Wraps our models with real PEFT, trains them, saves and loads them again; PEFT lies on the path, upstream does not.

Arguments: a base's folder, a folder to write into, and the tasks: names of PEFT's task types.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model

import transformers

TASKS = {
    "SEQ_CLS": ("AutoModelForSequenceClassification", ["classifier"], {}),
    "TOKEN_CLS": ("AutoModelForTokenClassification", ["classifier"], {"num_labels": 3}),
    "QUESTION_ANS": ("AutoModelForQuestionAnswering", ["qa_outputs"], {}),
    "CAUSAL_LM": ("AutoModelForCausalLM", [], {"is_decoder": True}),
    "FEATURE_EXTRACTION": ("AutoModel", [], {}),
}


def labels_of(task: str, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    if task == "SEQ_CLS":
        return {"labels": torch.arange(len(ids)) % 2}
    if task == "TOKEN_CLS":
        return {"labels": torch.where(ids % 7 == 0, -100, ids % 3)}
    if task == "QUESTION_ANS":
        return {"start_positions": ids.argmax(1), "end_positions": ids.argmin(1)}
    return {"labels": ids} if task == "CAUSAL_LM" else {}


def loss_of(output) -> torch.Tensor:
    return output.loss if "loss" in output else (output.last_hidden_state[:, 0, :4] - 0.5).square().mean()


def main(base: str, folder: str, task: str, options: dict) -> None:
    torch.manual_seed(0)
    auto, head, fields = TASKS[task]
    auto_class = getattr(transformers, auto)
    model = auto_class.from_pretrained(base, **fields)
    deberta = model.config.model_type == "deberta-v2"
    targets = ["query_proj", "value_proj"] if deberta else ["query", "value"]
    if deberta and task == "SEQ_CLS":
        head = [*head, "pooler"]
    saved = [*head, *options.pop("modules_to_save", [])]
    options = {"target_modules": targets, "modules_to_save": saved or None, **options}
    lora = LoraConfig(r=4, lora_alpha=8, task_type=task, **options)
    wrapped = get_peft_model(model, lora)
    start = options.get("init_lora_weights")
    takes_from_base = start in ("pissa", "olora")
    if takes_from_base:  # PEFT wants the start beside, so that what is saved fits the published base
        wrapped.peft_config["default"].init_lora_weights = True
        wrapped.save_pretrained(f"{folder}/start")
        wrapped.peft_config["default"].init_lora_weights = start
    assert type(wrapped).__name__.startswith("PeftModelFor"), type(wrapped)
    ids = torch.randint(5, 60, (8, 9))
    labels = labels_of(task, ids)
    optimizer = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(15):
        loss = loss_of(wrapped(input_ids=ids, **labels))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0], losses
    wrapped.eval()
    expected = wrapped(input_ids=ids)[0]
    beside = {"path_initial_model_for_weight_conversion": f"{folder}/start"} if takes_from_base else {}
    wrapped.save_pretrained(folder, **beside)
    again = PeftModel.from_pretrained(auto_class.from_pretrained(base, **fields), folder).eval()
    found = again(input_ids=ids)[0]
    assert torch.equal(found, expected) or (takes_from_base and (found - expected).abs().max() <= 1e-5), task
    ours = auto_class.from_pretrained(folder, base_model_name_or_path=base, **fields)
    assert (ours(input_ids=ids)[0] - expected).abs().max() <= 1e-5


if __name__ == "__main__":
    assert "+lora" in transformers.__version__, "this must run on our package"
    for number, words in enumerate(sys.argv[3:]):  # a task, perhaps a colon and options of LoraConfig as JSON
        name, _, options = words.partition(":")
        main(sys.argv[1], str(Path(sys.argv[2]) / str(number)), name, json.loads(options or "{}"))
