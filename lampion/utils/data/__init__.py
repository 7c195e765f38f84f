"""Datasets, and the loader that makes batches of them.

The data's way: a sampler gives indices, the dataset a sample for each, `default_collate` joins the samples
of a batch into Tensors, and `DataLoader` is the loop around the three, alone or with worker processes.
"""

from lampion.utils.data.collate import default_collate, default_convert
from lampion.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from lampion.utils.data.info import WorkerInfo, get_worker_info
from lampion.utils.data.loader import DataLoader
from lampion.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset",
    "RandomSampler", "Sampler", "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler",
    "TensorDataset", "WeightedRandomSampler", "WorkerInfo", "default_collate", "default_convert",
    "get_worker_info", "random_split",
]  # fmt: skip
