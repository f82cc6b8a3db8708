"""The tree of files that the page reads, each made from an atlas when it is asked for."""
