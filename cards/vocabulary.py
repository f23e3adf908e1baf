"""Closed lists that the Hub knows; a word outside them is refused there or, worse, silently ignored."""

import re

#: Licence identifiers (Hugging Face documentation, "Licenses"). ``other`` needs a name and a link.
LICENCES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib
    pddl lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3
    llama4 grok2-community gemma eupl-1.2 h-research intel-research apple-ascl apple-amlr openmdw-1.0 openmdw-1.1
    unknown other
    """.split()
)

#: ISO 639-1 codes.
LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo
    es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg
    ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn
    no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw
    ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)

#: Size of a data set by rows, with the first count that no longer fits.
SIZES: dict[str, float] = {
    "n<1K": 1e3,
    "1K<n<10K": 1e4,
    "10K<n<100K": 1e5,
    "100K<n<1M": 1e6,
    "1M<n<10M": 1e7,
    "10M<n<100M": 1e8,
    "100M<n<1B": 1e9,
    "1B<n<10B": 1e10,
    "10B<n<100B": 1e11,
    "100B<n<1T": 1e12,
    "n>1T": float("inf"),
}

#: The tasks that a chat corpus about emotions can claim.
TASKS = frozenset({"text-generation", "text-classification", "question-answering", "time-series-forecasting", "other"})

_HUB_ID = re.compile(r"(?!.*(?:--|\.\.|\.git$))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}(?<![.-])")


def is_hub_id(name: object) -> bool:
    """Tell whether `name` has the form ``namespace/name`` of a Hub repository."""
    return isinstance(name, str) and len(name) <= 96 and _HUB_ID.fullmatch(name) is not None


def is_language(code: object) -> bool:
    """Tell whether `code` is an ISO 639-1 code or has the form of an ISO 639-3 code."""
    return isinstance(code, str) and (code in LANGUAGES or re.fullmatch(r"[a-z]{3}", code) is not None)


def size_category(n_rows: int) -> str:
    """Return the Hub's size category of a data set with `n_rows` rows."""
    return next(name for name, limit in SIZES.items() if n_rows < limit)
