#!/usr/bin/env python3
"""Writes the files of `data/` from the raw license facts.

    convert_license_facts.py SHARED_DATA_DIR OUT_DIR [--only-list FILE]

Reads `licenses/*.yaml` and, for models without public weights, `models.dev/models.json`. A wrong conversion can become
a wrong yes, so every key and every value of the input is either known here or ends the run.
"""

import argparse
import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

import yaml

# --- Tables: what the input may say, and what it becomes -------------------------------------------------------------

PERMISSIONS = {
    "use": "use",
    "commercial_use": "commercial_use",
    "modify": "modify",
    "fine_tune": "fine_tune",
    "redistribute": "redistribute",
    "redistribute_derivative": "redistribute_derivative",
    "host_as_service": "offer_as_service",
    "use_outputs": "use_outputs",
    "train_other_models_on_outputs": "train_other_models",
}
OPTIONAL_PERMISSIONS = {"redistribute_derivative"}
PERMISSION_STATUS = {
    "allowed": "allowed",
    "conditional": "conditional",
    "prohibited": "prohibited",
    "unspecified": None,
}
CATEGORIES = {
    c: c
    for c in (
        "osi-permissive",
        "osi-copyleft",
        "content-license",
        "data-license",
        "open-weight-permissive",
        "open-weight-community",
        "responsible-ai",
        "non-commercial",
        "research-only",
    )
}
# Texts of one publisher: where such a text was not read, what its record leaves out is not known.
OWN_TEXTS = {
    "open-weight-permissive",
    "open-weight-community",
    "responsible-ai",
    "non-commercial",
    "research-only",
    "service-terms",
    "proprietary",
}
SCOPES = {s: s for s in ("software", "content", "data", "model", "service")}
CONFIDENCE = {"read_full_text": "read-full-text", "secondary_source": "secondary-source"}
GRANT = {"irrevocable": "irrevocable", "revocable": "revocable", "unspecified": None, None: None}
PURPOSES = {
    p: p.replace("_", "-")
    for p in ("internal_business", "research", "evaluation", "education", "personal", "company")
}
PURPOSE_STATUS = {"allowed": "allowed", "prohibited": "prohibited", "unclear": "unclear"}
EXCLUDED_PURPOSES = {
    p: p
    for p in (
        "commercial",
        "production-use",
        "product-development",
        "employee-daily-work",
        "poc-for-revenue",
        "train-other-models",
        "competing-model",
    )
}
TRIGGERS = {
    "any": "any",
    "redistribute": "redistribute",
    "derivative": "derivative",
    "derivative_service": "derivative-service",
    "service": "service",
    "outputs_used_to_train_distributed_model": "trained-model",
    "publish": "publish",
    "benchmark": "benchmark",
}
PREDICATES = {
    p: p.replace("_", "-")
    for p in (
        "business_type",
        "commercial_use",
        "cosmos_model",
        "end_user_of_product",
        "end_users_in_eea_ch_gb",
        "image_outputs",
        "non_commercial_use",
        "non_profit_non_commercial",
        "research_or_evaluation",
        "self_hosting",
        "service",
    )
}
BINDING = {"encouraged_not_required": "encouraged", "publisher_request_outside_text": "outside-text", None: None}
APPROVAL = {"publisher_decides": "publisher-decides", "unread_agreement": "unread-agreement", None: None}
NOT_OPEN_TO = {"natural_persons": "natural_persons"}
GATED_BY = {"branding limits": "branding", None: ""}
STRENGTH = {"absolute": "absolute", "conditional": "conditional"}
COMPARISON = {"greater_than": "greater-than", "at_least": "at-least", "is_one_of": "is-one-of"}
AT_THRESHOLD = {"inside": "inside", "unsettled": "unsettled", None: None}
SUBJECT = {"product": "product", "licensee": "licensee", "licensee_and_affiliates": "group", "unclear": None}
EFFECT = {
    "needs_separate_licence": ("separate-license", None),
    "must_display_branding": ("display-branding", None),
    "needs_publisher_security_review": ("publisher-review", None),
    "prohibited": ("prohibited", None),
    "royalty_10_percent": ("royalty", "The royalty is 10 percent."),
}
MEASURED = {"fixed_date": "fixed-period", "any_time": "any-time", "at_application": "at-application"}
DATE_FROM_RELEASE = "release date of the model version concerned"
MONTH_WINDOW = "preceding calendar month"
TERRITORY_TEST = {
    "licensee_domicile_or_principal_place_of_business": "domicile",
    "place_of_use_and_distribution_including_outputs": "place-of-use",
    "location_or_incorporation_of_customer_and_personnel": "customer-and-personnel",
    "publisher_supported_list": "publisher-list",
    "unknown": None,
}
MULTIMODAL_ONLY = "multimodal models of the release only"
# What the proto calls the parts of a country: ISO 3166-2. Whole countries and sets stay as they are.
PLACES = {"UA-Crimea": "UA-43", "UA-Donetsk": "UA-14", "UA-Luhansk": "UA-09"}
WHOLE_PLACES = {"EU", "EEA", "US", "GB", "KR", "CU", "IR", "KP", "SY"}
STANCE = {
    "silent": "silent",
    "no_claim": "no-claim",
    "owned_by_user": "owned-by-user",
    "restricted": "restricted",
    "unknown": None,
}
# bespoke.yaml has no stance; this is what its words say.
STANCE_OF_OWNERSHIP = {
    None: None,
    "not addressed": "silent",
    "not addressed; 5.b only gives the licensee its own derivatives and modifications": "silent",
    "not addressed; licensee owns its own derivatives and modifications while compliant": "silent",
    "publisher claims no rights in generated outputs": "no-claim",
    "publisher claims no rights": "no-claim",
    "publisher claims none": "no-claim",
    "licensor claims no rights in outputs or derivatives": "no-claim",
    "licensor claims no rights (Chinese text)": "no-claim",
    "licensor claims no rights": "no-claim",
    "licensor claims no ownership": "no-claim",
    "rights in generated content belong to the user as far as local law allows": "owned-by-user",
    "licensor owns all outputs, original or modified": "restricted",
    "not stated in the part read": None,
    "not seen": None,
}
BARRED = {
    b: b.replace("_", "-")
    for b in ("any_model", "other_language_model", "other_image_model", "foundation_model", "competing_model")
}
PATENT = {
    "express": ("express", None),
    "disclaimed": ("disclaimed", None),
    "unspecified": (None, None),
    "express, narrower than Apache-2.0": ("express", "The patent grant is express, but narrower than in Apache-2.0."),
}

# What a note on a list of barred uses says of its completeness. "unread": partial where anything is listed, else not
# read.
POLICY_NOTES = {
    "No use policy; only the general duty to follow the law and export controls.": "complete",
    "list not read; military use is reported as barred": "unread",
    "not read": "unread",
    "The policy itself could not be read; restrictions are unknown, not absent.": "unread",
    "linked trustworthy-AI terms not read": "unread",
    "outside policy or text not read; the list is not complete": "unread",
}
POLICY_READ = {
    None: None,
    "OpenTermsArchive/genai-contrib-versions@78f66748": "complete",
    "four items, other release": "unread",
}
# Titles, in our own words, of policies that the input names by address only.
POLICY_TITLES = {
    "https://ai.meta.com/llama/use-policy": "Llama 2 acceptable use policy",
    "https://llama.meta.com/llama3/use-policy": "Llama 3 acceptable use policy",
    "https://llama.meta.com/llama3_1/use-policy": "Llama 3.1 acceptable use policy",
    "https://www.llama.com/llama3_2/use-policy": "Llama 3.2 acceptable use policy",
    "https://www.llama.com/llama3_3/use-policy": "Llama 3.3 acceptable use policy",
    "https://www.llama.com/llama4/use-policy": "Llama 4 acceptable use policy",
    "https://ai.google.dev/gemma/prohibited_use_policy": "Gemma prohibited use policy",
    "https://x.ai/legal/acceptable-use-policy": "xAI acceptable use policy",
    "https://www.databricks.com/legal/acceptable-use-policy-open-model": "Databricks open model acceptable use policy",
    "https://www.nvidia.com/en-us/agreements/trustworthy-ai/terms/": "NVIDIA trustworthy AI terms",
}
# Lists that several licenses share, and lists of twenty or more entries: slug → title and licenses.
POLICY_LIST_LONG = 20
SHARED_POLICIES = {
    "llama-2": ("Llama 2 acceptable use policy", ["LicenseRef-Llama-2-Community"]),
    "llama-3": ("Llama 3 acceptable use policy", ["LicenseRef-Llama-3-Community"]),
    "llama-3.1": ("Llama 3.1 acceptable use policy", ["LicenseRef-Llama-3.1-Community"]),
    "llama-3.2": ("Llama 3.2 acceptable use policy", ["LicenseRef-Llama-3.2-Community"]),
    "llama-3.3": ("Llama 3.3 acceptable use policy", ["LicenseRef-Llama-3.3-Community"]),
    "llama-4": ("Llama 4 acceptable use policy", ["LicenseRef-Llama-4-Community"]),
    "gemma": (
        "Gemma prohibited use policy",
        ["LicenseRef-Gemma-Terms-2024-04-01", "LicenseRef-Gemma-Terms-2025-03-24"],
    ),
    "tencent-hunyuan": (
        "Tencent Hunyuan acceptable use policy (Exhibit A)",
        [
            "LicenseRef-Tencent-Hunyuan-Community-EU",
            "LicenseRef-Tencent-Hunyuan-Community",
            "LicenseRef-Tencent-Hunyuan3D-2.0-Community",
        ],
    ),
    "openrail-creativeml": (
        "CreativeML OpenRAIL use restrictions (Attachment A)",
        [
            "LicenseRef-CreativeML-OpenRAIL-M",
            "LicenseRef-CreativeML-OpenRAIL-PP-M",
            "LicenseRef-Fair-AI-Public-1.0-SD",
        ],
    ),
    "stability-ai": (
        "Stability AI acceptable use policy",
        [
            "LicenseRef-Stability-AI-Community-2024",
            "LicenseRef-Stability-AI-NC-Research-Community",
            "LicenseRef-Stable-Video-Diffusion-NC",
        ],
    ),
    "falcon": (
        "Falcon acceptable use policy",
        ["LicenseRef-TII-Falcon-180B-1.0", "LicenseRef-TII-Falcon-2-11B-1.0", "LicenseRef-TII-Falcon-LLM-2.0"],
    ),
    "ltx-2": ("LTX-2 use restrictions (Attachment A)", ["LicenseRef-LTX-2-Community"]),
}

