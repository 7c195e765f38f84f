"""Datasets, and the loader that makes batches of them.

The data's way: a sampler gives indices, the dataset a sample for each, `default_collate` joins the samples
of a batch into Tensors, and `DataLoader` is the loop around the three.
"""

from lampion.utils.data.collate import default_collate
from lampion.utils.data.dataset import Dataset, Subset, TensorDataset, random_split
from lampion.utils.data.loader import DataLoader
from lampion.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = [
    "BatchSampler", "DataLoader", "Dataset", "RandomSampler", "Sampler", "SequentialSampler", "Subset",
    "TensorDataset", "default_collate", "random_split",
]  # fmt: skip
