"""Fine-tune all-MiniLM-L6-v2 on the six emotions; writes a plain Hugging Face folder."""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from recipes.stored import base_folder
from torch import Tensor
from transformers import AutoTokenizer, BertForSequenceClassification

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")


def read(path: Path) -> tuple[list[str], list[int]]:
    """Texts and label ids of one unquoted TSV file."""
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]]
    return [text for text, _ in rows], [LABELS.index(label) for _, label in rows]


def length_grouped(lengths: list[int], size: int, rng: np.random.Generator) -> list[list[int]]:
    """Shuffle, sort within pools of 50 batches, cut into batches, shuffle the batches."""
    order = rng.permutation(len(lengths))
    pools = [order[i : i + 50 * size] for i in range(0, len(order), 50 * size)]
    ordered = [row for pool in pools for row in sorted(pool, key=lambda row: lengths[row])]
    batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


class Network(torch.nn.Module):
    """BERT with the usual pooler and classifier, fed by the first token or by the mean."""

    def __init__(self, base: Path, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling
        names = dict(enumerate(LABELS))
        self.model = BertForSequenceClassification.from_pretrained(
            base, id2label=names, label2id={v: k for k, v in names.items()}
        )
        if pooling == "mean":  # the base's pooler was trained on the first token: start near identity
            torch.nn.init.eye_(self.model.bert.pooler.dense.weight)
            torch.nn.init.zeros_(self.model.bert.pooler.dense.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        states = self.model.bert(**batch).last_hidden_state
        if self.pooling == "first":
            state = states[:, 0]
        else:
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            state = (states * mask).sum(1) / mask.sum(1)
        pooled = torch.tanh(self.model.bert.pooler.dense(state))
        return self.model.classifier(self.model.dropout(pooled))


def optimizer_for(network: Network, rate: float) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices only, and a faster rate for the new classifier."""
    named = list(network.named_parameters())
    head = [p for n, p in named if "classifier" in n]
    decay = [p for n, p in named if "classifier" not in n and p.ndim > 1]
    rest = [p for n, p in named if "classifier" not in n and p.ndim == 1]
    return torch.optim.AdamW(
        [
            {"params": head, "lr": 5 * rate, "weight_decay": 0.01},
            {"params": decay, "lr": rate, "weight_decay": 0.01},
            {"params": rest, "lr": rate, "weight_decay": 0.0},
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, validation.tsv")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pooling", choices=("first", "mean"), default="first")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    base = base_folder()
    tokenizer = AutoTokenizer.from_pretrained(base)
    texts, labels = read(options.data / "train.tsv")
    held_texts, held_labels = read(options.data / "validation.tsv")
    network = Network(base, options.pooling)
    optimizer = optimizer_for(network, options.rate)
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    steps = options.epochs * -(-len(texts) // options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps))
    )

    def collate(some: list[str]) -> dict[str, Tensor]:
        return dict(tokenizer(some, truncation=True, max_length=512, padding=True, return_tensors="pt"))

    def accuracy() -> float:
        network.eval()
        order = sorted(range(len(held_texts)), key=lambda row: len(held_texts[row]))
        hits = 0
        with torch.inference_mode():
            for start in range(0, len(order), 64):
                rows = order[start : start + 64]
                best = network(collate([held_texts[row] for row in rows])).argmax(1).tolist()
                hits += sum(b == held_labels[row] for b, row in zip(best, rows, strict=True))
        return hits / len(order)

    started, history = time.monotonic(), []
    for epoch in range(options.epochs):
        network.train()
        total = 0.0
        for rows in length_grouped(lengths, options.batch_size, rng):
            batch, target = collate([texts[row] for row in rows]), torch.tensor([labels[row] for row in rows])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = network(batch)
            loss = torch.nn.functional.cross_entropy(logits.float(), target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += loss.item() * len(rows)
        history.append({"epoch": epoch + 1, "loss": total / len(texts), "accuracy": accuracy()})
        print(json.dumps(history[-1]), f"{time.monotonic() - started:.0f} s", flush=True)

    network.model.save_pretrained(options.output)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (base / name).exists():
            shutil.copyfile(base / name, options.output / name)
    facts = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    facts.pop("data"), facts.pop("output")
    (options.output / "training.json").write_text(
        json.dumps({**facts, "history": history, "torch": torch.__version__}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
