"""What all transformers share: tokens, batches, sites, hooks, coverage of genes. Knows of no published model."""
