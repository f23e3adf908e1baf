"""The de-identification stage: recordings -> folder with the same signals and a statement.

::

    shared/
      rec-001.edf  rec-002.set  rec-002.fdt   numbered; the order tells nothing
      statement.json  statement.md            what was removed, by class
      manifest.json                           names no source
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from tqdm import tqdm

from copilot.deid.findings import Cleaned
from copilot.deid.preview import open_cleaned
from copilot.deid.samples import compare_signals
from copilot.deid.search import search_texts
from copilot.deid.statement import FileStatement, Statement, describe_cleaned, render_statement
from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest, hash_file, write_text
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import open_stage

_KEY_COLUMNS = ("name", "source")


class DeidentifyOptions(StrictModel):
    """Options of a de-identification.

    Parameters
    ----------
    keep_annotations : list of str
        Annotations that stay besides those of known event words, exactly as written.
    keep_year : bool
        State the year of each recording in the statement; the files hold no date either way.
    """

    keep_annotations: list[str] = Field(default=[])
    keep_year: bool = False


def deidentify_recordings(
    paths: Sequence[str | Path],
    out: str | Path,
    options: DeidentifyOptions | None = None,
    key: str | Path | None = None,
) -> tuple[Statement, Manifest]:
    """Write recordings without what identifies, compare their samples and search for what was removed.

    Parameters
    ----------
    paths : sequence of str or Path
        EDF, BDF, FIF, BrainVision (``.vhdr``) or EEGLAB (``.set``) files.
    out : str or Path
        Folder to write. An older result there is replaced once the new one is complete.
    options : DeidentifyOptions, optional
    key : str or Path, optional
        CSV file to write with each source and its new name; not within `out`, readable by the user alone. Only an
        older key is replaced.

    Returns
    -------
    tuple of Statement and Manifest

    Raises
    ------
    InputError
        If a file cannot be read, two are the same, or `key` lies in `out` or is another file. No message holds a
        file's name.
    StageError
        If a sample differs or a removed text was found in a new file; nothing is kept.
    """
    options, sources, out = options or DeidentifyOptions(), [Path(path) for path in paths], Path(out)
    if key is not None:
        _check_key(Path(key), out)
    keep = frozenset(text.strip() for text in options.keep_annotations)
    opened = _open_all(sources, keep)
    names = _number(sources)
    with open_stage("deidentified", out, options) as stage:
        files = []
        for source, cleaned in tqdm(zip(sources, opened, strict=True), total=len(sources), desc="files", disable=None):
            files.append(_write_one(source, cleaned, stage.folder, names[source], options))
        statement = Statement(files=sorted(files, key=lambda file: file.name))
        stage.facts = {"recordings": len(files), "removed": sum(sum(file.removed.values()) for file in files)}
        write_text(stage.folder / "statement.json", statement.model_dump_json(indent=2) + "\n")
        write_text(stage.folder / "statement.md", render_statement(statement))
    assert stage.manifest is not None
    if key is not None:
        _write_key(Path(key), sources, names)
    return statement, stage.manifest


def _check_key(key: Path, out: Path) -> None:
    """Refuse a place that is shared, and one where something other than a key is: it may be a recording."""
    if key.resolve().is_relative_to(out.resolve()):
        raise InputError("key: lies in the folder that is shared; choose a place outside of it")
    start = ",".join(_KEY_COLUMNS).encode()
    try:
        if not key.exists():
            return
        with key.open("rb") as stream:
            ours = stream.read(len(start)) == start
    except OSError as error:
        raise InputError(f"key: cannot be written ({error.strerror})") from None
    if not ours:
        raise InputError("key: another file is there already; choose a new place, or that of an older key")


def _open_all(sources: Sequence[Path], keep: frozenset[str]) -> list[Cleaned]:
    """Read all headers before anything is written; say by number which file is at fault."""
    if not sources:
        raise InputError("files: none given; accepted: one or more recordings")
    opened = []
    for number, source in enumerate(sources, start=1):
        try:
            opened.append(open_cleaned(source, keep))
        except InputError as error:
            raise InputError(f"file {number} of {len(sources)}: {error}") from None
    return opened


def _number(sources: Sequence[Path]) -> dict[Path, str]:
    """Return new names, numbered in the order of the contents' digests."""
    try:
        digests = {source: hash_file(source) for source in sources}
    except OSError as error:
        raise InputError(f"files: one of them cannot be read ({error.strerror})") from None
    if len(set(digests.values())) < len(sources):
        raise InputError("files: two of them are the same; give each recording once")
    width = max(3, len(str(len(sources))))
    ordered = sorted(digests, key=digests.__getitem__)
    return {source: f"rec-{number:0{width}d}" for number, source in enumerate(ordered, start=1)}


def _write_one(source: Path, cleaned: Cleaned, folder: Path, name: str, options: DeidentifyOptions) -> FileStatement:
    try:
        cleaned.write(folder, name)
    except InputError:
        raise
    except OSError as error:  # without the name that it carries; `open_stage` knows a full disk by the number
        raise OSError(error.errno, error.strerror) from None
    except Exception as error:  # a library's message may quote the file
        raise InputError(f"recording ({source.suffix.lower()}): cannot be written ({type(error).__name__})") from None
    written = sorted(path for path in folder.iterdir() if path.stem == name)
    compared = compare_signals(source, folder / f"{name}{source.suffix.lower()}")
    texts = [source.stem, *(finding.text for finding in cleaned.findings.found)]
    searched = search_texts(texts, written, name)
    return describe_cleaned(cleaned, name, keep_year=options.keep_year, compared=compared, searched=searched)


def _write_key(key: Path, sources: Sequence[Path], names: dict[Path, str]) -> None:
    """Write which source became what, for the user's eyes alone."""
    rows = io.StringIO()
    table = csv.writer(rows)
    table.writerow(_KEY_COLUMNS)
    table.writerows(sorted((names[source], source.name) for source in sources))
    try:
        key.unlink(missing_ok=True)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(rows.getvalue())
    except OSError as error:
        raise InputError(f"key: cannot be written ({error.strerror}); the recordings are") from None