# The input's id for "no license known": it becomes no record.
UNKNOWN_ID = "LicenseRef-unknown"
UNKNOWN_EXPRESSION = "LicenseRef-Unknown"
# SPDX ids without a record, among the candidates of hub tags only. Those without `-only` and `-or-later` are deprecated.
CANDIDATES_WITHOUT_RECORD = {
    "AGPL-3.0-or-later",
    "GFDL-1.1",
    "GFDL-1.2",
    "GPL-2.0",
    "GPL-2.0-or-later",
    "GPL-3.0",
    "GPL-3.0-or-later",
    "LGPL-2.1",
    "LGPL-2.1-or-later",
    "LGPL-3.0",
    "LGPL-3.0-or-later",
}
# Ids that models use without a record; they evaluate to review.
REFS_WITHOUT_RECORD = {
    "LicenseRef-Google-HAI-DEF",
    "LicenseRef-NVIDIA-AI-Foundation-Models-Community",
    "LicenseRef-Yi-Series-2.0",
}
# Who hands out copies under a license whose downloads are gated.
GATE_KEEPERS = {
    "LicenseRef-LLaMA-1-Research": "meta",
    "LicenseRef-Llama-2-Community": "meta",
    "LicenseRef-Llama-3-Community": "meta",
    "LicenseRef-Llama-3.1-Community": "meta",
    "LicenseRef-Llama-3.2-Community": "meta",
    "LicenseRef-Llama-3.3-Community": "meta",
    "LicenseRef-Llama-4-Community": "meta",
    "LicenseRef-Gemma-Terms-2024-04-01": "google",
    "LicenseRef-Gemma-Terms-2025-03-24": "google",
    "LicenseRef-Databricks-Open-Model": "databricks",
    "LicenseRef-Mistral-MRL-0.1": "mistral",
    "LicenseRef-Cohere-Labs-CC-BY-NC-4.0-AUP": "cohere",
    "LicenseRef-Apertus-Apache-2.0-with-AUP-Gate": "swiss-ai",
}

EVIDENCE = {
    "read": "text-read",
    "secondary": "secondary",
    "general_knowledge": "general-knowledge",
    "conflict": "conflict",
}
PUBLIC = {True: "available", "partial": "partial", False: "unavailable"}
# Weights that are not public but once were; the note in the input says so.
WITHDRAWN = {
    "Dolly v2 12B": "Weights have been taken down from the hub.",
    "MPT-30B": "Weights no longer on the hub at the publisher; the chat version was CC-BY-NC-SA-4.0.",
}
# What stands in `components` instead of a license id.
DECLARED = {
    "mixed",
    "mixed (Matrix)",
    "mixed (RedPajama)",
    "mixed (SlimPajama, StarCoderData)",
    "mixed (The Pile)",
    "mixed (The Stack v2, by file)",
    "mixed, many ODC-By-1.0",
    "mixed, mostly ODC-By-1.0",
    "mixed, partly public (ROOTS)",
    "mixed, public",
    "mixed, shared as one set",
    "mixed: ODC-By-1.0 and others",
    "modified MIT",
    "ODC-By-1.0 (a part)",
}
# Words on availability, not on a license.
AVAILABILITY_WORDS = {
    "partial",
    "partial release",
    "partly internal",
    "partly public",
    "partly public (LAION)",
    "public",
    "public sources",
}
# A license of a part that only the notes of the input give.
PARTS_FROM_NOTES = {("Stanford Alpaca 7B", "training-data"): "CC-BY-NC-4.0"}

MODALITIES = {
    "text": (["text"], ["text"]),
    "text+image": (["text", "image"], ["text"]),
    "text+image+audio": (["text", "image", "audio"], ["text"]),
    "text+image+video": (["text", "image", "video"], ["text"]),
    "image": (["text"], ["image"]),
    "video": (["text"], ["video"]),
    "3d": (["text", "image"], ["three-d"]),
}
MASKS = "Gives out masks of objects, which are none of the recorded modalities."
# Models for which the word of the input says less, or would say something wrong: input, output, note.
MODALITIES_BY_MODEL = {
    "Janus-Pro 7B": ("text+image", ["text", "image"], ["text", "image"], None),
    "Llama Prompt Guard 2 86M": (
        "text",
        ["text"],
        [],
        "Gives out class labels, which are none of the recorded modalities.",
    ),
    "SAM (ViT-H)": ("image", ["image"], [], MASKS),
    "SAM 2 Large": ("image+video", ["image", "video"], [], MASKS),
    "SAM 3": ("image+video", ["image", "video"], [], MASKS),
    "DINOv3 ViT-7B": ("image", ["image"], [], "Gives out image features, which are none of the recorded modalities."),
    "Voxtral TTS 4B": ("audio", ["text"], ["audio"], None),
    "Stable Audio Open 1.0": ("audio", ["text"], ["audio"], None),
    "MusicGen Large": ("audio", ["text"], ["audio"], None),
    "SeamlessM4T v2 Large": ("speech", ["text", "audio"], ["text", "audio"], None),
    "SeamlessExpressive": ("speech", ["audio"], ["audio"], None),
    "Whisper large-v3": ("speech", ["audio"], ["text"], None),
    "Parakeet TDT 0.6B v3": ("speech", ["audio"], ["text"], None),
    "Canary 1B": ("speech", ["audio"], ["text"], None),
}
# Words in a note that would call for another relation than "fine-tune". None of the input's models with a base has one.
OTHER_RELATIONS = re.compile(r"quanti[sz]|merge|adapter|prun|distil", re.IGNORECASE)

# Publisher id → display name, other names (developers as the input writes them), hub organizations.
PUBLISHERS = {
    "01-ai": ("01.AI", [], ["01-ai"]),
    "adept": ("Adept", [], ["adept"]),
    "ai21labs": ("AI21 Labs", [], ["ai21labs"]),
    "alibaba": ("Alibaba", ["Alibaba (Qwen)"], ["Qwen"]),
    "allenai": ("Allen Institute for AI", [], ["allenai"]),
    "amd": ("AMD", [], ["amd"]),
    "anthropic": ("Anthropic", [], []),
    "apple": ("Apple", ["DataComp consortium (Apple hosts)"], ["apple"]),
    "baai": ("BAAI", [], ["BAAI"]),
    "baichuan-inc": ("Baichuan Inc.", [], ["baichuan-inc"]),
    "bigcode": ("BigCode", [], ["bigcode"]),
    "bigscience": ("BigScience", [], ["bigscience"]),
    "black-forest-labs": ("Black Forest Labs", [], ["black-forest-labs"]),
    "cohere": ("Cohere", ["Cohere Labs"], ["CohereLabs"]),
    "databricks": ("Databricks", [], ["databricks"]),
    "deepseek": ("DeepSeek", [], ["deepseek-ai"]),
    "eleutherai": ("EleutherAI", [], ["EleutherAI"]),
    "google": ("Google", ["Google DeepMind"], ["google", "google-bert"]),
    "groq": ("Groq", [], ["Groq"]),
    "hpcai-tech": ("HPC-AI Tech", [], ["hpcai-tech"]),
    "huggingfacetb": ("Hugging Face", [], ["HuggingFaceTB"]),
    "ibm-granite": ("IBM", [], ["ibm-granite"]),
    "infly": ("OpenCoder", [], ["infly"]),
    "internlm": ("Shanghai AI Laboratory", [], ["internlm"]),
    "lgai-exaone": ("LG AI Research", [], ["LGAI-EXAONE"]),
    "lightricks": ("Lightricks", [], ["Lightricks"]),
    "liquidai": ("Liquid AI", [], ["LiquidAI"]),
    "llm360": ("LLM360", ["LLM360 (MBZUAI IFM)"], ["LLM360"]),
    "lmsys": ("LMSYS", [], ["lmsys"]),
    "m-a-p": ("M-A-P", [], ["m-a-p"]),
    "meta": ("Meta", [], ["meta-llama", "facebook", "codellama"]),
    "microsoft": ("Microsoft", [], ["microsoft"]),
    "minimax": ("MiniMax", [], ["MiniMaxAI"]),
    "mistral": ("Mistral AI", [], ["mistralai"]),
    "moonshotai": ("Moonshot AI", [], ["moonshotai"]),
    "mosaicml": ("MosaicML", [], ["mosaicml"]),
    "nousresearch": ("Nous Research", [], ["NousResearch"]),
    "nvidia": ("NVIDIA", [], ["nvidia"]),
    "openai": ("OpenAI", [], ["openai", "openai-community"]),
    "openllm-france": ("OpenLLM-France, Linagora", [], ["OpenLLM-France"]),
    "openlm-research": ("OpenLM Research", [], ["openlm-research"]),
    "orionstarai": ("OrionStar", [], ["OrionStarAI"]),
    "perplexity": ("Perplexity", [], []),
    "pleias": ("Pleias", [], ["PleIAs"]),
    "rakuten": ("Rakuten", [], []),
    "rekaai": ("Reka", [], ["RekaAI"]),
    "sakana": ("Sakana AI", [], []),
    "salesforce": ("Salesforce", [], ["Salesforce"]),
    "sapienzanlp": ("Sapienza NLP", [], ["sapienzanlp"]),
    "skywork": ("Kunlun (Skywork)", [], ["Skywork"]),
    "snowflake": ("Snowflake", [], ["Snowflake"]),
    "stabilityai": ("Stability AI", ["DeepFloyd (Stability AI)"], ["stabilityai", "DeepFloyd"]),
    "stable-diffusion-v1-5": ("Runway, CompVis, Stability AI", [], ["stable-diffusion-v1-5"]),
    "swiss-ai": ("ETH Zurich, EPFL, CSCS", [], ["swiss-ai"]),
    "tatsu-lab": ("Stanford", [], ["tatsu-lab"]),
    "tele-ai": ("China Telecom AI", [], ["Tele-AI"]),
    "tencent": ("Tencent", [], ["tencent", "Tencent-Hunyuan"]),
    "tiiuae": ("Technology Innovation Institute", [], ["tiiuae"]),
    "tildeai": ("Tilde", [], ["TildeAI"]),
    "tinyllama": ("SUTD", [], ["TinyLlama"]),
    "togethercomputer": ("Together", [], ["togethercomputer"]),
    "tokyotech-llm": ("Institute of Science Tokyo", [], ["tokyotech-llm"]),
    "upstage": ("Upstage", [], ["upstage"]),
    "utter-project": ("UTTER consortium", [], ["utter-project"]),
    "xai": ("xAI", [], ["xai-org"]),
    "xiaomi": ("Xiaomi", [], []),
    "xverse": ("XVERSE", [], ["xverse"]),
    "yulan-team": ("RUC AI Box", [], ["yulan-team"]),
    "zhipuai": ("Zhipu AI", ["Zhipu AI / Z.ai"], ["THUDM", "zai-org"]),
}
# Developers whose words say more than the publisher's id; the model's notes keep them.
DEVELOPERS_NOTED = {"DataComp consortium (Apple hosts)", "DeepFloyd (Stability AI)", "LLM360 (MBZUAI IFM)"}

