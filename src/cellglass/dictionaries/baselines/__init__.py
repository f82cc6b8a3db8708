"""What dictionaries are compared with, with the same interface: neurons, PCA, ICA, NMF, random directions. One file each."""
