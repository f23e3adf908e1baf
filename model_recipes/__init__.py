"""Corpus + base -> pruned -> recovered -> adapter -> merged -> GGUF.

``base -> prune -> recover -> adapter -> merge`` all read and write plain ``Qwen2ForCausalLM`` folders, each with its
``manifest.json``; one module holds one stage (``base.py``, ``prune.py``, ``recover.py``, ``adapter.py``,
``merge.py``) and one thin ``run_*.py`` calls it. Everything runs on a CPU; a GPU is used where there is one. Imports
only ``dataset_builder`` of ours.
"""
