"""Kernels as machine code, through llvmlite. In reading order:

    target       the processor: vector width, registers, fma; what code may call
    builder      a kernel function under construction: loops, vectors, memory
    lanes        a vector with NumPy's operators; `emitter` is its `numpy`, on `casts`, `division` and
    mathlib      exp, log, tanh... as arithmetic, with the numbers in `polynomials`; `hyperbolic` and
                 `angles` (sin, atan2...) are its sequels, `library` what they leave to C
    prices       what an operation costs, for sharing out work
    body         evaluates a kernel's body at points of its loop nest
    nest         simplifies a loop nest
    map, reduce  the kernels of elementwise work (`transpose`: where it reads across memory)
    compiled     a plan's code, ready to run: all that a process imports that finds it in the cache

Nothing here is imported by `import lampion`: llvmlite is loaded when something is first compiled.
"""
