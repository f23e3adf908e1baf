"""Codecs: Recording -> Features -> Code <-> text.

A codec turns one 30-s trial into a few symbols that a language model can read. To add one, write a file with a config
and a subclass of `base.Codec`, add a line to `CODECS` and to `CodecConfig` and name it in the README: the contract
tests then apply to it.
"""

from dataset_builder.codecs.band_power import BandPowerCodec, BandPowerConfig
from dataset_builder.codecs.base import Codec, Features, Target, dump_codec, restore_codec
from dataset_builder.codecs.chunk import ChunkCodec, ChunkConfig
from dataset_builder.codecs.components import ComponentsCodec, ComponentsConfig
from dataset_builder.codecs.dwt_topk import DwtTopkCodec, DwtTopkConfig
from dataset_builder.codecs.fitted import Fitted
from dataset_builder.codecs.learned import EvidenceCodec, EvidenceConfig
from dataset_builder.codecs.normalize import Normalization
from dataset_builder.codecs.raw import RawCodec, RawConfig
from dataset_builder.codecs.wavelet import WaveletCodec, WaveletConfig
from dataset_builder.codecs.wavelet_segments import WaveletSegmentsCodec, WaveletSegmentsConfig

CODECS: dict[str, type[Codec]] = {
    "band_power": BandPowerCodec,
    "components": ComponentsCodec,
    "evidence": EvidenceCodec,
    "dwt_topk": DwtTopkCodec,
    "wavelet": WaveletCodec,
    "wavelet_segments": WaveletSegmentsCodec,
    "raw": RawCodec,
    "chunk": ChunkCodec,
}

#: What a recipe's ``codec:`` section may hold.
CodecConfig = (
    BandPowerConfig
    | ComponentsConfig
    | EvidenceConfig
    | DwtTopkConfig
    | WaveletConfig
    | WaveletSegmentsConfig
    | RawConfig
    | ChunkConfig
)


def make_codec(config: CodecConfig) -> Codec:
    """Return the (unfitted) codec of a recipe section."""
    return CODECS[config.name](config)


def load_codec_bytes(data: bytes) -> Codec:
    """Rebuild a fitted codec from the bytes that `dump_codec` wrote."""
    return restore_codec(data, CODECS)


__all__ = [
    "CODECS",
    "Codec",
    "CodecConfig",
    "Features",
    "Fitted",
    "Normalization",
    "Target",
    "dump_codec",
    "load_codec_bytes",
    "make_codec",
]
