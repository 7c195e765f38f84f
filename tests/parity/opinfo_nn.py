"""What of PyTorch's table concerns `nn.functional`, softmax and normalisation."""

#: Drawn.
RANDOM = {
    "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
    "nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout with_train",
}  # fmt: skip
