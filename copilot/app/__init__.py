"""The page that people use, on this computer only: ``eeg-copilot app``.

::

    recording file ─► intake ─► signal ─► asking ─► review ─► exports
                      header    quality   scores    edits     JSON, HTML, PDF, FHIR, audit log
                      montage   pictures  answer    sign-off

``privacy.py`` closes the process before Gradio is imported, ``session.py`` holds what one browser tab has loaded, and
``steps.py`` is what the buttons do, without any browser. ``views.py`` and ``signal_views.py`` render a session as HTML
with the words of ``words/`` and the templates of ``templates/``. ``kit.py``, ``page.py`` and one ``tab_*.py`` for each
step lay the page out; ``launch.py`` and ``serving.py`` serve it.
To add a language, write one file in ``words/`` and add it to `copilot.app.words.LANGUAGES`.
"""
