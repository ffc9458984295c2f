"""Chooses how Triton's kernels are tested, before anything imports Triton."""

import os

import torch

# Examples import frameworks that are not installed here; test_examples.py tries them.
collect_ignore_glob = ["packages/*/examples/*"]

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
