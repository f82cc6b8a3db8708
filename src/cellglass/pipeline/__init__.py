"""Stages that fill an atlas: resumable, each with a fingerprint of its inputs.

config.py      what a run can be told
runner.py      stages, units, fingerprints, the lock
prepare.py     cells, model, activations, layout
learn.py       dictionaries, codes
interpret.py   genes, pathways
finish.py      evaluation, names, the atlas's tables, the report
explain.py     the list of stages and how they are started
demo.py        what the demo is told
"""
