"""Lowering: from layers' shapes to the offsets, index tables and kernel calls that the engine runs.

A `Plan` collects tensors and calls, lays out their memory and makes the engine's program.  All of it is plain
Python and NumPy, so that the kernels have no case analysis: stride, dilation, padding, connection tables and
the phases of a gradient are all tables.
"""