# Records of models.json that are also records of the license facts: the same name, publisher and month.
SAME_MODEL = {"mistral/mistral-medium-2505": "Mistral Medium 3"}
# Records of models.json that contradict themselves: said to be closed, yet with an address of weights.
CONTRADICTORY = {"mistral/mistral-medium-latest"}
MODELS_DEV = {"title": "models.dev models.json", "url": "https://models.dev", "date": "2026-07-01", "license": "MIT"}
CAPABILITIES = {
    "tool_call": "tool-call",
    "reasoning": "reasoning",
    "structured_output": "structured-output",
    "attachment": "attachment",
    "temperature": "temperature",
}
DEV_MODALITIES = {m: m for m in ("text", "image", "audio", "video", "pdf")}
# Keys of models.json that a record does not hold.
DEV_LEFT_OUT = {"benchmarks", "last_updated", "links", "reasoning_options"}

# Sources that ask for credit, by how the input cites them.
CREDITS = [
    (
        re.compile(r"Language-Technology-Assessment/main-database@[0-9a-f]+: \S.*"),
        {"url": "https://osai-index.eu", "license": "CC-BY-4.0"},
    ),
    (
        re.compile(r"Epoch AI notable models \(2025-12\)"),
        {"url": "https://epoch.ai/data/ai-models", "date": "2025-12", "license": "CC-BY-4.0"},
    ),
    (re.compile(r"lfai/model_openness_tool@[0-9a-f]+: \S.*"), {"url": "https://mot.isitopen.ai", "license": "MIT"}),
    (
        re.compile(r"betagouv/ComparIA@[0-9a-f]+: \S.*"),
        {"url": "https://github.com/betagouv/ComparIA", "license": "Apache-2.0"},
    ),
]

TAG_KINDS = {
    "single": "single",
    "or_later_open": "or-later-open",
    "family": "family",
    "dated": "dated",
    "special": "special",
}

# --- Spelling --------------------------------------------------------------------------------------------------------

AMERICAN = {
    "authorisation": "authorization",
    "behaviour": "behavior",
    "categorisation": "categorization",
    "categorising": "categorizing",
    "commercialisation": "commercialization",
    "defence": "defense",
    "dehumanising": "dehumanizing",
    "distil": "distill",
    "generalised": "generalized",
    "labelled": "labeled",
    "licence": "license",
    "licences": "licenses",
    "organisation": "organization",
    "organisations": "organizations",
    "practising": "practicing",
    "quantised": "quantized",
    "recognising": "recognizing",
    "sublicence": "sublicense",
    "summarised": "summarized",
    "unauthorised": "unauthorized",
}
BRITISH = re.compile(r"licenc|is(e|es|ed|ing|ation|ations)$|our$|ogue$|(?<!ca)(?<!se)lled$|lling$|[^u]tre$")
NOT_BRITISH = {
    "advised",
    "arising",
    "calling",
    "controlled",
    "distilled",
    "enterprise",
    "expertise",
    "four",
    "otherwise",
    "our",
    "praise",
    "revise",
    "selling",
    "spelled",
    "spelling",
    "telling",
    "your",
}
# Names of documents keep their spelling.
FOREIGN_NAMES = ["European Union Public Licence", "Licence Ouverte / Open Licence", "Licence Ouverte", "Open Licence"]


def american(text):
    """Our own prose in American spelling; addresses, paths and names of documents stay as they are."""
    if text is None:
        return None
    if not isinstance(text, str):
        fail(f"text expected, not {text!r}")
    if any(name in text for name in FOREIGN_NAMES):
        return text
    return re.sub(r"\S+", lambda match: american_token(match.group()), text)


def american_token(token):
    if re.search(r"[/@_]|\.[A-Za-z]", token):
        if BRITISH.search(token.lower()):
            SPELLING_KEPT.add(token)
        return token
    return re.sub(r"[A-Za-z]+", lambda match: american_word(match.group()), token)


def american_word(word):
    lower = word.lower()
    if lower in AMERICAN:
        spelled = AMERICAN[lower]
        return spelled.capitalize() if word[0].isupper() else spelled
    if BRITISH.search(lower) and lower not in NOT_BRITISH:
        fail(f"`{word}` looks like British spelling: add it to AMERICAN or NOT_BRITISH")
    return word


SPELLING_KEPT = set()
# Restrictions that are called conditional without their condition; they are reviewed all the same.
UNSTATED_CONDITIONS = []


# --- Reading without loss --------------------------------------------------------------------------------------------


def fail(message):
    sys.exit(f"error: {message}")


class Facts:
    """A mapping of which every key must be taken; what is left over is a fact that nobody knows."""

    def __init__(self, mapping, where):
        if not isinstance(mapping, dict):
            fail(f"{where}: a mapping is expected, not {mapping!r}")
        self.left = dict(mapping)
        self.where = where

    def take(self, key, default=...):
        if key in self.left:
            return self.left.pop(key)
        if default is ...:
            fail(f"{self.where}: `{key}` is missing")
        return default

    def text(self, key, default=...):
        value = self.take(key, default)
        if value is not None and not isinstance(value, str):
            fail(f"{self.where}: `{key}` is no text: {value!r}")
        return value

    def prose(self, key, default=None):
        return american(self.text(key, default))

    def one_of(self, key, table, default=...):
        return look_up(table, self.take(key, default), f"{self.where}: `{key}`")

    def all_of(self, key, table):
        return [look_up(table, value, f"{self.where}: `{key}`") for value in self.take(key, [])]

    def flag(self, key, default=...):
        value = self.take(key, default)
        if not isinstance(value, bool):
            fail(f"{self.where}: `{key}` is neither true nor false: {value!r}")
        return value

    def done(self):
        if self.left:
            fail(f"{self.where}: unknown {', '.join(f'`{key}`' for key in sorted(self.left))}")


def look_up(table, value, what):
    # `True == 1` in Python: a table of texts must not answer for a number.
    for known, meaning in table.items():
        if known == value and type(known) is type(value):
            return meaning
    fail(f"{what}: unknown value {value!r}")


def record(*pairs):
    """A message without the fields that hold their default."""
    return {key: value for key, value in pairs if value not in (None, "", [], {}, False)}


def sentences(*parts):
    """Several remarks as one text."""
    given = [part for part in parts if part]
    if len(given) < 2:
        return given[0] if given else ""
    return " ".join(part if part[-1] in ".!?" else f"{part}." for part in given)


def load_yaml(path):
    class Loader(yaml.SafeLoader):
        pass

    # Dates stay text.
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader)


DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


def date(value, where):
    if value is not None and (not isinstance(value, str) or not DATE.fullmatch(value)):
        fail(f"{where}: `{value}` is no date")
    return value


def month_before(day):
    year, month = int(day[:4]), int(day[5:7])
    return f"{year - 1}-12" if month == 1 else f"{year}-{month - 1:02}"


def day_before(day):
    import datetime

    return (datetime.date.fromisoformat(day) - datetime.timedelta(days=1)).isoformat()


# --- Licenses --------------------------------------------------------------------------------------------------------


class Words:
    """The slugs of vocabulary.yaml."""

    def __init__(self, path):
        facts = Facts(load_yaml(path), path.name)
        for key in ("schema_version", "compiled"):
            facts.take(key)
        self.use_categories = facts.take("use_category")
        self.broader = facts.take("use_category_broader")
        self.duty_kinds = facts.take("duty_kind")
        self.metrics = facts.take("limit_metric")
        self.business_types = facts.take("business_type")
        # Each table here must cover exactly the words of the vocabulary.
        covered = [
            ("licence_category", set(CATEGORIES) | {"proprietary-terms"}),
            ("permission", set(PERMISSIONS)),
            ("permission_status", set(PERMISSION_STATUS)),
            ("purpose", set(PURPOSES) | {"commercial"}),
            ("purpose_status", set(PURPOSE_STATUS)),
            ("excluded_purpose", set(EXCLUDED_PURPOSES)),
            ("restriction_strength", set(STRENGTH)),
            ("duty_class", {"consent", "bar", "general"}),
            ("duty_trigger", set(TRIGGERS)),
            ("duty_binding", set(BINDING) - {None}),
            ("duty_approval", set(APPROVAL) - {None}),
            ("predicate", set(PREDICATES)),
            ("limit_comparison", set(COMPARISON)),
            ("at_threshold", set(AT_THRESHOLD) - {None}),
            ("limit_subject", set(SUBJECT)),
            ("limit_effect", set(EFFECT)),
            ("limit_measured_kind", set(MEASURED)),
            ("territory_test", set(TERRITORY_TEST)),
            ("place_set", {"EU", "EEA", "well_known_markets"}),
            ("training_barred", set(BARRED)),
            ("outputs_stance", set(STANCE)),
            ("grant", set(GRANT) - {None}),
            ("confidence", set(CONFIDENCE)),
            ("licence_evidence", set(EVIDENCE)),
        ]
        for key, known in covered:
            words = set(facts.take(key))
            if words != known:
                fail(f"{path.name}: `{key}` and this script differ in {sorted(words ^ known)}")
        facts.done()
        for slug, broader in self.broader.items():
            for name in [slug, *broader]:
                if name not in self.use_categories:
                    fail(f"{path.name}: unknown use category `{name}`")

    def tree(self):
        categories = {
            slug: record(("sentence", american(sentence)), ("broader", self.broader.get(slug)))
            for slug, sentence in self.use_categories.items()
        }
        metrics = {slug: american(s) for slug, s in self.metrics.items() if slug != "business_type"}
        types = {slug: american(s) for slug, s in self.business_types.items()}
        return {"use_categories": categories, "business_types": types, "metrics": metrics}


