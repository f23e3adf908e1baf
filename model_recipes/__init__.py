"""Corpus + base -> pruned -> recovered -> adapter -> merged -> GGUF.

``base -> prune -> recover -> adapter -> merge`` all read and write plain ``Qwen2ForCausalLM`` folders, each with its
``manifest.json``; one module holds one stage (``base.py``, ``prune.py``, ``recover.py``, ``adapter.py``,
``merge.py``) and one thin ``run_*.py`` calls it. What a stage is made of lies in a folder beside it:

- ``pruning``: ``prune.py`` and the report of a pruning
- ``training``: ``recover.py`` and ``adapter.py``
- ``reading``: ``reader.py``
- ``exporting``: ``gguf.py`` and the files for ollama
- ``runtime``: ``engine.py`` and whatever else writes answers
- ``evaluation``: ``evaluate.py``
- ``paper_study``: ``paper.py``

Modules that several of them need lie beside the stages. Everything runs on a CPU; a GPU is used where there is one.
Imports only ``dataset_builder`` of ours.
"""
