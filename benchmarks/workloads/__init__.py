"""What is measured: one file each, with `run(options)` returning a record.

A training workload holds a `TRAINING` (see ../training.py) and lets `harness.race` run it; the others
measure in their own way. To add one, write the file and name it here.
"""

from __future__ import annotations

import importlib
from types import ModuleType

MODULES = {
    "import": "import_",
    "spiral": "spiral",
    "mlp": "mlp",
    "mlp-deep": "mlp_deep",
    "chargpt": "chargpt",
    "chargpt-written": "chargpt_written",
    "bf16": "bf16",
    "adam": "adam",
    "adam-many": "adam_many",
    "cross-entropy": "cross_entropy",
    "rnnlm": "rnnlm",
    "rnnlm-better": "rnnlm_better",
    "gru": "gru",
    "bi-lstm": "bi_lstm",
    "seq2seq-attention": "seq2seq_attention",
    "deepconvnet": "deepconvnet",
    "deepconvnet-eager": "deepconvnet_eager",
    "lenet": "lenet",
    "gradient-penalty": "gradient_penalty",
    "conv-bn-relu": "conv_bn_relu",
    "resnet18": "resnet18",
    "conv-grid": "conv_grid",
    "word2vec": "word2vec",
    "word2vec-epoch": "word2vec_epoch",
    "compile-time": "compile_time",
    "memory-growth": "memory_growth",
    "threads": "threads",
    "memory": "memory",
    "overhead": "overhead",
    "loading": "loading",
    "shakespeare": "shakespeare",
    "accuracy": "accuracy",
    "accuracy-words": "accuracy_words",
    "generated-images": "generated_images",
    "generation": "generation",
}


def load(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.workloads.{MODULES[name]}")