def convert_license(raw, origin, words):
    """One record of bespoke.yaml or standard.yaml as a License; the list of barred uses comes beside it."""
    license_id = raw["id"]
    facts = Facts(raw, license_id)
    facts.take("id")
    bespoke = origin == "bespoke.yaml"
    notes = []

    display_name = american(facts.text("name"))
    version = facts.text("version")
    if bespoke:
        version_date = date(facts.text("version_date"), license_id)
    else:
        version_date = version if version and DATE.fullmatch(version) else None
    publisher = american(facts.text("publisher"))
    url = facts.text("url")
    providers = facts.take("providers", [])
    category = facts.take("category")
    if category == "proprietary-terms":
        category = "service-terms" if providers else "proprietary"
    else:
        category = look_up(CATEGORIES, category, f"{license_id}: `category`")
    # bespoke.yaml holds the licenses of model families only and says so at its head.
    scopes = ["model"] if bespoke else facts.all_of("scope", SCOPES)
    confidence = facts.one_of("confidence", CONFIDENCE)

    permissions, commercial_clause = convert_permissions(facts.take("permissions"), license_id)
    purposes = [
        record(
            ("purpose", look_up(PURPOSES, purpose, f"{license_id}: `purposes`")),
            ("status", look_up(PURPOSE_STATUS, status, f"{license_id}: `purposes`")),
            ("clause", commercial_clause),
        )
        for purpose, status in facts.take("purposes", {}).items()
    ]
    limits = [convert_purpose_limit(limit, license_id) for limit in facts.take("purpose_limits", [])]
    gates = [convert_gate(gate, license_id, words) for gate in facts.take("limits")]
    duties = [convert_duty(duty, license_id, words) for duty in facts.take("conditions")]
    check_groups(gates, duties, license_id)
    territory = convert_territory(facts.take("territory"), license_id)

    policy, restrictions, policy_notes = convert_field_of_use(
        facts.take("field_of_use"),
        license_id,
        words,
        category,
        confidence,
        any(duty["kind"] == "acceptable_use_policy" for duty in duties),
    )
    training = raw["permissions"]["train_other_models_on_outputs"]["status"]
    outputs = convert_outputs(facts.take("outputs"), license_id, bespoke, training)
    patent, patent_note = convert_patent(facts.take("patent", None), license_id)
    terminations = [convert_termination(t, license_id) for t in facts.take("termination")]
    law = Facts(facts.take("governing_law"), f"{license_id}: `governing_law`")
    governing_law = record(("law", law.prose("law")), ("forum", law.prose("forum")), ("clause", law.prose("section")))
    law.done()

    documents = [record(("title", display_name), ("url", url), ("version_date", version_date))] if url else []
    if policy.get("url"):
        title = policy.get("title") or look_up(POLICY_TITLES, policy["url"], f"{license_id}: policy")
        policy_date = policy.get("version", "")
        documents.append(
            record(("title", title), ("url", policy["url"]), ("version_date", date(policy_date or None, license_id)))
        )

    # Notes: first those of the input, then what has no field of its own.
    notes += [american(note) for note in facts.take("notes")]
    notes += policy_notes
    notes.append(patent_note)
    weights_available = facts.take("weights_available", None)
    self_hosting = facts.prose("self_hosting")
    if weights_available is not None:
        if weights_available is not False:
            fail(f"{license_id}: `weights_available` is {weights_available!r}")
        notes.append("No weights are available under these terms.")
    notes.append(f"Self-hosting: {self_hosting}." if self_hosting else None)

    scancode_key = facts.text("scancode_key")
    scancode_ref = facts.text("scancode_spdx_ref")
    if scancode_ref is not None and scancode_ref != f"LicenseRef-scancode-{scancode_key}":
        fail(f"{license_id}: `scancode_spdx_ref` does not follow from `scancode_key`")

    companion_of = facts.text("companion_of", None)
    osi_approved = facts.flag("osi_approved")
    fsf_libre = facts.flag("fsf_libre", False) if bespoke else facts.flag("fsf_libre")
    spdx_listed = facts.flag("spdx_listed")
    if companion_of and not spdx_listed and (osi_approved or fsf_libre):
        # Nobody approved the record with its policy, only the license that it accompanies.
        osi_approved = fsf_libre = False
        notes.append(f"What the OSI and the FSF say of {companion_of} is said of that license alone.")
    if osi_approved and not spdx_listed:
        fail(f"{license_id}: approved by the OSI, but not on the SPDX list")

    tree = record(
        ("name", f"licenses/{license_id}"),
        ("display_name", display_name),
        ("version", version),
        ("version_date", version_date),
        ("publisher", publisher),
        ("url", url),
        ("category", category),
        ("scopes", scopes),
        ("osi_approved", osi_approved),
        ("fsf_libre", fsf_libre),
        ("spdx_listed", spdx_listed),
        ("confidence", confidence),
        ("providers", providers),
        ("companion_of", companion_of),
        ("revocability", facts.one_of("grant", GRANT, None)),
        ("scancode_key", scancode_key),
        ("ambiguity", facts.prose("versions_ambiguous")),
        ("notes", [note for note in notes if note]),
        ("permissions", permissions),
        ("purposes", purposes),
        ("purpose_limits", limits),
        ("scale_gates", gates),
        ("territory", territory),
        ("duties", duties),
        ("use_policy", policy),
        ("use_restrictions", restrictions),
        ("outputs", outputs),
        ("patent", patent),
        ("terminations", terminations),
        ("governing_law", governing_law),
        ("documents", documents),
        ("hub_tags", [convert_hub_tag(tag, license_id) for tag in facts.take("huggingface")]),
        ("text_sources", [convert_text_source(source, license_id) for source in facts.take("text_source")]),
    )
    facts.done()
    return tree


def convert_permissions(raw, license_id):
    facts = Facts(raw, f"{license_id}: `permissions`")
    out = {}
    commercial_clause = None
    for key, field in PERMISSIONS.items():
        given = facts.take(key, None) if key in OPTIONAL_PERMISSIONS else facts.take(key)
        if given is None:
            continue
        one = Facts(given, f"{license_id}: permission `{key}`")
        clause = one.prose("section")
        out[field] = record(
            ("status", one.one_of("status", PERMISSION_STATUS)), ("clause", clause), ("note", one.prose("note"))
        )
        one.done()
        if key == "commercial_use":
            commercial_clause = clause
        if key in OPTIONAL_PERMISSIONS and "status" not in out[field]:
            fail(f"{license_id}: `{key}` without a status would not be seen as given")
    facts.done()
    return {field: permission for field, permission in out.items() if permission}, commercial_clause


def convert_purpose_limit(raw, license_id):
    facts = Facts(raw, f"{license_id}: `purpose_limits`")
    limit = record(
        ("purpose", facts.one_of("purpose", EXCLUDED_PURPOSES)),
        ("clause", facts.prose("section")),
        ("condition", facts.prose("condition")),
    )
    facts.done()
    return limit


def convert_gate(raw, license_id, words):
    facts = Facts(raw, f"{license_id}: `limits`")
    metric = facts.text("metric")
    if metric not in words.metrics:
        fail(f"{license_id}: unknown metric `{metric}`")
    threshold = facts.take("threshold")
    comparison = facts.one_of("comparison", COMPARISON)
    by_type = metric == "business_type"
    if by_type != (threshold is None) or by_type != (comparison == "is-one-of"):
        fail(f"{license_id}: membership and threshold do not go together in `{metric}`")
    if not by_type and (type(threshold) is not int or threshold <= 0):
        fail(f"{license_id}: threshold {threshold!r}")
    business_types = facts.take("business_types", [])
    for slug in business_types:
        if slug not in words.business_types:
            fail(f"{license_id}: unknown business type `{slug}`")
    effect, effect_note = facts.one_of("effect", EFFECT)
    only_if = facts.all_of("only_if", PREDICATES)
    needs_types = by_type or "business-type" in only_if
    if needs_types != bool(business_types):
        fail(f"{license_id}: business types and their predicate do not go together")
    measured, release_note = convert_measured(facts.take("measured"), license_id)

    extra = facts.prose("extra_condition")
    combine = facts.take("combine", None)
    if (combine is None) != (extra is None) or combine not in (None, "and"):
        fail(f"{license_id}: `combine` and `extra_condition` do not go together")
    if extra and "business-type" not in only_if:
        fail(f"{license_id}: `extra_condition` without a predicate would be lost")
    unless = facts.all_of("unless", PREDICATES)
    exemption = facts.prose("exemption")
    if exemption and not unless:
        fail(f"{license_id}: `exemption` of a limit without a predicate would be lost")
    affiliates = facts.prose("affiliate_control")
    currency = facts.prose("currency_note")
    definition = facts.prose("business_type_definition")
    note = sentences(
        facts.prose("note"),
        effect_note,
        release_note,
        f"Exemption: {exemption}" if exemption else None,
        f"Counts only together with this: {extra}" if extra else None,
        f"Affiliates are those under control of {affiliates}" if affiliates else None,
        f"US dollars {currency}" if currency else None,
        f"Kinds of business: {definition}" if definition else None,
    )
    verified = facts.take("verified", None)
    if verified not in (None, True, False):
        fail(f"{license_id}: `verified` is {verified!r}")
    gate = record(
        ("metric", metric),
        ("threshold", threshold),
        ("comparison", comparison),
        ("at_threshold", facts.one_of("at_threshold", AT_THRESHOLD, None)),
        ("subject", facts.one_of("subject", SUBJECT)),
        ("measured", measured),
        ("effect", effect),
        ("only_if", only_if),
        ("unless", unless),
        ("unsettled_if", facts.all_of("unsettled_if", PREDICATES)),
        ("business_types", business_types),
        ("group", facts.text("any_of_group", None)),
        ("clause", facts.prose("section")),
        ("scope", facts.prose("scope")),
        ("discretion", facts.prose("discretion")),
        ("unverified", verified is False),
        ("note", note),
    )
    facts.done()
    return gate


def convert_measured(raw, license_id):
    facts = Facts(raw, f"{license_id}: `measured`")
    kind = facts.one_of("kind", MEASURED)
    day = date(facts.text("date", None), license_id)
    period = date(facts.text("reference_period", None), license_id)
    window = facts.prose("window")
    date_from = facts.text("date_from", None)
    dates = facts.take("dates_by_model", {})
    facts.done()
    note = None
    by_release = False
    if kind == "fixed-period":
        if window != MONTH_WINDOW:
            fail(f"{license_id}: a fixed period with window {window!r}")
        if day:
            before = month_before(day)
            if period not in (None, before):
                fail(f"{license_id}: `{period}` is not the month before {day}")
            period = before
            if date_from:
                fail(f"{license_id}: both a date and where it comes from")
        elif date_from == DATE_FROM_RELEASE and dates and period is None:
            by_release = True
            note = "Release dates: " + ", ".join(f"{model} {day}" for model, day in dates.items())
        else:
            fail(f"{license_id}: a fixed period without a date")
    elif day or period or date_from or dates:
        fail(f"{license_id}: a date for `{kind}`")
    measured = record(
        ("kind", kind), ("period", period), ("month_before_release", by_release), ("date", day), ("window", window)
    )
    return measured, note


def convert_duty(raw, license_id, words):
    facts = Facts(raw, f"{license_id}: `conditions`")
    kind = facts.text("kind")
    if kind not in words.duty_kinds:
        fail(f"{license_id}: unknown duty `{kind}`")
    when = [facts.one_of("applies_when", TRIGGERS)] + facts.all_of("also_applies_when", TRIGGERS)
    if len(set(when)) != len(when):
        fail(f"{license_id}: a trigger of `{kind}` is given twice")
    strings = [facts.text("exact_string", None)] + facts.take("exact_string_alternatives", [])
    grant = facts.prose("grant")
    incorporates = facts.take("incorporates", [])
    duty = record(
        ("kind", kind),
        ("text", facts.prose("text")),
        ("when", when),
        ("not_when", facts.all_of("not_applicable_when", TRIGGERS)),
        ("only_if", facts.all_of("only_if", PREDICATES)),
        ("clause", facts.prose("section")),
        ("exact_strings", list(dict.fromkeys(string for string in strings if string))),
        ("binding", facts.one_of("binding", BINDING, None)),
        ("approval", facts.one_of("approval", APPROVAL, None)),
        ("gate_group", facts.one_of("gated_by", GATED_BY, None)),
        ("not_open_to", facts.all_of("not_open_to", NOT_OPEN_TO)),
        ("incorporates", incorporates),
        (
            "note",
            sentences(
                facts.prose("text_note"), facts.prose("language_note"), f"The right comes {grant}" if grant else None
            ),
        ),
    )
    facts.done()
    if "business-type" in duty.get("only_if", []):
        fail(f"{license_id}: a duty cannot name business types")
    return duty


