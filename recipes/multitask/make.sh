#!/usr/bin/env bash
# Make the packaged `multitask` from the real sets: make.sh DATA OUTPUT.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 output=$2 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python -m recipes.train multitask --own-texts --data "$data" --output "$work/heads"
# A head that has never seen a text of another's kind can find anything in it: this one learns that, too.
python -m recipes.train multitask --head go-emotions --base "$work/heads/#go-emotions" --frozen-layers 6 \
  --epochs 2 --data "$data" --output "$work/head"
python -m recipes.merge --trained "$work/heads" --head "$work/head" --output "$work/merged"
python -m recipes.package multitask --trained "$work/merged" --data "$data" --output "$output"
