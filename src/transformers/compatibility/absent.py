"""Names of Transformers 4.4.2 that are not here, and what to do instead: one table, and the finder that reads it out.

``from transformers import BertModel``, ``import transformers.pipelines`` and ``transformers.BertModel`` all end in one
sentence. Python asks the finder for what no package and no module has; `LazyNames` asks Python. What is added to the
package later is found before the table is asked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["explain", "explain_absent_names"]

PACKAGE = "transformers"

# Model types of 4.4.2 as they begin the names of their classes, the longer ones first where one begins another.
_TYPES = """Albert Barthez Bart BertGeneration BertJapanese Bertweet Bert BlenderbotSmall Blenderbot Camembert
ConvBert CTRL Deberta(?!V2) DistilBert DPR Electra EncoderDecoder Flaubert FSMT Funnel GPT2 Herbert
IBert LayoutLM LED Longformer Lxmert M2M100 Marian MBart50 MBart MMBT MobileBert MPNet MT5 OpenAIGPT
Pegasus Phobert ProphetNet Rag Reformer RetriBert Speech2Text SqueezeBert T5 Tapas TransfoXL
Wav2Vec2 XLMProphetNet XLMRoberta XLM XLNet"""
_FOLDERS = """albert bart barthez bert_generation bert_japanese bertweet blenderbot blenderbot_small camembert convbert
ctrl deberta dialogpt distilbert dpr electra encoder_decoder flaubert fsmt funnel gpt2 herbert ibert layoutlm led
longformer lxmert m2m_100 marian mbart mmbt mobilebert mpnet mt5 openai pegasus phobert prophetnet rag reformer
retribert speech_to_text squeezebert t5 tapas transfo_xl wav2vec2 xlm xlm_prophetnet xlm_roberta xlnet"""


def _any_of(words: str) -> str:
    return "|".join(words.split())


_TYPE = "this model type is not here, only RoBERTa and DeBERTa-V2/V3 are; upstream Transformers has it."
_BERT = (
    "the model type BERT is not here; convert its checkpoint to RoBERTa's layout with `python -m "
    "transformers.models.roberta.convert_bert_to_roberta` and load it with AutoModel."
)
_HEAD = (
    "this head is not here, though its models are: take AutoModel with a head of your own on RobertaPreTrainedModel "
    "or DebertaV2PreTrainedModel, or upstream Transformers."
)
_NO_SUCH_HEAD = (
    "this head is not here, and neither are the model types that it is for; upstream Transformers has them."
)
_WRITES = "no model here writes text; upstream Transformers has generation."
_TENSORFLOW = "there is PyTorch only; drop the TF or Flax prefix where the class of that name is here."
_PIPELINE = (
    "this pipeline is not here: its models are not. See transformers.pipelines for those that are, such as "
    "text-classification and question-answering."
)
_PROCESSOR = (
    "the GLUE, XNLI and SQuAD processors are not here; load the data with the datasets library, or run_glue.py."
)
_REPORT = "this report is not here; TensorBoard and Weights & Biases are (--report_to), or write a TrainerCallback."
_FILES = "files come through huggingface_hub; take hf_hub_download, or cached_path for a file of a hub repository."
_LISTS = "such lists of published checkpoints are not kept here; look on the hub."
_DEBERTA = "this part of DeBERTa is built anew here; see transformers.models.deberta_v2.disentangled_attention."
_SPECIAL_TASK = (
    "this collator is for training that is not here; DataCollatorForLanguageModeling does masked language models."
)
_PARTS = "BERT's tokenizers are done by the tokenizers library here; take BertTokenizer."
_TABLE = "this layer belongs to model types that are not here; upstream Transformers has it."
_OWN = "it served parts of upstream that are not here."
_DUMMY = "every name is real here, so nothing stands in for libraries that are not installed."
_ABANDONED = (
    "the benchmarks of 4.4.2 are not here; time a model with torch.utils.benchmark, or see benchmarks/README.md."
)

# Patterns of whole names, asked in this order, each with its reason.
_REASONS: tuple[tuple[str, str], ...] = (
    (r"(modeling|optimization|trainer|generation|training_args|benchmark\w*)_(tf|flax)\w*", _TENSORFLOW),
    (r"(TF|Flax|FLAX_|tf_|TensorFlow)\w*|load_(tf|pytorch)\w*|convert_(pytorch|tf)\w*|shape_list", _TENSORFLOW),
    (r"AdamWeightDecay|GradientAccumulator|WarmUp|create_optimizer|is_tf_\w+|tf_required", _TENSORFLOW),
    (r"\w+_ARCHIVE_(MAP|LIST)|MODEL_NAMES_MAPPING", _LISTS),
    (r"AutoModelFor(Seq2SeqLM|TableQuestionAnswering|NextSentencePrediction)", _NO_SUCH_HEAD),
    (r"MODEL_FOR_(SEQ_TO_SEQ_CAUSAL_LM|TABLE_QUESTION_ANSWERING|NEXT_SENTENCE_PREDICTION)_MAPPING", _NO_SUCH_HEAD),
    (
        r"AutoModelForPreTraining|AutoModelWithLMHead",
        "of this head's kinds the masked one is here: AutoModelForMaskedLM.",
    ),
    (r"MODEL_(FOR_PRETRAINING|WITH_LM_HEAD)_MAPPING", "of this kind MODEL_FOR_MASKED_LM_MAPPING is here."),
    (r"(AutoModel|Roberta|DebertaV2)For[A-Z]\w+|MODEL_FOR_\w+_MAPPING", _HEAD),
    (r"Bert(?!Generation|Japanese|weet)[A-Z]\w*|(modeling|configuration|tokenization)_bert\w*", _BERT),
    (r"BasicTokenizer|WordpieceTokenizer", _PARTS),
    (rf"(Pretrained)?({_any_of(_TYPES)})(?![a-z])\w*|{_any_of(_FOLDERS)}", _TYPE),
    (r"(CharacterTokenizer|MecabTokenizer|AdaptiveEmbedding|BatchFeature|SequenceFeatureExtractor)", _TYPE),
    (r"feature_extraction\w*|image_utils|ModalEmbeddings", _TYPE),
    (rf"(modeling|configuration|tokenization|processing|retrieval)_({_any_of(_FOLDERS)}|marian|rag)\w*", _TYPE),
    (r"\w+Pipeline|Conversation|\w*PipelineDataFormat", _PIPELINE),
    (
        r"(conversational|table_question_answering|text2text_generation|text_generation|zero_shot_classification)",
        _PIPELINE,
    ),
    (r"generation_\w+|top_k_top_p_filtering|Beam(Search)?Scorer|\w+(LogitsProcessor(List)?|LogitsWarper)", _WRITES),
    (r"Logits(Processor|Warper)|LogitsProcessorList|(MaxLength|MaxTime|Stopping)Criteria(List)?", _WRITES),
    (r"Seq2Seq\w+|DataCollatorForSeq2Seq|\w+_seq2seq|prepare_seq2seq_batch|as_target_tokenizer", _WRITES),
    (r"DataCollatorFor(SOP|PermutationLanguageModeling)", _SPECIAL_TASK),
    (r"processors|metrics|datasets|(glue|xnli|squad)\w*|DataProcessor|Input(Example|Features)", _PROCESSOR),
    (r"SingleSentenceClassificationProcessor|Squad(Example|Features|V1Processor|V2Processor)", _PROCESSOR),
    (r"(Glue|Squad|Text|LineByLine)\w*(Dataset\w*|TrainingArguments)", _PROCESSOR),
    (r"(Comet|AzureML|MLflow)Callback", _REPORT),
    (r"prune_conv1d_layer", _TABLE),
    (r"(hf_bucket_url|url_to_filename|filename_to_url|get_cached_models|http_get|get_from_cache)", _FILES),
    (r"PYTORCH_\w+_CACHE", "the cache is huggingface_hub's; see TRANSFORMERS_CACHE or HF_HUB_CACHE there."),
    (r"TF2?_WEIGHTS_NAME", _TENSORFLOW),
    (r"ModelCard|modelcard|MODEL_CARD_NAME", "model cards are huggingface_hub's; take huggingface_hub.ModelCard."),
    (r"SPIECE_UNDERLINE", "it is '\\u2581', the sign that SentencePiece puts for a space."),
    (r"XSoftmax|DropoutContext|XDropout|get_mask|make_log_bucket_position|build_relative_position", _DEBERTA),
    (r"(c2p|p2c|pos)_dynamic_expand|DebertaV2(PredictionHeadTransform|OnlyMLMHead)", _DEBERTA),
    (
        r"SPMTokenizer|convert_to_unicode",
        "SentencePiece models are computed in transformers.tokenization.sentencepiece.",
    ),
    (r"Conv1D|SequenceSummary|SQuADHead|SquadHeadOutput|Pooler(Start|End)Logits|PoolerAnswerClass", _TABLE),
    (
        r"(BaseModelOutput|CausalLMOutput|SequenceClassifierOutput)With\w+|NextSentencePredictorOutput|CausalLMOutput",
        _TABLE,
    ),
    (r"(PyTorch)?Benchmark\w*|benchmark\w*", _ABANDONED),
    (r"dummy_\w+_objects", _DUMMY),
    (
        r"(torch|tf|flax)_(only_method|required)|requires_\w+",
        "PyTorch and tokenizers are always installed beside this.",
    ),
    (
        r"is_in_notebook|is_sagemaker\w*|is_training_run_on_sagemaker|\w+sagemaker\w*",
        "SageMaker is not supported here.",
    ),
    (r"get_tpu_sampler|nested_xla_mesh_reduce", "TPUs are not supported here."),
    (r"reissue_pt_warnings", "no warnings are caught here, so there are none to give again."),
    (r"ShardedDDPOption|init_deepspeed", "several processes are DDP, DeepSpeed or FSDP2; see docs/distributed.md."),
    (r"convert_slow_tokenizer|SLOW_TO_FAST_CONVERTERS", "there is one kind of tokenizer here, the fast one."),
    (
        r"convert_\w+",
        "conversions from other frameworks are not here; upstream Transformers writes what this package reads.",
    ),
    (r"replace_list_option_in_docstrings", "it made upstream's documentation; nothing here needs it."),
    (
        r"hf_api|user|lfs|download",
        "the hub's accounts and files are huggingface_hub's; take `hf auth` and `hf upload`.",
    ),
    (
        r"add_new_model|convert|run|serving|train|env",
        "of the commands `transformers-cli adapter` and `… env` are here.",
    ),
    (r"activations_tf|sagemaker|hp_naming|model_parallel_utils|modeling_auto_mapping|notebook", _OWN),
    (r"sentencepiece_model_pb2|test(ing|_generation)_utils|dependency_versions_\w+", _OWN),
)


def explain(name: str) -> str | None:
    """Say why a name of 4.4.2 is not here and what to use.

    Args:
        name: The full path, such as ``"transformers.BertModel"``.

    Returns:
        One sentence; None for a name that 4.4.2 did not have either.
    """
    last = name.rpartition(".")[2]
    for pattern, reason in _REASONS:
        if re.fullmatch(pattern, last):
            return f"{name} is not part of this package: {reason}"
    return None


class _AbsentNames(MetaPathFinder):
    """Finds nothing, and says why: Python asks it last."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse what is in the table.

        Raises:
            ModuleNotFoundError: With the sentence. It carries no name, or Python would put its own words in place.
        """
        sentence = explain(fullname) if fullname.startswith(f"{PACKAGE}.") else None
        if sentence is not None:
            raise ModuleNotFoundError(sentence)
        return None


def explain_absent_names() -> None:
    """Let Python ask the table for what it does not find in this package; asked for again it changes nothing."""
    if not any(type(finder).__qualname__ == _AbsentNames.__qualname__ for finder in sys.meta_path):
        sys.meta_path.append(_AbsentNames())