def check_groups(gates, duties, license_id):
    """A display duty that waits for a gate needs one, and a gate that starts a display duty needs that duty."""
    started = {gate.get("group") for gate in gates if gate["effect"] == "display-branding"}
    waiting = {duty["gate_group"] for duty in duties if "gate_group" in duty}
    if started != waiting:
        fail(f"{license_id}: groups of gates {started} and of duties {waiting} differ")
    others = {gate["group"] for gate in gates if "group" in gate and gate["effect"] != "display-branding"}
    if others:
        fail(f"{license_id}: a group of gates with another effect than display: {others}")


def convert_territory(raw, license_id):
    if raw is None:
        return {}
    facts = Facts(raw, f"{license_id}: `territory`")
    excluded = []
    for place in facts.take("excluded"):
        if place not in PLACES and place not in WHOLE_PLACES:
            fail(f"{license_id}: unknown place `{place}`")
        excluded.append(PLACES.get(place, place))
    test = facts.one_of("test", TERRITORY_TEST)
    applies_to = facts.prose("applies_to")
    multimodal = applies_to == MULTIMODAL_ONLY
    rule = facts.prose("excluded_rule")
    if bool(rule) == bool(excluded) or bool(rule) != (test == "publisher-list"):
        fail(f"{license_id}: the list of places and its rule do not go together")
    withheld = facts.prose("rights_withheld")
    exemption = facts.prose("exemption")
    unless = facts.all_of("unless", PREDICATES)
    if exemption and not exemption.startswith("none") and not unless:
        fail(f"{license_id}: `exemption` of the territory without a predicate would be lost")
    caught = facts.take("models_caught", [])
    not_caught = facts.take("models_not_caught", [])
    unclear = facts.take("models_unclear", [])
    territory = record(
        ("excluded", excluded),
        ("test", test),
        ("applies_to", "multimodal-models" if multimodal else None),
        ("unless", unless),
        ("clause", facts.prose("section")),
        (
            "note",
            sentences(
                facts.prose("note"),
                f"Excluded: {rule}" if rule else None,
                f"Applies to: {applies_to}" if applies_to and not multimodal else None,
                f"Withheld: {withheld}" if withheld else None,
                f"Exemption: {exemption}" if exemption else None,
                f"Models caught: {', '.join(caught)}" if caught else None,
                f"Models not caught: {', '.join(not_caught)}" if not_caught else None,
                f"Unclear for: {american(', '.join(unclear))}" if unclear else None,
            ),
        ),
    )
    facts.done()
    return territory


def convert_field_of_use(raw, license_id, words, category, confidence, has_policy_duty):
    facts = Facts(raw, f"{license_id}: `field_of_use`")
    restrictions = []
    for entry in facts.take("restrictions"):
        one = Facts(entry, f"{license_id}: restriction")
        slug = one.text("category")
        if slug not in words.use_categories:
            fail(f"{license_id}: unknown use category `{slug}`")
        restriction = record(
            ("category", slug),
            ("strength", one.one_of("strength", STRENGTH)),
            ("clause", one.prose("section")),
            ("condition", one.prose("condition")),
        )
        one.done()
        if restriction["strength"] == "conditional" and "condition" not in restriction:
            UNSTATED_CONDITIONS.append(f"{license_id} {slug}")
        restrictions.append(restriction)

    document = facts.text("policy_document")
    is_url = bool(document) and document.startswith("https://")
    note = facts.text("note", None)
    read = facts.text("policy_read", None)
    chapeau = facts.prose("chapeau_note")
    covered, remark = coverage(note, read, document, restrictions, category, confidence, has_policy_duty, license_id)
    policy = record(
        ("title", None if is_url else american(document)),
        ("url", document if is_url else None),
        ("version", facts.text("policy_version", None)),
        ("can_change", facts.flag("policy_can_change")),
        ("can_change_basis", facts.prose("policy_can_change_basis")),
        ("coverage", covered),
        ("note", sentences(american(note), f"Read: {american(read)}" if read else None, remark)),
    )
    facts.done()
    return policy, restrictions, [chapeau]


def coverage(note, read, document, restrictions, category, confidence, has_policy_duty, license_id):
    """How much of a use policy is in the record. In doubt less: a listed category is then reviewed."""
    unread = "partial" if restrictions else "not-read"
    said = look_up(POLICY_NOTES, note, f"{license_id}: note on the policy") if note else None
    said = said or look_up(POLICY_READ, read, f"{license_id}: `policy_read`")
    if said:
        return (None, None) if said == "complete" else (unread, None)
    if not restrictions and (document or has_policy_duty):
        return unread, "The policy that the text names was not read."
    if category == "service-terms" and has_policy_duty:
        return unread, "The list holds what was checked of the policy and is not complete."
    if confidence == "secondary-source" and category in OWN_TEXTS:
        return unread, "The text was not read in full, so that further barred uses are not known."
    return None, None


def convert_outputs(raw, license_id, bespoke, training):
    facts = Facts(raw, f"{license_id}: `outputs`")
    if facts.take("training") != training:
        fail(f"{license_id}: `outputs.training` differs from the permission")
    ownership = facts.text("ownership")
    if bespoke:
        stance = look_up(STANCE_OF_OWNERSHIP, ownership, f"{license_id}: `ownership`")
    else:
        stance = facts.one_of("stance", STANCE)
    outputs = record(
        ("stance", stance),
        ("ownership", None if ownership == "unknown" else american(ownership)),
        ("training_barred", facts.all_of("training_barred", BARRED)),
        ("training_barred_only_if", facts.all_of("training_barred_only_if", PREDICATES)),
        ("trained_model_is_derivative", facts.flag("trained_model_is_derivative", False)),
        ("clause", facts.prose("section")),
        ("note", facts.prose("text")),
    )
    facts.done()
    if training == "prohibited" and "training_barred" not in outputs:
        fail(f"{license_id}: training is prohibited, but which is not said")
    if "training_barred_only_if" in outputs and "training_barred" not in outputs:
        fail(f"{license_id}: a condition of a bar that is not there")
    return outputs


def convert_patent(raw, license_id):
    if raw is None:
        return {}, None
    facts = Facts(raw, f"{license_id}: `patent`")
    grant, note = facts.one_of("grant", PATENT)
    patent = record(
        ("grant", grant), ("retaliation", facts.prose("retaliation")), ("clause", facts.prose("section"))
    )
    facts.done()
    return patent, note


def convert_termination(raw, license_id):
    facts = Facts(raw, f"{license_id}: `termination`")
    termination = record(
        ("trigger", facts.prose("trigger")),
        ("effect", facts.prose("effect")),
        ("clause", facts.prose("section")),
        ("cure", facts.prose("cure")),
    )
    facts.done()
    return termination


def convert_hub_tag(raw, license_id):
    facts = Facts(raw, f"{license_id}: `huggingface`")
    tag = record(
        ("tag", facts.text("license")),
        ("license_name", facts.text("license_name", None)),
        ("note", facts.prose("note")),
    )
    facts.done()
    return tag


def convert_text_source(raw, license_id):
    facts = Facts(raw, f"{license_id}: `text_source`")
    source = record(
        ("repository", facts.text("repo")),
        ("path", facts.text("path")),
        ("commit", facts.text("commit", None)),
        ("commit_date", date(facts.text("commit_date", None), license_id)),
        ("note", facts.prose("note")),
    )
    facts.done()
    return source


# Fields of a license that stand behind its use policy, in reading order.
AFTER_USE_POLICY = ["outputs", "patent", "terminations", "governing_law", "documents", "hub_tags", "text_sources"]


def move_policies(licenses):
    """Takes shared and long lists of barred uses out of the licenses."""
    policies = {}
    for slug, (title, ids) in SHARED_POLICIES.items():
        members = [licenses[license_id] for license_id in ids]
        lists = [member.pop("use_restrictions") for member in members]
        if any(entries != lists[0] for entries in lists):
            fail(f"the lists of policy `{slug}` are not the same")
        used = [member.get("use_policy", {}) for member in members]
        urls = {policy["url"] for policy in used if "url" in policy}
        versions = {policy["version"] for policy in used if "version" in policy}
        if len(urls) > 1 or len(versions) > 1:
            fail(f"policy `{slug}` has several addresses or versions")
        chapeau = [note for note in members[0].get("notes", []) if note.startswith("The bodily-harm part opens")]
        policies[slug] = record(
            ("id", slug),
            ("title", title),
            ("url", next(iter(urls), None)),
            ("version", next(iter(versions), None)),
            ("notes", chapeau),
            ("use_restrictions", lists[0]),
        )
        for member, policy in zip(members, used, strict=True):
            member["use_policy"] = {"policy": slug, **policy}
            member.update({key: member.pop(key) for key in AFTER_USE_POLICY if key in member})
            if chapeau:
                member["notes"] = [note for note in member["notes"] if note not in chapeau]
                if not member["notes"]:
                    del member["notes"]
    for name, tree in licenses.items():
        if len(tree.get("use_restrictions", [])) >= POLICY_LIST_LONG:
            fail(f"{name}: the list of barred uses is long and belongs into SHARED_POLICIES")
    return policies


# --- Models ----------------------------------------------------------------------------------------------------------

SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


def publisher_of(developer):
    for publisher, (display, others, _) in PUBLISHERS.items():
        if developer == display or developer in others:
            return publisher
    fail(f"unknown developer `{developer}`")


def publisher_of_repo(repo):
    organization = repo.split("/")[0]
    for publisher, (_, _, organizations) in PUBLISHERS.items():
        if organization in organizations:
            return publisher
    fail(f"unknown hub organization `{organization}`")


def model_segment(repo, name):
    """The last part of the hub repository in lower case, else a slug of the name without what is in round brackets."""
    text = repo.split("/", 1)[1] if repo else re.sub(r"\s*\(.*?\)", "", name)
    slug = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.")
    if not SEGMENT.fullmatch(slug):
        fail(f"`{name}` gives no name: `{slug}`")
    return slug


def fold(text):
    return re.sub(r"[^a-z0-9]", "", text.lower())


