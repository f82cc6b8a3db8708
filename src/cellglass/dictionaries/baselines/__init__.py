"""What dictionaries are held against, with their face: neurons, PCA, ICA, NMF, random directions. One file each."""
