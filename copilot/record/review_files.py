"""A review on disk, inside the folder of its record.

::

    record/
      record.json ...         what the record stage wrote, untouched
      review/
        draft.json            the machine's draft
        record.json           the record as it stands
        signed-1.json ...     every version that was signed or amended
        audit.jsonl           the log; its digests cover the files above
"""

import shutil
from itertools import count, takewhile
from pathlib import Path

from copilot.record import REVIEW
from copilot.record.audit import AUDIT_FILE, AuditLog, verify_log
from copilot.record.json import digest_record, parse_record, render_json
from copilot.record.review import Review, open_review
from copilot.record.types import Record
from dataset_builder.errors import InputError
from dataset_builder.manifest import write_bytes
from dataset_builder.stage_folder import lock_folder


def load_review(folder: str | Path) -> Review:
    """Open the review in a record's folder, or begin one on its draft; nothing is written.

    Parameters
    ----------
    folder : str or Path
        As written by ``eeg-copilot record``.

    Raises
    ------
    InputError
        If there is no record, or a file is not what the log says it is.
    """
    folder = Path(folder)
    place = _find_kept(folder)
    if place is None:
        return open_review(parse_record(_read(folder / "record.json")))
    log = verify_log(_read(place / AUDIT_FILE))
    draft, record = parse_record(_read(place / "draft.json")), parse_record(_read(place / "record.json"))
    signed = _read_signed(place)
    _check_digests(draft, record, signed, log)
    return Review(draft, record, log, signed)


def save_review(review: Review, folder: str | Path) -> Path:
    """Write a review into its record's folder, all of it or nothing.

    Returns
    -------
    Path
        The review's folder, readable by its owner alone.

    Raises
    ------
    InputError
        If somebody else saved another review there in the meantime, or is saving one now.
    """
    folder = Path(folder)
    with lock_folder(folder / REVIEW):
        kept = _find_kept(folder)
        if kept is not None:
            _refuse_other_log(kept, review.log)
        return _swap_in(_list_files(review), folder)


def _swap_in(files: dict[str, bytes], folder: Path) -> Path:
    """Write the files beside the review that is there, then put them in its place."""
    target, partial, old = folder / REVIEW, folder / f"{REVIEW}.partial", folder / f"{REVIEW}.old"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    for name, data in files.items():
        write_bytes(partial / name, data)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _list_files(review: Review) -> dict[str, bytes]:
    signed = {f"signed-{number}.json": data for number, data in enumerate(review.signed_versions, 1)}
    kept = {"draft.json": render_json(review.draft), "record.json": render_json(review.record)}
    return signed | kept | {AUDIT_FILE: review.log.render()}


def _find_kept(folder: Path) -> Path | None:
    """Return where the review lies: its folder, or the older one if a save was interrupted between two renames."""
    places = (folder / REVIEW, folder / f"{REVIEW}.old")
    return next((place for place in places if (place / AUDIT_FILE).is_file()), None)


def _check_digests(draft: Record, record: Record, signed: tuple[bytes, ...], log: AuditLog) -> None:
    if digest_record(draft) != log.entries[0].after or record.draft_sha256 != log.entries[0].after:
        raise InputError(f"{REVIEW}/draft.json: is not the draft that {AUDIT_FILE} began with")
    if digest_record(record) != log.entries[-1].record:
        raise InputError(f"{REVIEW}/record.json: is not the record that {AUDIT_FILE} ends with")
    if [digest_record(parse_record(data)) for data in signed] != [
        entry.record for entry in log.entries if entry.action in ("sign", "amend")
    ]:
        raise InputError(f"{REVIEW}/signed-1.json and on: are not the versions that {AUDIT_FILE} says were signed")


def _refuse_other_log(kept: Path, log: AuditLog) -> None:
    there = verify_log(_read(kept / AUDIT_FILE)).entries
    if there != log.entries[: len(there)]:
        raise InputError(f"{REVIEW}/{AUDIT_FILE}: holds steps that this review does not know; open it again")


def _read_signed(place: Path) -> tuple[bytes, ...]:
    paths = (place / f"signed-{number}.json" for number in count(1))
    return tuple(_read(path) for path in takewhile(Path.is_file, paths))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise InputError(f"{path.name}: cannot be read here; accepted: the folder of a drafted record") from None