class Models:
    """All models of the two lists and of models.json."""

    def __init__(self, licenses):
        self.licenses = licenses
        self.raw = []  # (origin, mapping)
        self.external = {}  # name as written → mapping
        self.names = {}  # name as written → resource name
        self.trees = {}  # resource name → tree
        self.display = {}  # resource name → display name
        self.fixed_aliases = {}  # resource name → aliases that must stay
        self.dropped_aliases = []

    def license_id(self, value, where):
        """An id of a license that may stand in an expression."""
        if value == UNKNOWN_ID:
            return UNKNOWN_EXPRESSION
        if value in self.licenses or value in REFS_WITHOUT_RECORD:
            return value
        fail(f"{where}: unknown license `{value}`")

    def load(self, path):
        facts = Facts(load_yaml(path), path.name)
        for key in ("schema_version", "compiled"):
            facts.take(key)
        for license_id in facts.take("external_license_ids", []):
            self.license_id(license_id, path.name)
        for raw in facts.take("external_base_models"):
            external = Facts(raw, f"{path.name}: external base")
            name = external.text("model")
            license_id = external.text("license")
            repo = external.text("hf_repo")
            developer = external.text("developer")
            if repo and publisher_of_repo(repo) != publisher_of(developer):
                fail(f"{name}: developer and hub organization differ")
            base = record(
                (
                    "model",
                    f"publishers/{publisher_of_repo(repo)}/models/{model_segment(repo, name)}" if repo else name,
                ),
                ("license_expression", license_id and self.license_id(license_id, name)),
                ("note", external.prose("note")),
            )
            external.done()
            if name in self.external:
                fail(f"external base `{name}` is given twice")
            self.external[name] = base
        models = facts.take("models")
        count = facts.take("count", len(models))
        if count != len(models):
            fail(f"{path.name}: {len(models)} models, but `count` is {count}")
        facts.done()
        for raw in models:
            name = raw["model"]
            repo = raw["hf_repo"]
            publisher = publisher_of(raw["developer"])
            if repo and publisher_of_repo(repo) != publisher:
                fail(f"{name}: developer and hub organization differ")
            segment = model_segment(repo, name)
            for dev_id, same in SAME_MODEL.items():
                if same == name:
                    segment = dev_id.split("/", 1)[1]
            resource = f"publishers/{publisher}/models/{segment}"
            if name in self.names or resource in self.names.values():
                fail(f"{name}: the name `{resource}` is given twice")
            self.names[name] = resource
            self.raw.append(raw)

    def convert_all(self):
        for name in self.external:
            if name in self.names or self.external[name]["model"] in self.names.values():
                fail(f"external base `{name}` has a record")
        for raw in self.raw:
            self.convert(raw)
        # A stack is checked once every base is there.
        for raw in self.raw:
            self.stack(raw)

    def convert(self, raw):
        name = raw["model"]
        facts = Facts(raw, name)
        facts.take("model")
        resource = self.names[name]
        publisher = resource.split("/")[1]
        developer = facts.text("developer")
        repo = facts.text("hf_repo")
        raw_notes = facts.take("notes", [])
        raw_notes = [raw_notes] if isinstance(raw_notes, str) else raw_notes
        notes = [american(note) for note in raw_notes]
        if developer in DEVELOPERS_NOTED:
            notes.append(f"Developer as written by the source: {developer}.")

        inputs, outputs, modality_note = self.modalities(name, facts.text("modality"))
        notes.append(modality_note)
        parameters = Facts(facts.take("parameters"), f"{name}: `parameters`")
        counts = record(("total", parameters.take("total")), ("active", parameters.take("active")))
        parameters.done()
        if any(type(count) is not int or count <= 0 for count in counts.values()):
            fail(f"{name}: parameters {counts}")

        access = facts.prose("access")
        weights = self.weights(facts, name, publisher, repo, access, raw_notes)
        components = [weights] + self.parts(facts, name, weights)
        sources = facts.take("source")
        sources = [sources] if isinstance(sources, str) else sources

        self.trees[resource] = record(
            ("name", resource),
            ("display_name", name),
            ("aliases", []),
            ("input_modalities", inputs),
            ("output_modalities", outputs),
            ("parameters", counts),
            ("release_date", date(facts.text("release_date"), name)),
            ("notes", [note for note in notes if note]),
            ("components", components),
            ("base_models", self.base_models(facts.text("base_model"), name, raw_notes)),
            ("sources", [convert_source(source) for source in sources]),
        )
        facts.done()
        self.display[resource] = name
        self.fixed_aliases[resource] = [repo] if repo else []

    def modalities(self, name, word):
        if name in MODALITIES_BY_MODEL:
            expected, inputs, outputs, note = MODALITIES_BY_MODEL[name]
            if expected != word:
                fail(f"{name}: modality `{word}`, not `{expected}`")
            return inputs, outputs, note
        inputs, outputs = look_up(MODALITIES, word, f"{name}: `modality`")
        return inputs, outputs, None

    def weights(self, facts, name, publisher, repo, access, raw_notes):
        license_id = facts.text("license")
        public = facts.take("weights_public")
        gated = GATE_KEEPERS.get(license_id) == publisher
        if public is True:
            availability = "gated" if access or gated else "available"
        elif public == "on request":
            availability = "gated"
        elif public is False and name in WITHDRAWN:
            if WITHDRAWN[name] not in raw_notes:
                fail(f"{name}: its notes do not say that the weights were withdrawn")
            availability = "withdrawn"
        elif public is False:
            availability = "unavailable"
        else:
            fail(f"{name}: `weights_public` is {public!r}")
        if access and availability != "gated":
            fail(f"{name}: `access` to weights that are not public")
        declared = facts.text("license_declared_on_hub", None)
        evidence = facts.one_of("license_evidence", EVIDENCE)
        stack = facts.take("license_stack", [])
        # A repository whose name nobody checked is no address.
        unsure = any("not checked" in note or "not verified" in note for note in raw_notes)
        reachable = repo and availability in ("available", "gated") and not unsure
        address = f"https://huggingface.co/{repo}" if reachable else None
        return record(
            ("kind", "model-weights"),
            ("availability", availability),
            ("license_expression", license_id and self.license_id(license_id, name)),
            ("declared_license", declared),
            ("evidence", evidence),
            ("url", address),
            ("declared_in", "license tag on the model hub" if declared else None),
            ("note", sentences(f"Access: {access}" if access else None, stack_note(stack, name))),
            ("license_periods", self.periods(facts.take("license_by_revision", []), license_id, name)),
        )

    def periods(self, entries, current, name):
        periods = []
        for index, raw in enumerate(entries):
            facts = Facts(raw, f"{name}: `license_by_revision`")
            start = date(facts.text("from"), name)
            end = date(facts.text("to", None), name)
            note = facts.prose("note")
            following = entries[index + 1].get("from") if index + 1 < len(entries) else None
            if "to" not in raw and following:
                # The next period ends this one: the day before, or within the same month or year when no day is known.
                end = day_before(following) if len(following) == 10 else following
            if start is None and index:
                # Not before the one that it followed.
                start = periods[-1]["from"]
            periods.append(
                record(
                    ("from", start),
                    ("until", end),
                    ("license_expression", self.license_id(facts.text("license"), name)),
                    ("commit", facts.text("commit", None)),
                    ("note", note),
                )
            )
            facts.done()
        if periods and periods[-1]["license_expression"] != current:
            fail(f"{name}: the last period is not the current license")
        if periods and "until" in periods[-1]:
            fail(f"{name}: the last period has an end")
        return periods

    def parts(self, facts, name, weights):
        raw = facts.take("components", None)
        given = {}
        if raw is not None:
            parts = Facts(raw, f"{name}: `components`")
            own = parts.text("weights")
            if own != weights.get("license_expression"):
                fail(f"{name}: the license of the weights is given in two ways")
            for kind in ("training_data", "training_code", "inference_code"):
                given[kind] = parts.text(kind)
            parts.done()
        public = {
            "training_data": facts.one_of("training_data_public", PUBLIC),
            "training_code": facts.one_of("training_code_public", PUBLIC),
            # What has a license, or is called public, was released; `null` is "not released or not known".
            "inference_code": "available" if given.get("inference_code") else None,
        }
        out = []
        for kind, availability in public.items():
            if availability is None:
                continue
            slug = kind.replace("_", "-")
            text = given.get(kind) or PARTS_FROM_NOTES.get((name, slug))
            expression = declared = note = None
            if text in DECLARED:
                declared = text
            elif text in AVAILABILITY_WORDS:
                note = f"{text.capitalize() if text.islower() else text[0].upper() + text[1:]}; no license is named."
            elif text is not None:
                expression = self.license_id(text, f"{name}: {slug}")
            if text and availability == "unavailable":
                fail(f"{name}: a license for {slug} that was not released")
            out.append(
                record(
                    ("kind", slug),
                    ("availability", availability),
                    ("license_expression", expression),
                    ("declared_license", declared),
                    ("note", note),
                )
            )
        return out

    def base_models(self, written, name, raw_notes):
        if written is None:
            return []
        if any(OTHER_RELATIONS.search(note) for note in raw_notes):
            fail(f"{name}: its notes may say that it is no fine-tune")
        if written in self.names:
            base = {"model": self.names[written]}
        elif written in self.external:
            base = self.external[written]
        else:
            fail(f"{name}: unknown base `{written}`")
        extra = {key: value for key, value in base.items() if key != "model"}
        return [{"model": base["model"], "relation": "fine-tune", **extra}]

    def stack(self, raw):
        """Joins the licenses of the stack that neither the model's own nor those of its bases bring in."""
        entries = [entry["license"] if isinstance(entry, dict) else entry for entry in raw.get("license_stack", [])]
        if not entries:
            return
        name = raw["model"]
        if raw["license"] not in entries:
            fail(f"{name}: its stack does not hold its own license")
        reached = {raw["license"]} | self.inherited(self.names[name])
        missing = [self.license_id(entry, name) for entry in entries if entry not in reached]
        weights = self.trees[self.names[name]]["components"][0]
        if missing and "license_periods" in weights:
            fail(f"{name}: a stack and periods do not go together")
        weights["license_expression"] = " AND ".join([weights["license_expression"], *missing])

    def inherited(self, resource):
        """Licenses that evaluation finds through the bases: those of other owners, and those stated for bases."""
        out = set()
        tree = self.trees.get(resource, {})
        for base in tree.get("base_models", []):
            ancestor = self.trees.get(base["model"])
            owner = base["model"].split("/")[1] if base["model"].startswith("publishers/") else None
            if owner != resource.split("/")[1]:
                weights = ancestor["components"][0] if ancestor else base
                expression = weights.get("license_expression")
                if expression and " " not in expression:
                    out.add(expression)
            out |= self.inherited(base["model"])
        return out

    # Closed models.

    def add_closed(self, path):
        with open(path, encoding="utf-8") as file:
            records = json.load(file)
        left_out = Counter()
        for dev_id, raw in sorted(records.items()):
            if raw["open_weights"] is True:
                continue
            facts = Facts(raw, dev_id)
            lab, segment = dev_id.split("/", 1)
            if lab not in PUBLISHERS or not SEGMENT.fullmatch(segment):
                fail(f"{dev_id}: unknown publisher, or no name")
            facts.flag("open_weights")
            if facts.take("id") != dev_id:
                fail(f"{dev_id}: `id` differs")
            limit = Facts(facts.take("limit"), f"{dev_id}: `limit`")
            context, output, taken_in = limit.take("context", 0), limit.take("output", 0), limit.take("input", 0)
            limit.done()
            modalities = Facts(facts.take("modalities"), f"{dev_id}: `modalities`")
            inputs = modalities.all_of("input", DEV_MODALITIES)
            outputs = modalities.all_of("output", DEV_MODALITIES)
            modalities.done()
            flags = [(word, facts.take(key, None)) for key, word in CAPABILITIES.items()]
            if any(flag not in (None, True, False) for _, flag in flags):
                fail(f"{dev_id}: a capability is neither true nor false")
            links = facts.take("weights", [])
            if bool(links) != (dev_id in CONTRADICTORY):
                fail(f"{dev_id}: closed, yet with an address of weights")
            weights = {"kind": "model-weights", "availability": "unavailable"}
            conflicts = []
            if links:
                address = links[0]["url"]
                weights = record(
                    ("kind", "model-weights"),
                    ("url", address),
                    ("note", "The source says that there are no open weights and gives an address of some."),
                )
                conflicts = [
                    {
                        "field": "components[MODEL_WEIGHTS].availability",
                        "rule": "A source that contradicts itself leaves the availability unknown.",
                        "claims": [
                            {"value": "open_weights = false", "source": dict(MODELS_DEV)},
                            {"value": f"weights at {address}", "source": dict(MODELS_DEV)},
                        ],
                    }
                ]
            tree = record(
                ("name", f"publishers/{lab}/models/{segment}"),
                ("display_name", facts.text("name")),
                ("aliases", []),
                ("input_modalities", inputs),
                ("output_modalities", outputs),
                ("capabilities", [word for word, flag in flags if flag]),
                ("context_tokens", context),
                ("max_output_tokens", output),
                ("release_date", date(facts.text("release_date"), dev_id)),
                ("knowledge_cutoff", date(facts.text("knowledge", None), dev_id)),
                ("family", facts.text("family", None)),
                ("notes", [f"At most {taken_in} tokens of input."] if taken_in else []),
                ("components", [weights]),
                ("sources", [dict(MODELS_DEV)]),
                ("conflicts", conflicts),
            )
            for key in DEV_LEFT_OUT:
                left_out[key] += facts.take(key, None) is not None
            facts.done()
            self.add_closed_tree(dev_id, tree)
        return left_out

    def add_closed_tree(self, dev_id, tree):
        resource = tree["name"]
        if dev_id in SAME_MODEL:
            self.merge(self.trees[resource], tree)
        elif resource in self.trees:
            fail(f"{dev_id}: there is a record of that name")
        else:
            self.trees[resource] = tree
            self.fixed_aliases[resource] = []
        self.display[resource] = tree["display_name"]
        self.fixed_aliases[resource].append(dev_id)

    def merge(self, known, new):
        """Joins a record of the license facts, which says more of the license, and one of models.json."""
        resource = known["name"]
        if known["display_name"] != new["display_name"]:
            fail(f"{resource}: the names differ")
        if not new["release_date"].startswith(known["release_date"]):
            fail(f"{resource}: the dates of release differ")
        if known["components"][0]["availability"] != new["components"][0]["availability"]:
            fail(f"{resource}: the availability differs")
        conflicts = []
        for field in ("input_modalities", "output_modalities"):
            if known[field] != new[field]:
                conflicts.append(
                    {
                        "field": field,
                        "chosen": ", ".join(new[field]),
                        "rule": "The list of models.dev is the more specific one.",
                        "claims": [
                            {"value": ", ".join(known[field]), "source": known["sources"][0]},
                            {"value": ", ".join(new[field]), "source": dict(MODELS_DEV)},
                        ],
                    }
                )
        merged = record(
            *[(key, new[key]) for key in new if key not in ("notes", "components", "sources", "conflicts")],
            ("parameters", known.get("parameters")),
            ("notes", known.get("notes", []) + new.get("notes", [])),
            ("components", known["components"]),
            ("sources", known["sources"] + new["sources"]),
            ("conflicts", conflicts),
        )
        known.clear()
        known.update(merged)

    # Aliases.

    def give_aliases(self):
        """Hub repositories and models.dev ids always; display names only where no other model could be meant."""
        owners = {}
        for resource in self.trees:
            _, publisher, _, segment = resource.split("/")
            for text in (resource, f"{publisher}/{segment}", segment, *self.fixed_aliases[resource]):
                owners.setdefault(fold(text), set()).add(resource)
        for resource, aliases in self.fixed_aliases.items():
            for alias in aliases:
                if owners[fold(alias)] != {resource}:
                    fail(f"alias `{alias}` would name {sorted(owners[fold(alias)])}")
        displays = Counter(fold(display) for display in self.display.values())
        for resource, display in self.display.items():
            aliases = list(self.fixed_aliases[resource])
            if displays[fold(display)] == 1 and owners.get(fold(display), {resource}) == {resource}:
                aliases.append(display)
            else:
                self.dropped_aliases.append((resource, display))
            # A repository may be spelled like the name.
            self.trees[resource]["aliases"] = list(dict.fromkeys(aliases))
            ordered = ["name", "display_name", "aliases"]
            tree = self.trees[resource]
            self.trees[resource] = {key: tree[key] for key in ordered} | {
                key: value for key, value in tree.items() if key not in ordered
            }


