"""Train a packaged model before it is packed; half of the validation texts choose, half are to measure on."""

import argparse
from dataclasses import replace
from pathlib import Path

from recipes.models import MODELS

from tonewise.train import Terms, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets, each in its own")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--head", action="append", help="of several heads only these; again for each")
    parser.add_argument("--epochs", type=int, help="in place of the recipe's")
    parser.add_argument("--learning-rate", type=float, help="in place of the recipe's")
    parser.add_argument("--base", default="base", help="what to begin with: the encoder of an earlier run")
    parser.add_argument("--frozen-layers", type=int, default=0)
    parser.add_argument("--own-texts", action="store_true", help="leave borrowed texts out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run was")
    options = parser.parse_args()

    model = MODELS[options.model]
    wanted = options.head or list(model.heads)
    model = model.without_borrowed() if options.own_texts else model
    heads = {name: (learn, seen) for name, learn, seen, _ in model.halves(options.data) if name in wanted}
    recipe = replace(
        model.recipe,
        seed=options.seed,
        epochs=options.epochs or model.recipe.epochs,
        learning_rate=options.learning_rate or model.recipe.learning_rate,
        frozen_layers=options.frozen_layers,
    )
    train(
        None,
        options.output,
        heads=heads,
        base=options.base,
        recipe=recipe,
        int8=False,  # the ranges come when the weights are packed
        resume=options.resume,
        terms=Terms(name=options.model, data_terms=model.data_terms),
        tell=lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    main()
