"""The kinds of sparse dictionary, one file each: a config, and a class that says how latents are chosen."""