def stack_note(entries, name):
    parts = []
    for entry in entries:
        if isinstance(entry, dict):
            facts = Facts(entry, f"{name}: `license_stack`")
            parts.append(f"{facts.text('license')} ({facts.prose('covers')})")
            facts.done()
        else:
            parts.append(entry)
    return f"License stack: {'; '.join(parts)}" if parts else None


def convert_source(text):
    title = american(text)
    for pattern, credit in CREDITS:
        if pattern.fullmatch(text):
            return {"title": title, **credit}
    if any(word in text for word in ("Language-Technology-Assessment", "Epoch AI", "model_openness_tool", "ComparIA")):
        fail(f"source `{text}` asks for credit and is cited in an unknown way")
    return {"title": title}


# --- Hub tags --------------------------------------------------------------------------------------------------------


def convert_tags(path, models):
    facts = Facts(load_yaml(path), path.name)
    for key in ("schema_version", "compiled"):
        facts.take(key)
    tags = []
    for raw in facts.take("tags"):
        one = Facts(raw, f"{path.name}: `{raw['tag']}`")
        license_id = one.text("id")
        candidates = [
            candidate if candidate in CANDIDATES_WITHOUT_RECORD else models.license_id(candidate, path.name)
            for candidate in one.take("candidates")
        ]
        tag = record(
            ("tag", one.text("tag")),
            ("kind", one.one_of("kind", TAG_KINDS)),
            ("license", license_id and models.license_id(license_id, path.name)),
            ("candidates", candidates),
            ("note", one.prose("note")),
        )
        # What the license records say too, and addresses for people.
        remark = [one.text("hub_name"), one.text("hub_info", None), one.text("hub_license", None)]
        tag["#"] = "; ".join(part for part in remark if part)
        own = models.licenses.get(license_id) if license_id else None
        file = one.text("file")
        if own is not None and file not in ("standard.yaml", "bespoke.yaml"):
            fail(f"{path.name}: `{tag['tag']}` has no file")
        for key, field in (("osi_approved", "osi_approved"), ("spdx_listed", "spdx_listed")):
            value = one.take(key)
            if own is not None and value is not None and value != own.get(field, False):
                fail(f"{path.name}: `{key}` of `{tag['tag']}` differs from the license")
        key = one.text("scancode_key")
        if own is not None and key is not None and key != own.get("scancode_key"):
            fail(f"{path.name}: `scancode_key` of `{tag['tag']}` differs from the license")
        one.done()
        tags.append(tag)
    if facts.take("count") != len(tags):
        fail(f"{path.name}: `count` differs")
    names = []
    for raw in facts.take("common_license_names_under_other"):
        one = Facts(raw, f"{path.name}: `{raw['license_name']}`")
        license_id = one.text("id")
        names.append(
            record(
                ("license_name", one.text("license_name")),
                ("license", license_id and models.license_id(license_id, path.name)),
                ("candidates", [models.license_id(candidate, path.name) for candidate in one.take("candidates", [])]),
                ("note", one.prose("note")),
            )
        )
        one.done()
    names_note = facts.prose("common_license_names_note")
    facts.done()
    return {"tags": tags, "license_names": names}, names_note


# --- Writing ---------------------------------------------------------------------------------------------------------

LINE_MAX = 120
# Small messages that stay on one line.
INLINE = {"measured", "parameters", "source", *PERMISSIONS.values()}
# Wording that must not be reflowed.
VERBATIM = {"exact_strings"}


def quoted(text):
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + out.replace("\n", "\\n").replace("\t", "\\t") + '"'


def wrapped(text, indent=""):
    """A long text as a multi-line basic string; the backslashes join the lines again."""
    lines, line = [], ""
    for word in text.replace("\\", "\\\\").replace('"""', '""\\"').split(" "):
        if line and len(indent) + len(line) + len(word) + 4 > LINE_MAX:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    if lines[-1].endswith('"'):
        lines[-1] = lines[-1][:-1] + '\\"'
    return '"""\\\n' + " \\\n".join(indent + part for part in lines) + '"""'


def toml_key(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)


def toml_value(value, key, width):
    """A value on the right of `=`; `width` is what already stands on the line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if isinstance(value, str):
        one_line = quoted(value)
        fits = width + len(one_line) <= LINE_MAX or key in VERBATIM or "\n" in value or "  " in value
        return one_line if fits or " " not in value else wrapped(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(k)} = {toml_value(v, 'exact_strings', 0)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        one_line = "[" + ", ".join(toml_value(item, "exact_strings", 0) for item in value) + "]"
        if width + len(one_line) <= LINE_MAX:
            return one_line
        items = []
        for item in value:
            text = quoted(item)
            long = len(text) + 5 > LINE_MAX and key not in VERBATIM and "\n" not in item and "  " not in item
            items.append("    " + (wrapped(item, "    ") if long else text) + ",\n")
        return "[\n" + "".join(items) + "]"
    fail(f"cannot write {value!r}")


def is_table(key, value):
    return isinstance(value, dict) and key not in INLINE


def is_tables(value):
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def toml_lines(tree, path):
    for key, value in tree.items():
        if key != "#" and not is_table(key, value) and not is_tables(value):
            left = f"{toml_key(key)} = "
            yield left + toml_value(value, key, len(left))
    for key, value in tree.items():
        if is_table(key, value):
            inner = f"{path}{toml_key(key)}"
            # A table of tables only needs no head of its own.
            if not value or not all(is_table(k, v) for k, v in value.items()):
                yield ""
                yield f"[{inner}]"
            yield from toml_lines(value, f"{inner}.")
        elif is_tables(value):
            for item in value:
                yield ""
                if item.get("#"):
                    yield f"# {item['#']}"
                yield f"[[{path}{toml_key(key)}]]"
                yield from toml_lines(item, f"{path}{toml_key(key)}.")


def plain(tree):
    """The tree without comments."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items() if key != "#"}
    return [plain(item) for item in tree] if isinstance(tree, list) else tree


def to_toml(tree, head=()):
    lines = [f"# {line}" for line in head] + list(toml_lines(tree, ""))
    text = "\n".join(lines).strip("\n") + "\n"
    # What was written must read as what was meant.
    if tomllib.loads(text) != plain(tree):
        fail("the TOML writer changed a value")
    return text


