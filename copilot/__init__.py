"""From one EEG recording and one GGUF file to an assisted record, on this machine only.

``answer.py`` asks the model about every 30-s window and sums it up, within the bounds of ``gate.py``; ``record/`` puts
the answer into a typed `Record` and renders it (JSON, printable HTML); ``figures.py`` draws;
``record_stage.py`` does all of it for one file and ``run_record.py`` is its command. What leaves this folder is a draft
for research use, never a finding: it says so at its top and bottom, and it holds no name and no file name.
"""
