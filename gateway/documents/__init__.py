"""Everything that comes from outside, one file per kind: parsed, checked with all faults at once, turned into `model/`.

The one door of pydantic, PyYAML, securesystemslib and cryptography. Used by the border worker, the CLIs and `cloud/`;
the running agent never imports it (they would double its memory).
"""