class Output:
    def __init__(self, root):
        self.root = root
        self.written = set()

    def write(self, path, tree, head=()):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(to_toml(tree, head), encoding="utf-8")
        self.written.add(target)

    def stale(self):
        folders = [self.root / name for name in ("licenses", "use-policies", "models")]
        return sorted(path for folder in folders for path in folder.glob("*.toml") if path not in self.written)


# --- Checks on what was written --------------------------------------------------------------------------------------


def read_back(folder):
    out = {}
    for path in sorted(folder.glob("*.toml")):
        with open(path, "rb") as file:
            out[path.stem] = tomllib.load(file)
    return out


def check_against_source(root, raw_licenses, chosen):
    """Counts what matters most in the files again, straight from the input, without the code above."""
    files = read_back(root / "licenses")
    policies = read_back(root / "use-policies")
    for raw in raw_licenses:
        license_id = raw["id"]
        if license_id not in chosen:
            continue
        tree = files.get(license_id)
        if tree is None or tree["name"] != f"licenses/{license_id}":
            fail(f"{license_id}: its file is missing")
        gates = tree.get("scale_gates", [])
        if [gate.get("threshold") for gate in gates] != [limit["threshold"] for limit in raw["limits"]]:
            fail(f"{license_id}: thresholds differ from the input")
        for gate, limit in zip(gates, raw["limits"], strict=True):
            predicates = [gate.get(key, []) for key in ("only_if", "unless", "unsettled_if")]
            expected = [limit.get(key, []) for key in ("only_if", "unless", "unsettled_if")]
            if predicates != [[p.replace("_", "-") for p in group] for group in expected]:
                fail(f"{license_id}: predicates of a gate differ from the input")
        duties = tree.get("duties", [])
        if [duty["kind"] for duty in duties] != [condition["kind"] for condition in raw["conditions"]]:
            fail(f"{license_id}: duties differ from the input")
        shared = tree.get("use_policy", {}).get("policy")
        if shared and shared not in policies:
            fail(f"{license_id}: policy `{shared}` is missing")
        entries = tree.get("use_restrictions", []) + (policies[shared]["use_restrictions"] if shared else [])
        expected = [(entry["category"], entry["strength"]) for entry in raw["field_of_use"]["restrictions"]]
        if [(entry["category"], entry["strength"]) for entry in entries] != expected:
            fail(f"{license_id}: barred uses differ from the input")
        for key, field in PERMISSIONS.items():
            given = raw["permissions"].get(key, {}).get("status", "unspecified")
            if tree.get("permissions", {}).get(field, {}).get("status", "unspecified") != given:
                fail(f"{license_id}: permission `{key}` differs from the input")
        excluded = (raw["territory"] or {}).get("excluded", [])
        if len(tree.get("territory", {}).get("excluded", [])) != len(excluded):
            fail(f"{license_id}: places differ from the input")
        if bool(raw["territory"]) != ("territory" in tree):
            fail(f"{license_id}: the territory differs from the input")


def check_references(root, known_licenses):
    """Every reference leads to a record or is named in the report."""
    models = {}
    aliases = {}
    missing_licenses, missing_bases = Counter(), Counter()
    for publisher, tree in read_back(root / "models").items():
        for model in tree["models"]:
            name = model["name"]
            if name in models or name.split("/")[1] != publisher:
                fail(f"`{name}` is given twice or stands in the wrong file")
            models[name] = model
            for alias in model["aliases"]:
                if aliases.setdefault(fold(alias), name) != name:
                    fail(f"alias `{alias}` names two models")
    for name, model in models.items():
        expressions = []
        for component in model["components"]:
            expressions.append(component.get("license_expression"))
            expressions += [period["license_expression"] for period in component.get("license_periods", [])]
        for base in model.get("base_models", []):
            expressions.append(base.get("license_expression"))
            if base["model"] not in models:
                missing_bases[base["model"]] += 1
        for expression in filter(None, expressions):
            for license_id in expression.split(" AND "):
                if license_id not in known_licenses:
                    missing_licenses[license_id] += 1
    for license_id, tree in read_back(root / "licenses").items():
        for duty in tree.get("duties", []):
            for other in duty.get("incorporates", []):
                if other not in known_licenses:
                    missing_licenses[other] += 1
        companion = tree.get("companion_of")
        if companion and companion not in known_licenses:
            missing_licenses[companion] += 1
        if license_id not in known_licenses:
            fail(f"`{license_id}` was not to be written")
    return models, missing_licenses, missing_bases


def check_hunyuan(models, raw_licenses):
    """Where a gate follows the release of a model, the model's date must be the one of the license facts."""
    for raw in raw_licenses:
        for limit in raw["limits"]:
            for name, day in limit["measured"].get("dates_by_model", {}).items():
                if models.trees[models.names[name]]["release_date"] != day:
                    fail(f"{name}: its date of release differs from the one in {raw['id']}")


# --- The whole -------------------------------------------------------------------------------------------------------


def read_only_list(path):
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [line for line in lines if line]
    if len(set(names)) != len(names):
        fail(f"{path}: {[name for name, n in Counter(names).items() if n > 1]} given twice")
    return set(names)


def main():
    parser = argparse.ArgumentParser(description="Writes the files of data/ from the raw license facts.")
    parser.add_argument("shared", type=Path, metavar="SHARED_DATA_DIR")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--only-list", type=Path, metavar="FILE", help="resource names to write, one a line")
    options = parser.parse_args()
    facts = options.shared / "licenses"

    words = Words(facts / "vocabulary.yaml")
    raw_licenses, licenses = [], {}
    for origin in ("bespoke.yaml", "standard.yaml"):
        file = Facts(load_yaml(facts / origin), origin)
        for key in ("schema_version", "compiled", "vocabulary"):
            file.take(key)
        elsewhere = {entry["id"] for entry in file.take("covered_elsewhere", [])}
        if not elsewhere <= set(licenses):
            fail(f"{origin}: {sorted(elsewhere - set(licenses))} is not covered elsewhere")
        for raw in file.take("licenses"):
            if raw["id"] in licenses:
                fail(f"`{raw['id']}` is given twice")
            tree = convert_license(raw, origin, words)
            if raw["id"] == UNKNOWN_ID:
                continue
            raw_licenses.append(raw)
            licenses[raw["id"]] = tree
        file.done()
    policies = move_policies(licenses)
    gated = {i for i, t in licenses.items() if any(d["kind"] == "accept_gated_terms" for d in t.get("duties", []))}
    if gated != set(GATE_KEEPERS):
        fail(f"licenses with a gate and GATE_KEEPERS differ in {sorted(gated ^ set(GATE_KEEPERS))}")

    models = Models(licenses)
    for origin in ("model-licenses-bespoke.yaml", "model-licenses-standard.yaml"):
        models.load(facts / origin)
    models.convert_all()
    curated = len(models.trees)
    check_hunyuan(models, raw_licenses)
    left_out = models.add_closed(options.shared / "models.dev" / "models.json")
    models.give_aliases()
    tags, names_note = convert_tags(facts / "hf-license-tags.yaml", models)

    # What is wanted.
    wanted = read_only_list(options.only_list) if options.only_list else None
    if wanted is not None:
        known = {f"licenses/{license_id}" for license_id in licenses} | set(models.trees)
        if wanted - known:
            fail(f"unknown names: {sorted(wanted - known)}")
    chosen = {i for i in licenses if wanted is None or f"licenses/{i}" in wanted}
    chosen_models = {n: t for n, t in models.trees.items() if wanted is None or n in wanted}
    bases = {base["model"] for tree in chosen_models.values() for base in tree.get("base_models", [])}
    lost = {base for base in bases if base in models.trees and base not in chosen_models}
    if lost:
        fail(f"bases with a record are not wanted: {sorted(lost)}")

    output = Output(options.out)
    for license_id in sorted(chosen):
        output.write(f"licenses/{license_id}.toml", licenses[license_id])
    used = {licenses[i].get("use_policy", {}).get("policy") for i in chosen}
    for slug in sorted(set(policies) & used):
        output.write(f"use-policies/{slug}.toml", policies[slug])
    by_publisher = {}
    for name in sorted(chosen_models):
        by_publisher.setdefault(name.split("/")[1], []).append(chosen_models[name])
    for publisher, trees in sorted(by_publisher.items()):
        output.write(f"models/{publisher}.toml", {"models": trees})
    named = set(by_publisher) | {base.split("/")[1] for base in bases if base.startswith("publishers/")}
    rows = []
    for publisher in sorted(named):
        display, others, organizations = PUBLISHERS[publisher]
        aliases = [name for name in dict.fromkeys(organizations + others) if name not in (publisher, display)]
        rows.append(record(("id", publisher), ("display_name", display), ("aliases", aliases)))
    seen = Counter()
    for row in rows:
        seen.update({fold(name) for name in [row["id"], row["display_name"], *row.get("aliases", [])]})
    if any(count > 1 for count in seen.values()):
        fail(f"a name stands for two publishers: {[name for name, count in seen.items() if count > 1]}")
    output.write("publishers.toml", {"publishers": rows})
    output.write("vocabulary.toml", words.tree())
    output.write(
        "hub-tags.toml",
        tags,
        head=[
            "License tags of the model hub and what they stand for. A tag is the uploader's claim, not a finding.",
            "`license_names`: names that stand beside the tag `other`.",
            names_note,
        ],
    )

    check_against_source(options.out, raw_licenses, chosen)
    found, missing_licenses, missing_bases = check_references(options.out, chosen)
    if len(found) != len(chosen_models):
        fail("models are missing in the files")

    print(f"licenses: {len(chosen)} written of {len(licenses)}")
    print(f"use policies: {len(set(policies) & used)} written of {len(policies)}")
    print(
        f"models: {len(chosen_models)} written of {len(models.trees)} "
        f"({curated} curated, {len(models.trees) - curated} of models.dev alone); publishers: {len(rows)}"
    )
    print(f"hub tags: {len(tags['tags'])}, license names: {len(tags['license_names'])}")
    counts = Counter(t.get("use_policy", {}).get("coverage", "complete") for i, t in licenses.items() if i in chosen)
    print(f"coverage of use policies: {dict(sorted(counts.items()))}")
    print(f"left out of models.json: {dict(sorted(left_out.items()))}")
    print("licenses without a record here (evaluate to review):")
    for license_id, count in sorted(missing_licenses.items()):
        print(f"    {license_id} ({count})")
    print("bases without a record here:")
    for base, count in sorted(missing_bases.items()):
        print(f"    {base} ({count})")
    print("display names that are no alias, since they could mean another model:")
    for resource, display in models.dropped_aliases:
        print(f"    {display} ({resource})")
    print(f"conditional restrictions without a stated condition: {UNSTATED_CONDITIONS}")
    print(f"spelling kept in: {sorted(SPELLING_KEPT)}")
    for path in output.stale():
        print(f"not written by this run: {path.name}")


if __name__ == "__main__":
    main()
