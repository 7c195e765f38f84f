"""torch's samples for convolutions."""

# Sums of up to some hundred products of numbers up to 9, in float32, where they nearly cancel.
SINGLE = {
    name: {"rtol": 1e-5, "atol": 1e-3}
    for count in (1, 2, 3)
    for name in (f"nn.functional.conv{count}d", f"nn.functional.conv_transpose{count}d")
}
