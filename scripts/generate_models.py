#!/usr/bin/env python3
"""Writes `data/generated/`: a record for every model that is sold and that nobody has curated by hand.

    generate_models.py SHARED_DATA_DIR OUT_DIR --weighbridge BINARY

BINARY must be built with an empty `data/generated` and `data/architectures`. The script starts it as a server that forgets
everything, imports the data sets as anybody would, groups the offerings that are of no known model, imports those groups as
further models, and writes down the merged records of every model that models.dev lists or that somebody sells. So each field is what the importers
made of a source, with its provenance; nothing is filled in here. What this script decides is only which ids are one
model, and whose: see `group` and `publisher_of`. It prints what it left out.
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.parse
from collections import Counter, defaultdict
from pathlib import Path

DATE = "2026-07-01"

# --- Ids: what providers put around the name of a model ---------------------------------------------------------------

PREFIXES = (
    "workers-ai/@cf/", "@cf/", "@hf/", "accounts/fireworks/models/", "accounts/fireworks/routers/", "hf:", "~", "tee/",
    "route/", "pro/", "us.", "eu.", "jp.", "au.", "ca.", "apac.", "us-gov.", "global.", "coding-", "databricks-",
    "snowflake-", "xpersona-", "azure/", "bedrock/", "vertex/",
)
# The same weights at another precision, plan or place. What may be other weights is not here.
SUFFIXES = (
    ":free", "-free", "-tee", "-bf16", "-fp16", "-fp8-fast", "-fp8", "-fp4", "-nvfp4", "-mxfp4", "-int8", "-int4", "-awq",
    "-gptq", "-v1:0", "-v2:0", "-1:0", "@default", "-maas", "-6bit",
)
# Routers, plans, products and moving names: no models.
NOT_MODELS = re.compile(
    r"(^|[/:-])(auto|router|routers|route-llm|model-router|owl(-alpha)?|duo-chat.*|code-standard|free|balanced|frontier|"
    r"fusion|efficient|stealth|compound(-mini)?|switchpoint|bodybuilder|composer.*|default|best|premium|brainstorm.*|coding|plan)($|[/:-])"
    r"|-latest$|^nanogpt/|^the-grid|^duo-|smart-router|:online|:thinking(:|$)|:low$|:medium$|:high$|:\d+$|-auto$|^kilo"
)
# Speeds and efforts of a request are modes of a model, not models; so are tools that a provider adds.
MODES = re.compile(
    r"(-fast|-high|-low|-medium|-xhigh|-minimal|-online|-tools|-highspeed|-flashx|-original|-turbo-preview|-cheaper|-flex|-short"
    r"|-lightning|-high-throughput|-cs|-\d+k|-classic(-\d+)?|-raw|-aug|-mlx-4bit|-q4_k_m|-iq4_xs|-tput|-think|-nothink(ing)?|-reasoner"
    r"|-instant|-dflash|-paddle|-derestricted.*|-unshackled|-chat-latest)$"
)
# Makers who let a request switch thinking on and off: a model of theirs is never called so, but for those named here.
HYBRID = {"anthropic", "google", "deepseek", "zhipuai", "xiaomi", "moonshotai", "openai"}
CALLED_SO = {"kimi-k2-thinking", "glm-4.1v-9b-thinking", "glm-4.1v-thinking"}
# Makers of whom no model is called turbo or lite: that is a provider's faster copy.
NO_TURBO = {"google", "meta", "deepseek", "zhipuai", "moonshotai"}
# Maker's own models whose last word is a speed.
OWN_SPEEDS = {("xai", "-fast"), ("xai", "-original")}

# Providers who only serve what they make; elsewhere an id without an organization says nothing of its maker.
MAKERS = {
    "openai": "openai", "anthropic": "anthropic", "google": "google", "mistral": "mistral", "xai": "xai",
    "cohere": "cohere", "deepseek": "deepseek", "moonshotai": "moonshotai", "moonshotai-cn": "moonshotai",
    "zhipuai": "zhipuai",  "zai": "zhipuai", "zhipuai-coding-plan": "zhipuai", "minimax": "minimax", "minimax-cn": "minimax",
    "perplexity": "perplexity", "perplexity-agent": "perplexity", "stepfun": "stepfun", "xiaomi": "xiaomi",
    "inception": "inception", "morph": "morph", "upstage": "upstage", "sarvam": "sarvam", "jina": "jinaai",
    "voyage": "voyage", "poolside": "poolside", "tencent-hunyuan": "tencent", "iflytek": None,
}
# Starts of names that one maker alone uses for its own models. A name with another maker's word in it (`llama` with
# `nemotron`) is left to ids that state the organization.
NAMES = [
    (r"(gpt-|chatgpt-|o[134](-|$)|text-embedding-(3|ada)|dall-e|whisper-|tts-1|sora-|codex-)", "openai"),
    (r"claude-", "anthropic"),
    (r"(gemini-|gemma-?\d|imagen-|veo-|lyria-|palm-|text-bison)", "google"),
    (r"(qwen|qwq|qvq|wan\d|tongyi-)", "alibaba"),
    (r"deepseek-(v\d|chat|reasoner|r1(-\d{4})?$|coder|ocr|prover|math)", "deepseek"),
    (r"(meta-)?llama-?\d(\.\d+)?-\d+b(-\d+e)?(-vision)?(-instruct|-chat)?$|llama-4-(scout|maverick)", "meta"),
    (r"(mistral-|mixtral-|codestral|ministral-|pixtral-|magistral-|devstral-|voxtral-)", "mistral"),
    (r"grok-", "xai"),
    (r"(glm-|cogview|cogvideo|autoglm)", "zhipuai"),
    (r"(kimi-|moonshot-)", "moonshotai"),
    (r"minimax-", "minimax"),
    (r"(command-(a|r)|c4ai-|aya-|embed-(english|multilingual|v)|rerank-|cohere-)", "cohere"),
    (r"(nova-(pro|lite|micro|premier|2)|titan-)", "amazon"),
    (r"sonar($|-)", "perplexity"),
    (r"(phi-\d|wizardlm-)", "microsoft"),
    (r"ernie-", "baidu"),
    (r"(doubao-|seedream|seedance|seed-\d)", "bytedance"),
    (r"hunyuan-", "tencent"),
    (r"step-\d", "stepfun"),
    (r"mimo-", "xiaomi"),
    (r"(granite-\d)", "ibm-granite"),
    (r"jamba-", "ai21labs"),
    (r"(ring-|ling-)\d", "inclusionai"),
    (r"mercury(-|$)", "inception"),
    (r"kat-", "kwaipilot"),
    (r"trinity-", "arcee-ai"),
    (r"(bge-)", "baai"),
    (r"jais-", "inceptionai"),
    (r"longcat-", "meituan"),
    (r"voyage-", "voyage"),
    (r"solar-", "upstage"),
]
# Of an id without an organization every further word must be one that makers use for versions and variants of their own:
# otherwise it may be somebody's derivative.
WORD = re.compile(
    r"(v?\d+([.p_]\d+)*[bmkt]?|\d+x\d+b|[aev]\d+b|r\d+|instruct|chat|it|thinking|reasoning|non|preview|exp|experimental|turbo|plus|max"
    r"|mini|nano|flash|lite|pro|ultra|vl|vision|omni|audio|image|images|video|edit|generate|coder|code|codex|math|embed|embedding|embeddings|reranker|rerank"
    r"|tts|asr|stt|realtime|transcribe|translate|translation|small|medium|large|next|air|airx|x|search|deep|research|opus|sonnet|haiku|maverick|scout"
    r"|guard|safeguard|oss|english|multilingual|arabic|latest|spark|speciale|terminus|ocr|prover|doc|long|mt|character|ja|livetranslate|voicedesign|voiceclone"
    r"|t2v|i2v|r2v|t2i|multi|agent|beta|fast|voice|imagine|quality|open|tiny|premier|micro|saba|nemo|en|es|medical|canvas|reel|sonic|seed|ada|001|002"
    r"|hd|z1|zero|long|phone|codex|deep|r\+?)$"
)
# A name that holds one of these is derived from the model it starts like, whoever made it.
DERIVED = re.compile(r"nemotron|distill|hermes|dolphin|abliterat|uncensored|lora|merge|finetune|-ft-|tulu|euryale|magnum|swallow")


def fold(text: str) -> str:
    """Blanks, case and separators of a name, as far as a person would not tell two apart."""
    folded = re.sub(r"[\s._:@-]+", "-", text.lower()).strip("-")
    folded = re.sub(r"^meta-(?=llama)", "", folded)
    return re.sub(r"^(llama|qwen|gemma|glm|mistral-small|phi|claude-opus|claude-sonnet|claude-haiku)-?(?=\d)", r"\1-", folded)


def stripped(provider: str, ident: str) -> str:
    text = ident.strip()
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if text.lower().startswith(prefix) and len(text) > len(prefix):
                text, changed = text[len(prefix):], True
        for suffix in SUFFIXES:
            if text.lower().endswith(suffix) and len(text) > len(suffix) + 2:
                text, changed = text[: -len(suffix)], True
    if provider == "amazon-bedrock" and "/" not in text and "." in text:
        text = text.replace(".", "/", 1)
    text = re.sub(r"^cohere/cohere-", "cohere/", text)
    if "/models/" in text:
        organization, rest = text.split("/", 1)
        text = f"{organization}/{rest.rsplit('/', 1)[1]}"
    if provider.startswith("azure") or provider == "github-models":
        text = re.sub(r"^cohere-", "cohere/", text.lower()) if "/" not in text else text
    if provider == "clarifai":
        text = text.replace("_", ".") if re.search(r"\d_\d", text) else text
    if provider == "fireworks-ai":
        text = re.sub(r"(\d)p(\d)", r"\1.\2", text)
    if provider == "ollama-cloud":
        text = text.replace(":", "-")
    return text


# Names that are those of another record, by publisher and folded name: a maker's own other spelling of it.
SAME = {
    "anthropic/claude-3-sonnet": None,  # two dated ones
    "anthropic/claude-3-5-sonnet": None,
    "anthropic/claude-sonnet-3-5": None,
    "anthropic/claude-haiku-3": "claude-3-haiku-20240307",
    "anthropic/claude-3-haiku": "claude-3-haiku-20240307",
    "anthropic/claude-3-opus": "claude-3-opus-20240229",
    "google/gemma-3-4b": "gemma-3-4b-it",
    "google/gemma-3-12b": "gemma-3-12b-it",
    "google/gemma-3-27b": "gemma-3-27b-it",
    "google/gemma-3": None,
    "google/gemma-4": None,
    "alibaba/qwen-3-235b-a22b-2507": "qwen3-235b-a22b-instruct-2507",
    "alibaba/qwen-3-30b-a3b-2507": "qwen3-30b-a3b-instruct-2507",
    "alibaba/qwen-3-235b-a22b-thinking": None,
    "alibaba/qwen-3-235b-a22b-instruct": None,
    "alibaba/qwen-3-coder": "qwen3-coder-480b-a35b-instruct",
    "alibaba/qwen-3-coder-480b": "qwen3-coder-480b-a35b-instruct",
    "alibaba/qwen-3-coder-30b": "qwen3-coder-30b-a3b-instruct",
    "alibaba/qwen-3-coder-30b-a3b": "qwen3-coder-30b-a3b-instruct",
    "alibaba/qwen-2-5-coder-32b": None,
    "google/gemini-3-pro": "gemini-3-pro-preview",  # there was no other
    "google/gemini-3-flash": "gemini-3-flash-preview",
    "google/gemini-3-1-pro": None,
    "cohere/north-mini-code": "north-mini-code-1-0",
    "nvidia/nemotron-3-nano-omni": "nemotron-3-nano-omni-30b-a3b-reasoning",
    "xai/grok-4-20-reasoning": "grok-4.20-0309-reasoning",  # there was no other of the version
    "xai/grok-4-20-non-reasoning": "grok-4.20-0309-non-reasoning",
    "xai/grok-4-20-beta-0309-reasoning": "grok-4.20-0309-reasoning",
    "xai/grok-4-20-beta-0309-non-reasoning": "grok-4.20-0309-non-reasoning",
    "xai/grok-4-20-reasoning-beta": "grok-4.20-0309-reasoning",
    "xai/grok-4-20-non-reasoning-beta": "grok-4.20-0309-non-reasoning",
    "openai/gpt-5-chat": None,
    "meta/llama-3-3-70b": "llama-3.3-70b-instruct",  # there is no base model of that version
    "moonshotai/kimi-k2": "kimi-k2-instruct",
    "moonshotai/kimi-k2-0905": "kimi-k2-instruct-0905",
    "moonshotai/kimi-k2-0905-preview": "kimi-k2-instruct-0905",
    "deepseek/deepseek-v3-1-671b": "deepseek-v3.1",
    "cohere/command-a": "c4ai-command-a-03-2025",
    "cohere/command-r": None,
    "cohere/command-r-plus": None,
    "mistral/mistral-small": None,
    "mistral/mistral-large": None,
    "mistral/codestral": None,
    "mistral/devstral-small": None,
    "mistral/magistral-small": None,
}


# What one provider means by an id that is another model elsewhere.
AT_PROVIDER = {
    ("nvidia", "nemotron-nano-12b-v2-vl"): {"amazon-bedrock/nvidia.nemotron-nano-12b-v2"},
    ("moonshotai", "kimi-k2.6"): {"kimi-for-coding/k2p6"},
    ("moonshotai", "kimi-k2.7-code"): {
        "kimi-for-coding/k2p7",
        "umans-ai/umans-kimi-k2.7",
        "umans-ai-coding-plan/umans-kimi-k2.7",
    },
}
# Repositories that were renamed on the hub: one model each.
RENAMED = {
    f"meta/llama-3.1-{size}-instruct": [f"meta-llama/Llama-3.1-{size.upper()}-Instruct", f"meta-llama/Meta-Llama-3.1-{size.upper()}-Instruct"]
    for size in ("8b", "70b", "405b")
}
# Who uploads the models of others again: their copies are no models of their own.
REUPLOADERS = {"unsloth", "neuralmagic", "pearl-ai"}


class Server:
    """The binary, serving an empty registry."""

    def __init__(self, binary: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.binary = binary
        self.address = f"http://127.0.0.1:{self.port}"
        command = [binary, "serve", "--store", "memory", "--listen", f"127.0.0.1:{self.port}", "--log", "error"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("the server does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def run(self, *arguments: str) -> str:
        command = [self.binary, *arguments, "--server", self.address]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def report(self, *arguments: str) -> dict:
        return json.loads(self.run("import", *arguments, "--format", "json"))["report"]


def publishers(table: Path) -> dict[str, str]:
    by_organization = {}
    for row in tomllib.loads(table.read_text())["publishers"]:
        for organization in [row["id"], *row.get("hub_organizations", []), *row.get("organizations", [])]:
            by_organization[organization.lower()] = row["id"]
    return by_organization


def unresolved(report: dict) -> list[tuple[str, str]]:
    found = []
    for entry in report.get("entries", []):
        if entry.get("outcome") != "OUTCOME_UNRESOLVED" or "/offerings/" not in entry["record"]:
            continue
        if any("it may be any of" in m or "a router, plan" in m or "an id that its maker" in m for m in entry["messages"]):
            continue
        provider, ident = re.fullmatch(r"providers/([^/]+)/offerings/(.*)", entry["record"]).groups()
        found.append((provider, urllib.parse.unquote(ident)))
    return found


def publisher_of(members: list, by_organization: dict[str, str]) -> tuple[str | None, str]:
    """Whose the model is, or why that is not certain."""
    stated = Counter()
    for provider, _, text in members:
        if "/" in text:
            organization = text.split("/")[-2].lower()
            stated[by_organization.get(organization, f"?{organization}")] += 1
    known = [publisher for publisher in stated if not publisher.startswith("?")]
    if len(known) > 1:
        return None, f"several organizations: {sorted(known)}"
    if known:
        return known[0], ""
    if stated:
        return None, f"no known organization: {sorted(stated)}"
    makers = {MAKERS[provider] for provider, _, _ in members if MAKERS.get(provider)}
    if len(makers) == 1:
        return makers.pop(), ""
    name = members[0][2].split("/")[-1].lower()
    if not DERIVED.search(name):
        for pattern, publisher in NAMES:
            start = re.match(pattern, name)
            if start and all(WORD.match(word) for word in re.split(r"[-_:]", name[start.end():]) if word):
                return publisher, ""
    return None, "no organization is stated"


def group(found: list, by_organization: dict[str, str], left_out: Counter) -> list[tuple[str, str, list]]:
    """(publisher, name, members) of each model that the offerings are of."""
    groups = defaultdict(list)
    for provider, ident in found:
        text = stripped(provider, ident)
        name = text.split("/")[-1]
        no_name = not re.fullmatch(r"[A-Za-z0-9][\w.@+: -]*", name)
        mode = MODES.search(name.lower()) and not any(name.lower().startswith("grok-") and name.endswith(s) for _, s in OWN_SPEEDS)
        if NOT_MODELS.search(ident.lower()) or mode or no_name:
            left_out["a mode, a plan, a router or no name"] += 1
            continue
        organization = ""
        if "/" in text:
            organization = by_organization.get(text.split("/")[-2].lower(), "?" + text.split("/")[-2].lower())
        groups[fold(name)].append((provider, ident, text, organization))
    models = []
    for key, members in sorted(groups.items()):
        organizations = {organization for *_, organization in members if organization and not organization.startswith("?")}
        # The same name of two publishers is two models; ids that state none are of neither for certain.
        parts = [[m for m in members if m[3] == o] for o in sorted(organizations)] if len(organizations) > 1 else [members]
        for part in parts:
            trio = [(provider, ident, text) for provider, ident, text, _ in part]
            publisher, why = publisher_of(trio, by_organization)
            if publisher in REUPLOADERS:
                left_out["a copy by somebody else"] += len(part)
                continue
            if publisher is None:
                left_out[why.split(":")[0]] += len(part)
                continue
            spellings = Counter(text.split("/")[-1].lower() for *_, text in trio)
            # The hub's own spelling, where somebody keeps it.
            hub = sorted({t.split("/")[-1].lower() for p, _, t in trio if p == "huggingface" and t.count("/") == 1})
            name = hub[0] if len(hub) == 1 else min(spellings, key=lambda s: (-spellings[s], s))
            plan = publisher in NO_TURBO and name.endswith(("-turbo", "-lite"))
            if plan or publisher in HYBRID and name.endswith("-thinking") and name not in CALLED_SO:
                left_out["a mode, a plan, a router or no name"] += len(part)
                continue
            name = re.sub(r"[^a-z0-9._-]+", "-", name).strip("-._")
            models.append((publisher, name, trio))
    return models


class Known:
    """The models that are known already, by publisher and folded name."""

    def __init__(self, models: list[dict]):
        self.names = defaultdict(set)
        self.short = set()
        self.of_publisher = defaultdict(set)
        for model in models:
            _, publisher, _, name = model["name"].split("/")
            self.short.add((publisher, name))
            self.of_publisher[publisher].add(fold(name))
            for alias in [name, *model.get("aliases", [])]:
                self.names[publisher, fold(alias.split("/")[-1])].add(name)

    def find(self, publisher: str, name: str, left_out: Counter) -> str | None:
        """The record that a name stands for; empty where it stands for none for certain."""
        same = f"{publisher}/{fold(name)}"
        if same in SAME:
            target = SAME[same]
            if target is None or (publisher, target) not in self.short:
                left_out["a name of several models, or of one that is not there"] += 1
                return ""
            return target
        if any(fold(name) in names for other, names in self.of_publisher.items() if other != publisher):
            left_out["a copy by somebody else"] += 1
            return ""
        found = self.names.get((publisher, fold(name)), set())
        if len(found) == 1:
            return next(iter(found))
        if found:
            left_out["a name of several models, or of one that is not there"] += 1
            return ""
        return None


def record_of(publisher: str, name: str, members: list, api: dict) -> tuple[dict, str]:
    """A model as models.json would have it, from its offerings: the maker's own word first, else the most frequent."""
    offerings = [(provider, ident, api[provider]["models"][ident]) for provider, ident, _ in members]
    offerings.sort(key=lambda o: (MAKERS.get(o[0]) != publisher, o[0], o[1]))
    own = [o for o in offerings if MAKERS.get(o[0]) == publisher]

    def pick(get):
        values = [v for v in (get(o) for *_, o in own or offerings) if v not in (None, "", 0)]
        if not values:
            return None
        counts = Counter(json.dumps(v, sort_keys=True) for v in values)
        return json.loads(min(counts, key=lambda v: (-counts[v], v)))

    record = {"id": f"{publisher}/{name}"}
    shown = pick(lambda o: re.sub(r"\s+", " ", o.get("name", "")).strip())
    record["name"] = re.sub(r"^[^:]{1,24}: ", "", shown) if shown else name
    for key in ("family", "knowledge", "reasoning", "tool_call", "structured_output", "attachment", "temperature"):
        value = pick(lambda o: o.get(key))
        if value is not None:
            record[key] = value
    dates = sorted(o["release_date"] for *_, o in own or offerings if re.fullmatch(r"20\d\d-[01]\d(-[0-3]\d)?", o.get("release_date", "")))
    if dates:
        record["release_date"] = dates[0]
    record["limit"] = {k: v for k in ("context", "output") if (v := pick(lambda o: o.get("limit", {}).get(k)))}
    record["modalities"] = {
        k: sorted(v) for k in ("input", "output") if (v := pick(lambda o: sorted(o.get("modalities", {}).get(k, []))))
    }
    hub = sorted({text for provider, _, text in members if provider == "huggingface" and text.count("/") == 1})
    if len(hub) == 1:
        record["weights"] = [{"url": f"https://huggingface.co/{hub[0]}"}]
    provider, ident, _ = (own or offerings)[0]
    return record, f"{provider}/{ident}"


