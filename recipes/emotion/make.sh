#!/usr/bin/env bash
# Make the packaged `emotion` from the real sets: make.sh DATA OUTPUT.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 output=$2 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python -m recipes.train emotion --own-texts --data "$data" --output "$work/tweets"
# One more pass, with plain comments beside the tweets; then weights between: nearly as good on tweets as the
# first, and nearly as good on prose as the second.
python -m recipes.train emotion --base "$work/tweets" --epochs 1 --learning-rate 5e-5 --data "$data" \
  --output "$work/both"
python -m recipes.interpolate emotion --first "$work/tweets" --second "$work/both" --data "$data" \
  --output "$work/between"
python -m recipes.package emotion --trained "$work/between" --data "$data" --output "$output"
