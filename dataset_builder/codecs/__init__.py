"""Codecs: Trial <-> Code <-> text.

A codec turns one 30-s trial into a few symbols that a language model can read. To add one, write a file with a config
and a subclass of `base.Codec`, add a line to `CODECS` and name it in the README: the contract tests then apply to it.
"""

from dataset_builder.codecs.band_power import BandPowerCodec, BandPowerConfig
from dataset_builder.codecs.base import Codec, dump_codec, restore_codec
from dataset_builder.codecs.wavelet import WaveletCodec, WaveletConfig

CODECS: dict[str, type[Codec]] = {
    "band_power": BandPowerCodec,
    "wavelet": WaveletCodec,
}

#: What a recipe's ``codec:`` section may hold.
CodecConfig = BandPowerConfig | WaveletConfig


def make_codec(config: CodecConfig) -> Codec:
    """Return the (unfitted) codec of a recipe section."""
    return CODECS[config.name](config)


def load_codec_bytes(data: bytes) -> Codec:
    """Rebuild a fitted codec from the bytes that `dump_codec` wrote."""
    return restore_codec(data, CODECS)


__all__ = ["CODECS", "Codec", "CodecConfig", "dump_codec", "load_codec_bytes", "make_codec"]
