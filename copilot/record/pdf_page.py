"""Pages of the PDF: fonts, status band, watermark of drafts, foot line, and the few blocks that a record is made of."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace
from matplotlib import get_data_path

from copilot.phrases import say
from dataset_builder.prompts import Language

#: Colours as in the printable page: ink, soft ink, rule, accent, red.
INK, SOFT, RULE, ACCENT, RED = (29, 39, 51), (76, 88, 101), (213, 219, 225), (11, 79, 138), (154, 38, 23)

#: Colour of the band by status.
BANDS = {"draft": INK, "edited": INK, "signed": (29, 92, 56), "amended": (31, 78, 121)}

_MARGIN_MM = 16

#: Where systems keep fonts, and which of theirs hold Chinese.
_FOLDERS = """/usr/share/fonts /usr/local/share/fonts ~/.local/share/fonts ~/.fonts /Library/Fonts /System/Library/Fonts
    C:/Windows/Fonts""".split()
_CHINESE = """NotoSansCJK*Regular* NotoSansSC* SourceHanSans*Regular* wqy-* DroidSansFallback* SimHei* simhei* msyh.*
    PingFang* STHeiti*""".split()


class Page(FPDF):
    """An A4 document with our band and foot on every page.

    Parameters
    ----------
    status : str
        Status of the record; picks the colour of the band.
    band, foot : str
        What stands at the top and the bottom of each page.
    watermark : str
        Written across every page; empty for none.
    language : {"en", "zh"}
        Into which our own sentences are put; English where no font has the other one.
    """

    def __init__(self, status: str, band: str, foot: str, watermark: str, language: Language = "en") -> None:
        super().__init__(format="A4")
        self.language: Language = language if find_chinese_font() is not None else "en"
        self._status = status
        self._band, self._foot, self._watermark = (self.say(text) for text in (band, foot, watermark))
        fonts = Path(get_data_path()) / "fonts" / "ttf"
        for style, name in (("", "DejaVuSans"), ("B", "DejaVuSans-Bold"), ("I", "DejaVuSans-Oblique")):
            self.add_font("body", style, fonts / f"{name}.ttf")
        chinese = find_chinese_font()
        if chinese is not None:
            for style in ("", "B", "I"):
                self.add_font("chinese", style, chinese)
        self._shown = {name: set(self.fonts[name].cmap) for name in ("body", "chinese") if name in self.fonts}
        self.set_margins(_MARGIN_MM, 20, _MARGIN_MM)
        self.set_auto_page_break(True, 20)
        self.add_page()

    def header(self) -> None:
        """Draw band and watermark."""
        self.set_fill_color(*BANDS[self._status])
        self.rect(0, 0, self.w, 11, style="F")
        self.set_font(self.choose_font(self._band), "B", 8.5)
        self.set_text_color(255)
        self.set_xy(_MARGIN_MM, 3)
        self.cell(0, 5, self.show(self._band))
        if self._watermark:
            self.set_font(self.choose_font(self._watermark), "B", 110)
            self.set_text_color(244, 230, 228)
            with self.rotation(45, self.w / 2, self.h / 2):
                self.text((self.w - self.get_string_width(self._watermark)) / 2, self.h / 2 + 15, self._watermark)
        self.set_xy(_MARGIN_MM, 20)

    def footer(self) -> None:
        """Write the foot line and the page number."""
        self.set_y(-13)
        self.set_font(self.choose_font(self._foot), "", 7)
        self.set_text_color(*SOFT)
        self.cell(self.epw - 16, 5, self.show(self._foot))
        self.cell(16, 5, f"{self.page_no()} / {{nb}}", align="R")

    def say(self, text: str) -> str:
        """Return a sentence of ours in the language of the document."""
        return say(text, self.language)

    def show(self, text: str) -> str:
        """Return text as the fonts can show it: what no font holds is said to be missing, never dropped in silence."""
        known = self._shown[self.choose_font(text)]
        missing = sum(ord(mark) not in known for mark in text if not mark.isspace())
        if not missing:
            return text
        if missing * 4 > len(text):
            return f"[{len(text)} characters that no font of this machine can print; they stand in the HTML record]"
        return "".join(mark if mark.isspace() or ord(mark) in known else "\ufffd" for mark in text)

    def choose_font(self, text: str) -> str:
        """Return the font of a paragraph: one for all of it, since fpdf2 mixes up fonts that change within a line."""
        marks = {ord(mark) for mark in text if not mark.isspace()}
        if marks <= self._shown["body"] or not marks <= self._shown.get("chinese", set()):
            return "body"
        return "chinese"

    def write_heading(self, text: str) -> None:
        """Write the title of a part; it stays with what follows."""
        if self.will_page_break(24):
            self.add_page()
        self.ln(4)
        self.write_text(self.say(text), size=12, style="B")
        self.set_draw_color(*INK)
        self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())
        self.ln(1.5)

    def write_ours(self, text: str, **options: Any) -> None:
        """Write a sentence of ours as `write_text` writes what a person or a model said."""
        self.write_text(self.say(text), **options)

    def write_text(
        self, text: str, size: float = 9, style: str = "", colour: tuple[int, int, int] = INK, indent: float = 0
    ) -> None:
        """Write a paragraph as it is; `size` in points, `indent` in mm."""
        self.set_font(self.choose_font(text), style, size)
        self.set_text_color(*colour)
        self.set_x(self.l_margin + indent)
        self.multi_cell(self.epw - indent, size * 0.5, self.show(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(0.8)

    def write_table(self, rows: Sequence[Sequence[str]], widths: tuple[int, ...], heading: Sequence[str] = ()) -> None:
        """Write a table as it is, its heading in our words; `widths` are relative. Pages do not cut rows."""
        self.set_font("body", "", 8)
        self.set_text_color(*INK)
        self.set_draw_color(*RULE)
        self.set_fill_color(0)  # fpdf2's default, which a table takes for "no filling"
        soft = FontFace(emphasis="BOLD", color=SOFT)
        with self.table(
            col_widths=widths,
            headings_style=soft,
            borders_layout="HORIZONTAL_LINES",
            first_row_as_headings=bool(heading),
            line_height=4.4,
            text_align="LEFT",
            padding=0.6,
        ) as table:
            for row in ([list(map(self.say, heading))] if heading else []) + list(rows):
                line = table.row()
                for cell in row:
                    line.cell(self.show(cell), style=FontFace(family=self.choose_font(cell)))
        self.ln(1)


@cache
def find_chinese_font() -> Path | None:
    """Return a font file with Chinese: that of the package ``mplfonts`` if installed, else one of the system's."""
    found = find_spec("mplfonts")
    if found is not None and found.origin:
        path = Path(found.origin).parent / "fonts" / "SimHei.ttf"
        if path.is_file():
            return path
    for folder in _FOLDERS:
        root = Path(folder).expanduser()
        for pattern in _CHINESE if root.is_dir() else ():
            for path in sorted(root.rglob(pattern)):
                if path.suffix.lower() in (".ttf", ".ttc", ".otf"):
                    return path
    return None
