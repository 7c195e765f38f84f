"""Special functions as formulas on arrays: what `lampion.special` and its relatives in `lampion.ops` compute.

Nothing here knows of tensors. A formula takes `xp` (NumPy, CuPy, or the emitter of machine code) and arrays
of float64, and is straight-line code where it can be: series chosen by `where`. `double` runs one for arrays
of any floating type. `tables` holds the numbers; `scripts/special_tables.py` makes them.
"""
