"""SetFit as its paper has it: 20 pairs a text and side, one epoch of contrast, then a logistic regression."""

import json
import sys
from typing import Any

PAIRS = 20


def main() -> None:
    """Read a job from stdin (base, texts, ids, held, seed), and write the ids found to stdout."""
    job: dict[str, Any] = json.load(sys.stdin)
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments  # type: ignore[import-not-found]

    model = SetFitModel.from_pretrained(job["base"])
    rows = Dataset.from_dict({"text": job["texts"], "label": job["ids"]})
    options = TrainingArguments(
        batch_size=16,
        num_epochs=1,
        num_iterations=PAIRS,
        seed=job["seed"],
        save_strategy="no",
        report_to="none",
        output_dir=job["scratch"],
    )
    trainer = Trainer(model=model, args=options, train_dataset=rows)
    trainer.train()
    found = [int(one) for one in model.predict(job["held"], batch_size=64)]
    sys.stdout.write("\n" + json.dumps({"ids": found}) + "\n")


if __name__ == "__main__":
    main()
