"""A GLUE task's splits as upstream's example makes them; for the scripts of the reference environment."""

from datasets import Dataset, load_dataset

COLUMNS = {"sst2": ("sentence",)}
PAIR = ("sentence1", "sentence2")


def load_splits(job: dict, tokenizer) -> tuple[Dataset, Dataset]:
    """Tokenise a task's training and validation split.

    Args:
        job: ``data`` (the folder), ``task``, ``max_seq_length``, and ``limit``: so many training examples; None: all.
        tokenizer: Upstream's.
    """
    columns = COLUMNS.get(job["task"], PAIR)

    def encode(batch):
        encoded = tokenizer(*(batch[name] for name in columns), truncation=True, max_length=job["max_seq_length"])
        return {**encoded, "labels": batch["label"]}

    splits = load_dataset(job["data"], job["task"])
    train, validation = splits["train"], splits["validation"]
    if job["limit"]:
        train = train.select(range(min(job["limit"], len(train))))
    return (
        train.map(encode, batched=True, remove_columns=train.column_names),
        validation.map(encode, batched=True, remove_columns=validation.column_names),
    )
