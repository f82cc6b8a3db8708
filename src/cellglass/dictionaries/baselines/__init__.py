"""What dictionaries are compared with: neurons, PCA, ICA, NMF, random directions. One file each."""
