"""FACED's 28 film clips, as its Stimuli_info.xlsx lists them."""

from dataclasses import dataclass

#: The word that stands for "no targeted emotion" in the table: the neutral clips.
NO_EMOTION = "\\"


@dataclass(frozen=True)
class Clip:
    """One film clip.

    Parameters
    ----------
    number : int
        1 to 28; also the position in the data arrays.
    duration_s : int
        Length of the film; the data hold its last 30 s.
    film, database : str
    valence, emotion : str
        As written in the table: capitalised, and `NO_EMOTION` for neutral clips.
    """

    number: int
    duration_s: int
    film: str
    database: str
    valence: str
    emotion: str

    @property
    def label(self) -> str:
        """The emotion as one of `dataset_builder.types.EMOTIONS`."""
        return "neutral" if self.emotion == NO_EMOTION else self.emotion.lower()


CLIPS: tuple[Clip, ...] = (
    Clip(1, 81, "The Tokyo Trial", "DCEF", "Negative", "Anger"),
    Clip(2, 64, "Documentary about the Nanjing Massacre", "THU-EP", "Negative", "Anger"),
    Clip(3, 73, "City of Life and Death", "DCEF", "Negative", "Anger"),
    Clip(4, 79, "Trainspotting", "FilmStim", "Negative", "Disgust"),
    Clip(5, 69, "Indiana Jones and the Last Crusade", "FilmStim", "Negative", "Disgust"),
    Clip(6, 91, "Hellraiser", "FilmStim", "Negative", "Disgust"),
    Clip(7, 56, "The Shining", "FilmStim", "Negative", "Fear"),
    Clip(8, 60, "The Shining", "\\", "Negative", "Fear"),
    Clip(9, 106, "The Exorcist", "FilmStim", "Negative", "Fear"),
    Clip(10, 45, "In Bruges", "PED", "Negative", "Sadness"),
    Clip(11, 60, "Departures", "PED", "Negative", "Sadness"),
    Clip(12, 82, "Gangs of New York", "PED", "Negative", "Sadness"),
    Clip(13, 35, "Blue", "FilmStim", "Neutral", NO_EMOTION),
    Clip(14, 44, "Blue", "FilmStim", "Neutral", NO_EMOTION),
    Clip(15, 39, "Blue", "FilmStim", "Neutral", NO_EMOTION),
    Clip(16, 43, "Blue", "FilmStim", "Neutral", NO_EMOTION),
    Clip(17, 56, "Modern Times", "PED", "Positive", "Amusement"),
    Clip(18, 70, "Minions", "PED", "Positive", "Amusement"),
    Clip(19, 73, "Mr. Bean", "PED", "Positive", "Amusement"),
    Clip(20, 129, "Forrest Gump", "PED", "Positive", "Inspiration"),
    Clip(21, 77, "The Theory of Everything", "PED", "Positive", "Inspiration"),
    Clip(22, 76, "The Shawshank Redemption", "PED", "Positive", "Inspiration"),
    Clip(23, 34, "My Neighbor Totoro", "PED", "Positive", "Joy"),
    Clip(24, 37, "Night at the Museum Ⅲ", "PED", "Positive", "Joy"),
    Clip(25, 68, "Harry Potter Ⅰ", "PED", "Positive", "Joy"),
    Clip(26, 63, "\u00a0The Pursuit of Happiness", "PED", "Positive", "Tenderness"),
    Clip(27, 54, "Juno", "PED", "Positive", "Tenderness"),
    Clip(28, 77, "Sex and the City Ⅱ", "PED", "Positive", "Tenderness"),
)
