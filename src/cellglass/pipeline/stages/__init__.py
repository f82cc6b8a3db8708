"""The stages of a run, one file each; each fills a part of the atlas and computes nothing by itself."""
