"""Loops in a graph: `scan`, whose body is a graph of its own.

loop     the loop as the graph knows it: body, length, direction; printed, checked, interpreted
body     the trace of a body, inside the trace of what is around it
record   one recorded `scan`: its equations, its place on the tape, its gradient (another scan)
unroll   a loop written out, where its body has no machine code
"""