# --- Records as TOML ----------------------------------------------------------------------------------------------------

ORDER = (
    "name", "displayName", "aliases", "family", "releaseDate", "knowledgeCutoff", "contextTokens", "maxOutputTokens",
    "parameters", "inputModalities", "outputModalities", "capabilities", "components", "baseModels", "notes", "provenance",
    "conflicts", "sources",
)
OUTPUT_ONLY = {"tier", "licenseExpression", "origin", "revision", "etag", "createTime", "updateTime"}
ENUM = re.compile(r"(KIND|AVAILABILITY|EVIDENCE|MODALITY|CAPABILITY|RELATION)_([A-Z0-9_]+)")
INTEGERS = {"contextTokens", "maxOutputTokens", "total", "active"}


def snake(key: str) -> str:
    return re.sub(r"([A-Z])", lambda m: "_" + m.group(1).lower(), key)


def toml(key: str, value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) or (key in INTEGERS and isinstance(value, str)):
        return f"{int(value):_}" if float(value) == int(float(value)) else str(value)
    if isinstance(value, str):
        enum = ENUM.fullmatch(value)
        return json.dumps(enum.group(2).lower().replace("_", "-") if enum else value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(toml(key, v) for v in value) + "]"
    return "{ " + ", ".join(f"{snake(k)} = {toml(k, v)}" for k, v in value.items()) + " }"


def lines(model: dict) -> list[str]:
    out = ["[[models]]"]
    for key in sorted(model, key=lambda k: ORDER.index(k) if k in ORDER else len(ORDER)):
        value = model[key]
        if key in OUTPUT_ONLY or value in (None, "", [], {}):
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            out.append(f"{snake(key)} = [")
            out.extend(f"    {toml(key, v)}," for v in value)
            out.append("]")
        else:
            out.append(f"{snake(key)} = {toml(key, value)}")
    return [*out, ""]


def as_of_offerings(model: dict, record: str) -> None:
    """The model was read as if it were in models.json; what stated it was an offering."""
    for entry in model.get("provenance", []):
        if entry["source"] == "models-dev-catalog":
            entry["source"], entry["record"], entry["date"] = "models-dev", record, DATE
    for source in model.get("sources", []):
        if source.get("url") == "https://models.dev/models.json":
            source["url"] = "https://models.dev/api.json"
            source["date"] = DATE


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("shared", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--weighbridge", required=True)
    given = arguments.parse_args()
    by_organization = publishers(given.out.parent / "publishers.toml")
    api = json.loads((given.shared / "models.dev/api.json").read_text())
    catalog = json.loads((given.shared / "models.dev/models.json").read_text())
    left_out: Counter = Counter()
    with Server(given.weighbridge) as server, tempfile.TemporaryDirectory() as scratch:
        more = dict(catalog)
        for key, repositories in RENAMED.items():
            more.setdefault(key, {"id": key, "weights": [{"url": f"https://huggingface.co/{r}"} for r in repositories]})
        further = Path(scratch) / "models.json"
        further.write_text(json.dumps(more))
        for source, path in [
            ("models-dev-catalog", further), ("mot", "mot/models"), ("osai", "osai-index/models"),
            ("comparia", "comparia"), ("epoch", "epoch/notable_ai_models.csv"),
        ]:
            server.report(source, str(given.shared / path))
        offers = str(given.shared / "models.dev/api.json")
        before = server.report("models-dev", offers, "--dry-run")
        listed = json.loads(server.run("models", "list", "--format", "json"))["models"]
        known = Known(listed)
        of_offerings = {key: repositories[0] for key, repositories in RENAMED.items() if key not in catalog}
        aliases = defaultdict(set, {model: set(ids) for model, ids in AT_PROVIDER.items()})
        for publisher, name, members in group(unresolved(before), by_organization, left_out):
            target = known.find(publisher, name, left_out)
            if target is not None:
                for *_, text in members if target else []:
                    spelled = text.split("/")[-1]
                    aliases[publisher, target].update([spelled, f"{publisher}/{spelled.lower()}"])
                continue
            record, source = record_of(publisher, name, members, api)
            if record["id"] in more:
                left_out["named like another model of the publisher"] += len(members)
                continue
            more[record["id"]] = record
            of_offerings[record["id"]] = source
        further.write_text(json.dumps(more))
        server.report("models-dev-catalog", str(further))
        after = server.report("models-dev", offers)
        exported = Path(scratch) / "records.ndjson"
        server.run("export", str(exported), "--origin", "imported")
        models = [json.loads(line) for line in exported.read_text().splitlines()]
        sold = set()
        for provider in api:
            listed = server.run("offerings", "list", "--provider", provider, "--format", "json")
            sold.update(o.get("model", "") for o in json.loads(listed).get("offerings", []))
        built_in = {
            model["name"]: model.get("aliases", [])
            for path in sorted((given.out.parent / "models").glob("*.toml"))
            for model in tomllib.loads(path.read_text())["models"]
        }
        by_hand = {
            i for row in tomllib.loads((given.out.parent / "aliases.toml").read_text())["aliases"] for i in row["ids"]
        }
    files = defaultdict(list)
    for model in models:
        # Ids that models.dev is certain of for a curated record.
        for alias in set(model.get("aliases", [])) - set(built_in.get(model["name"], [])) - by_hand if model["name"] in built_in else ():
            _, publisher, _, name = model["name"].split("/")
            aliases[publisher, name].add(alias)
        keys = set(model.get("aliases", []))
        _, publisher, _, name = model["name"].split("/")
        wanted = model["name"] in sold or keys & set(catalog) or (publisher, name) in aliases
        if model["name"] in built_in or not wanted:
            continue
        for key in sorted(keys & set(of_offerings)):
            as_of_offerings(model, of_offerings[key])
        files[model["name"].split("/")[1]].append(model)
    given.out.mkdir(exist_ok=True)
    for path in given.out.glob("*.toml"):
        path.unlink()
    for publisher, found in sorted(files.items()):
        text = ["# Written by scripts/generate_models.py: do not edit. A record of `data/models/` takes the place of one here.", ""]
        for model in sorted(found, key=lambda m: m["name"]):
            text.extend(lines(model))
        (given.out / f"{publisher}.toml").write_text("\n".join(text).rstrip() + "\n")
    rows = [
        "# Written by scripts/generate_models.py: do not edit. Other spellings of models of the catalog, by which they are sold.",
        "",
    ]
    taken = Counter(fold(i) for ids in aliases.values() for i in {fold(i) for i in ids})
    for (publisher, name), ids in sorted(aliases.items()):
        ids = sorted(i for i in ids if taken[fold(i)] == 1)
        if ids:
            rows += ["[[aliases]]", f'model = "publishers/{publisher}/models/{name}"', f"ids = {toml('', ids)}", ""]
    (given.out / "aliases.toml").write_text("\n".join(rows).rstrip() + "\n")
    print(f"{len(aliases)} known models with other spellings")
    print(f"{sum(map(len, files.values()))} models of {len(files)} publishers, {len(of_offerings)} of them from offerings alone")
    print(f"offerings of no known model: {before.get('unresolved', 0)} before, {after.get('unresolved', 0)} after")
    for reason, count in left_out.most_common():
        print(f"left out {count:5}  {reason}")


if __name__ == "__main__":
    main()
