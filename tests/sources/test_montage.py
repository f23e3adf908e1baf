import mne
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.sources.montage import MASTOIDS, TEN_TEN, counts_inputs, match_channels
from dataset_builder.sources.seed_iv_tables import CHANNELS as SEED_IV_CHANNELS
from dataset_builder.types import SCALP_CHANNELS


def test_the_list_is_the_10_10_system() -> None:
    assert len(set(TEN_TEN)) == len(TEN_TEN)
    assert set(SCALP_CHANNELS) <= set(TEN_TEN)
    known = mne.channels.get_builtin_montages()
    montage = "colin27_1005" if "colin27_1005" in known else "standard_1005"
    positions = mne.channels.make_standard_montage(montage).ch_names
    assert set(TEN_TEN) | set(MASTOIDS) <= set(positions)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fp1", "Fp1"),
        ("FP1", "Fp1"),
        ("fpz", "Fpz"),
        ("EEG Fp1-REF", "Fp1"),
        ("EEG FP1-Ref", "Fp1"),
        ("EEG Fp1-LE", "Fp1"),
        ("EEG F3-A2", "F3"),
        ("EEG:C3", "C3"),
        ("EEG_C3", "C3"),
        ("EEG.C3", "C3"),
        ("EEGC3", "C3"),
        ("C3-M2", "C3"),
        ("C3 - A1A2", "C3"),
        ("Fz_AVG", "Fz"),
        ("T3", "T7"),
        ("T4", "T8"),
        ("EEG T5-REF", "P7"),
        ("t6", "P8"),
        ("M1", "A1"),
        ("A2", "A2"),
        (" CZ ", "Cz"),
        ("Fp1.", "Fp1"),
    ],
)
def test_known_spellings(name: str, expected: str) -> None:
    assert match_channels([name, "ECG"]).used == {name: expected}


@pytest.mark.parametrize(
    "name", ["EOG1", "HEOG", "VEOG-L", "ECG", "EKG1", "EMG Chin", "Status", "STI 014", "X1", "", "EEG", "-"]
)
def test_others_are_left_out(name: str) -> None:
    montage = match_channels([name, "Cz"])
    assert montage.used == {"Cz": "Cz"}
    assert montage.left_out == (name,)


def test_bipolar_channels_are_not_taken_for_the_first_of_the_pair() -> None:
    montage = match_channels(["Fp1-F7", "F7-T3", "T3-T5", "Cz"])
    assert montage.used == {"Cz": "Cz"}
    assert montage.bipolar == ("Fp1-F7", "F7-T3", "T3-T5")


def test_one_reference_for_all_is_a_reference() -> None:
    assert match_channels(["Fp1-Cz", "F3-Cz", "O1-Cz"]).used == {"Fp1-Cz": "Fp1", "F3-Cz": "F3", "O1-Cz": "O1"}


def test_the_same_place_twice_counts_once() -> None:
    montage = match_channels(["T3", "T7", "Fz"])
    assert montage.used == {"T3": "T7", "Fz": "Fz"}
    assert montage.left_out == ("T7",)


def test_numbered_amplifier_inputs_are_not_earlobes() -> None:
    names = [f"A{number}" for number in range(1, 33)]
    assert match_channels(names).used == {}


@given(st.lists(st.text(max_size=12), max_size=20, unique=True))
def test_every_channel_is_either_used_or_told(names: list[str]) -> None:
    montage = match_channels(names)
    assert sorted([*montage.used, *montage.left_out, *montage.bipolar]) == sorted(names)
    assert len(set(montage.used.values())) == len(montage.used)
    assert set(montage.used.values()) <= {*TEN_TEN, *MASTOIDS}


@given(st.permutations(SCALP_CHANNELS), st.sampled_from(["{}", "EEG {}", "EEG {}-REF", "{}-A2"]), st.booleans())
def test_any_order_and_spelling_is_understood(names: list[str], style: str, upper: bool) -> None:
    written = [style.format(name.upper() if upper else name) for name in names]
    assert list(match_channels(written).used.values()) == names


def test_seed_caps_map_but_for_the_two_below_the_system() -> None:
    montage = match_channels(SEED_IV_CHANNELS)
    assert montage.left_out == ("CB1", "CB2")
    assert len(montage.used) == 60
    assert set(SCALP_CHANNELS) < set(montage.used.values())


def test_faceds_mastoid_names_are_its_readers_business() -> None:
    montage = match_channels(["HEOR", "HEOL", *SCALP_CHANNELS])
    assert montage.left_out == ("HEOR", "HEOL")  # elsewhere these are eye channels
    assert tuple(montage.used) == SCALP_CHANNELS


@pytest.mark.parametrize("cap", ["biosemi64", "GSN-HydroCel-129", "EGI_256", "easycap-M1"])
def test_names_of_common_caps_are_used_only_where_they_name_places(cap: str) -> None:
    names = mne.channels.make_standard_montage(cap).ch_names
    montage = match_channels(names)
    numbered = cap in ("GSN-HydroCel-129", "EGI_256")
    # A net's only named place is its vertex.
    assert set(montage.used.values()) <= {"Cz"} if numbered else set(SCALP_CHANNELS) <= set(montage.used.values())


@pytest.mark.parametrize(
    "names",
    [
        [f"{letter}{number}" for letter in "ABCD" for number in range(1, 33)],  # BioSemi, 128 inputs
        [f"E{number}" for number in range(1, 129)],  # a net
        [f"EEG {number:03d}" for number in range(1, 33)],
        [f"Ch{number}" for number in range(1, 9)],
        [str(number) for number in range(1, 20)],
    ],
)
def test_numbered_channels_are_told_from_places(names: list[str]) -> None:
    assert counts_inputs([*names, "Status"])
    assert match_channels(names).used == {}


def test_places_are_no_numbers() -> None:
    assert not counts_inputs([*SCALP_CHANNELS, "A1", "A2", "EOG1", "X1", "Status"])
    assert not counts_inputs(["C1", "C2", "C3", "C4", "C5", "C6", "F1", "F2", "P1", "P2", "EXG1", "EXG2"])
