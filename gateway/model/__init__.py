"""The words that all rooms share: slotted dataclasses, names, topics. Standard library only, no I/O."""
