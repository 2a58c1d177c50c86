//! The providers that matter most, written by hand. Addresses are those of Lava's official SDK where it has one, and otherwise were compared
//! with the registries and the client code of the packages this command downloads; a few (AssemblyAI, GitHub Models, Heroku, watsonx) are in
//! none of them and come from their makers' documentation as remembered. They come first in the file, in this order, which also decides who
//! is meant when a bare model name has several sellers.

/// One provider. `also` are the names other sources use for it.
pub(crate) struct Known {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) base_url: &'static str,
    pub(crate) docs: &'static str,
    /// `bearer`, `none`, `header:<name>` or `header:<name>:<prefix>`.
    pub(crate) auth: &'static str,
    pub(crate) env: &'static [&'static str],
    pub(crate) dialect: &'static str,
    pub(crate) first_party: bool,
    pub(crate) also: &'static [&'static str],
}

const LAB: bool = true;
const RESELLER: bool = false;

/// A short way to write one down, in the order of the fields of [`Known`].
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    bool,
    &'static [&'static str],
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("openai", "OpenAI", "https://api.openai.com/v1", "https://platform.openai.com/docs", "bearer", &["OPENAI_API_KEY"], "openai", LAB, &["text-completion-openai", "openai-decisions"]),
    ("anthropic", "Anthropic", "https://api.anthropic.com/v1", "https://docs.anthropic.com/en/api", "header:x-api-key", &["ANTHROPIC_API_KEY"], "anthropic", LAB, &["anthropic_text"]),
    ("google", "Google Gemini", "https://generativelanguage.googleapis.com/v1beta", "https://ai.google.dev/gemini-api/docs", "header:x-goog-api-key", &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"], "google", LAB, &["gemini", "google_ai_studio"]),
    ("google-openai", "Google Gemini (OpenAI format)", "https://generativelanguage.googleapis.com/v1beta/openai", "https://ai.google.dev/gemini-api/docs/openai", "bearer", &["GEMINI_API_KEY", "GOOGLE_API_KEY"], "openai", LAB, &["googleOpenaiCompatible"]),
    ("xai", "xAI", "https://api.x.ai/v1", "https://docs.x.ai", "bearer", &["XAI_API_KEY"], "openai", LAB, &["x-ai", "grok"]),
    ("deepseek", "DeepSeek", "https://api.deepseek.com/v1", "https://api-docs.deepseek.com", "bearer", &["DEEPSEEK_API_KEY"], "openai", LAB, &[]),
    ("moonshot", "Moonshot AI (Kimi)", "https://api.moonshot.ai/v1", "https://platform.moonshot.ai/docs", "bearer", &["MOONSHOT_API_KEY"], "openai", LAB, &["moonshotai", "kimi"]),
    ("zai", "Z.AI (GLM)", "https://api.z.ai/api/paas/v4", "https://docs.z.ai", "bearer", &["ZAI_API_KEY", "ZHIPU_API_KEY"], "openai", LAB, &["z-ai"]),
    ("minimax", "MiniMax", "https://api.minimax.io/v1", "https://platform.minimax.io/docs", "bearer", &["MINIMAX_API_KEY"], "openai", LAB, &[]),
    ("mistral", "Mistral AI", "https://api.mistral.ai/v1", "https://docs.mistral.ai/api", "bearer", &["MISTRAL_API_KEY"], "openai", LAB, &["mistralai"]),
    ("cohere", "Cohere", "https://api.cohere.ai/compatibility/v1", "https://docs.cohere.com", "bearer", &["COHERE_API_KEY", "CO_API_KEY"], "openai", LAB, &["cohere_chat"]),
    ("elevenlabs", "ElevenLabs", "https://api.elevenlabs.io/v1", "https://elevenlabs.io/docs/api-reference", "header:xi-api-key", &["ELEVENLABS_API_KEY", "XI_API_KEY"], "custom", LAB, &[]),
    ("deepgram", "Deepgram", "https://api.deepgram.com/v1", "https://developers.deepgram.com", "header:authorization:Token ", &["DEEPGRAM_API_KEY"], "custom", LAB, &[]),
    ("assemblyai", "AssemblyAI", "https://api.assemblyai.com/v2", "https://www.assemblyai.com/docs", "header:authorization", &["ASSEMBLYAI_API_KEY"], "custom", LAB, &[]),
    ("voyage", "Voyage AI", "https://api.voyageai.com/v1", "https://docs.voyageai.com", "bearer", &["VOYAGE_API_KEY"], "custom", LAB, &["voyageai"]),
    ("jina", "Jina AI", "https://api.jina.ai/v1", "https://jina.ai/embeddings", "bearer", &["JINA_API_KEY", "JINA_AI_API_KEY"], "custom", LAB, &["jina_ai"]),
    ("stability", "Stability AI", "https://api.stability.ai/v2beta", "https://platform.stability.ai/docs/api-reference", "bearer", &["STABILITY_API_KEY"], "custom", LAB, &[]),
    ("black-forest-labs", "Black Forest Labs (FLUX)", "https://api.bfl.ai/v1", "https://docs.bfl.ai", "header:x-key", &["BFL_API_KEY"], "custom", LAB, &["black_forest_labs"]),
    ("ai21", "AI21 Labs", "https://api.ai21.com/studio/v1", "https://docs.ai21.com", "bearer", &["AI21_API_KEY"], "openai", LAB, &["ai21_chat"]),
    ("meta", "Meta", "https://api.meta.ai/v1", "https://dev.meta.ai/docs", "bearer", &["META_MODEL_API_KEY", "META_API_KEY"], "openai", LAB, &[]),
    ("llama", "Meta Llama API", "https://api.llama.com/compat/v1", "https://llama.developer.meta.com/docs", "bearer", &["LLAMA_API_KEY"], "openai", LAB, &["meta_llama"]),
    ("alibaba", "Alibaba Cloud Model Studio (Qwen)", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "https://www.alibabacloud.com/help/en/model-studio/models", "bearer", &["DASHSCOPE_API_KEY"], "openai", LAB, &["dashscope", "qwen"]),
    ("perplexity", "Perplexity", "https://api.perplexity.ai", "https://docs.perplexity.ai", "bearer", &["PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"], "openai", LAB, &["perplexity-agent"]),
    ("groq", "Groq", "https://api.groq.com/openai/v1", "https://console.groq.com/docs", "bearer", &["GROQ_API_KEY"], "openai", RESELLER, &[]),
    ("together", "Together AI", "https://api.together.xyz/v1", "https://docs.together.ai", "bearer", &["TOGETHER_API_KEY", "TOGETHERAI_API_KEY"], "openai", RESELLER, &["together_ai", "togetherai"]),
    ("fireworks", "Fireworks AI", "https://api.fireworks.ai/inference/v1", "https://docs.fireworks.ai", "bearer", &["FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"], "openai", RESELLER, &["fireworks_ai", "fireworks-ai", "fireworks_ai-embedding-models"]),
    ("cerebras", "Cerebras", "https://api.cerebras.ai/v1", "https://inference-docs.cerebras.ai", "bearer", &["CEREBRAS_API_KEY"], "openai", RESELLER, &[]),
    ("sambanova", "SambaNova", "https://api.sambanova.ai/v1", "https://docs.sambanova.ai", "bearer", &["SAMBANOVA_API_KEY"], "openai", RESELLER, &[]),
    ("deepinfra", "DeepInfra", "https://api.deepinfra.com/v1/openai", "https://deepinfra.com/docs", "bearer", &["DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"], "openai", RESELLER, &[]),
    ("hyperbolic", "Hyperbolic", "https://api.hyperbolic.xyz/v1", "https://docs.hyperbolic.xyz", "bearer", &["HYPERBOLIC_API_KEY"], "openai", RESELLER, &[]),
    ("nebius", "Nebius Token Factory", "https://api.studio.nebius.com/v1", "https://docs.tokenfactory.nebius.com", "bearer", &["NEBIUS_API_KEY"], "openai", RESELLER, &[]),
    ("novita", "Novita AI", "https://api.novita.ai/v3/openai", "https://novita.ai/docs", "bearer", &["NOVITA_API_KEY"], "openai", RESELLER, &["novita-ai"]),
    ("inference", "Inference.net", "https://api.inference.net/v1", "https://docs.inference.net", "bearer", &["INFERENCE_API_KEY"], "openai", RESELLER, &["inference-net"]),
    ("kluster", "kluster.ai", "https://api.kluster.ai/v1", "https://docs.kluster.ai", "bearer", &["KLUSTER_API_KEY"], "openai", RESELLER, &[]),
    ("parasail", "Parasail", "https://api.parasail.io/v1", "https://docs.parasail.io", "bearer", &["PARASAIL_API_KEY"], "openai", RESELLER, &[]),
    ("targon", "Targon", "https://api.targon.com/v1", "https://docs.targon.com", "bearer", &["TARGON_API_KEY"], "openai", RESELLER, &[]),
    ("gmicloud", "GMI Cloud", "https://api.gmi-serving.com/v1", "https://docs.gmicloud.ai", "bearer", &["GMICLOUD_API_KEY", "GMI_API_KEY"], "openai", RESELLER, &["gmi"]),
    ("chutes", "Chutes", "https://llm.chutes.ai/v1", "https://chutes.ai/docs", "bearer", &["CHUTES_API_KEY"], "openai", RESELLER, &[]),
    ("baseten", "Baseten", "https://inference.baseten.co/v1", "https://docs.baseten.co", "bearer", &["BASETEN_API_KEY"], "openai", RESELLER, &[]),
    ("embercloud", "EmberCloud", "https://api.embercloud.ai/v1", "https://www.embercloud.ai/docs", "bearer", &["EMBERCLOUD_API_KEY"], "openai", RESELLER, &[]),
    ("vercel", "Vercel v0", "https://api.v0.dev/v1", "https://v0.dev/docs/api", "bearer", &["V0_API_KEY"], "openai", LAB, &["v0"]),
    ("vercel-ai-gateway", "Vercel AI Gateway", "https://ai-gateway.vercel.sh/v1", "https://vercel.com/docs/ai-gateway", "bearer", &["AI_GATEWAY_API_KEY"], "openai", RESELLER, &["vercel_ai_gateway"]),
    ("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "https://openrouter.ai/docs", "bearer", &["OPENROUTER_API_KEY"], "openai", RESELLER, &[]),
    ("bedrock", "Amazon Bedrock", "https://bedrock-runtime.{region}.amazonaws.com", "https://docs.aws.amazon.com/bedrock", "bearer", &["AWS_BEARER_TOKEN_BEDROCK"], "bedrock", RESELLER, &["bedrock_converse", "bedrock_mantle", "amazon-bedrock", "aws"]),
    ("azure", "Azure OpenAI", "https://{resource}.openai.azure.com/openai/v1", "https://learn.microsoft.com/azure/ai-services/openai/reference", "header:api-key", &["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"], "openai", RESELLER, &["azure_text"]),
    ("azure-ai", "Azure AI Foundry", "https://{resource}.services.ai.azure.com/openai/v1", "https://learn.microsoft.com/azure/ai-foundry", "header:api-key", &["AZURE_AI_API_KEY"], "openai", RESELLER, &["azure_ai"]),
    ("vertex", "Google Vertex AI", "https://{region}-aiplatform.googleapis.com/v1", "https://cloud.google.com/vertex-ai/generative-ai/docs", "bearer", &["VERTEX_AI_ACCESS_TOKEN"], "google", RESELLER, &["vertex_ai", "vertex_ai-language-models", "vertex_ai-anthropic_models", "vertex_ai-mistral_models", "vertex_ai-llama_models", "vertex_ai-embedding-models", "vertex_ai-video-models", "vertex_ai-ai21_models", "vertex_ai-deepseek_models", "vertex_ai-qwen_models", "vertex_ai-zai_models", "vertex_ai-openai_models", "vertex_ai-text-models", "vertex_ai-minimax_models", "vertex_ai-moonshot_models", "google-vertex"]),
    ("huggingface", "Hugging Face", "https://router.huggingface.co/v1", "https://huggingface.co/docs/inference-providers", "bearer", &["HF_TOKEN", "HUGGINGFACE_API_KEY"], "openai", RESELLER, &[]),
    ("nvidia", "NVIDIA NIM", "https://integrate.api.nvidia.com/v1", "https://docs.api.nvidia.com/nim", "bearer", &["NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"], "openai", RESELLER, &["nvidia_nim"]),
    ("cloudflare", "Cloudflare Workers AI", "https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1", "https://developers.cloudflare.com/workers-ai", "bearer", &["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_API_KEY"], "openai", RESELLER, &["cloudflare-workers-ai"]),
    ("replicate", "Replicate", "https://api.replicate.com/v1", "https://replicate.com/docs", "bearer", &["REPLICATE_API_TOKEN"], "custom", RESELLER, &[]),
    ("fal", "fal", "https://fal.run", "https://docs.fal.ai", "header:authorization:Key ", &["FAL_KEY", "FAL_AI_API_KEY"], "custom", RESELLER, &["fal_ai", "fal-ai"]),
    ("github-models", "GitHub Models", "https://models.github.ai/inference", "https://docs.github.com/en/github-models", "bearer", &["GITHUB_TOKEN"], "openai", RESELLER, &["github"]),
    ("databricks", "Databricks", "https://{workspace}.cloud.databricks.com/serving-endpoints", "https://docs.databricks.com/aws/en/machine-learning/foundation-models", "bearer", &["DATABRICKS_TOKEN", "DATABRICKS_API_KEY"], "openai", RESELLER, &[]),
    ("snowflake", "Snowflake Cortex", "https://{account}.snowflakecomputing.com/api/v2/cortex/v1", "https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api", "bearer", &["SNOWFLAKE_CORTEX_PAT"], "openai", RESELLER, &["snowflake-cortex"]),
    ("watsonx", "IBM watsonx.ai", "https://{region}.ml.cloud.ibm.com/ml/v1", "https://cloud.ibm.com/apidocs/watsonx-ai", "bearer", &["WATSONX_TOKEN"], "custom", RESELLER, &["watsonx_text"]),
    ("volcengine", "Volcengine Ark (Doubao)", "https://ark.cn-beijing.volces.com/api/v3", "https://www.volcengine.com/docs/82379", "bearer", &["ARK_API_KEY", "VOLCENGINE_API_KEY"], "openai", LAB, &[]),
    ("zhipuai", "Zhipu AI (China)", "https://open.bigmodel.cn/api/paas/v4", "https://docs.bigmodel.cn", "bearer", &["ZHIPU_API_KEY"], "openai", LAB, &["bigmodel"]),
    ("recraft", "Recraft", "https://external.api.recraft.ai/v1", "https://www.recraft.ai/docs", "bearer", &["RECRAFT_API_KEY"], "custom", LAB, &[]),
    ("runway", "Runway", "https://api.dev.runwayml.com/v1", "https://docs.dev.runwayml.com", "bearer", &["RUNWAYML_API_SECRET"], "custom", LAB, &["runwayml"]),
    ("nova", "Amazon Nova", "https://api.nova.amazon.com/v1", "https://nova.amazon.com/dev/documentation", "bearer", &["NOVA_API_KEY"], "openai", LAB, &["amazon_nova"]),
    ("lambda", "Lambda", "https://api.lambda.ai/v1", "https://docs.lambda.ai", "bearer", &["LAMBDA_API_KEY"], "openai", RESELLER, &["lambda_ai"]),
    ("nscale", "Nscale", "https://inference.api.nscale.com/v1", "https://docs.nscale.com", "bearer", &["NSCALE_API_KEY"], "openai", RESELLER, &[]),
    ("featherless", "Featherless AI", "https://api.featherless.ai/v1", "https://featherless.ai/docs", "bearer", &["FEATHERLESS_API_KEY", "FEATHERLESS_AI_API_KEY"], "openai", RESELLER, &["featherless_ai"]),
    ("friendli", "Friendli", "https://api.friendli.ai/serverless/v1", "https://friendli.ai/docs", "bearer", &["FRIENDLI_TOKEN"], "openai", RESELLER, &["friendliai"]),
    ("gradient", "DigitalOcean Gradient", "https://inference.do-ai.run/v1", "https://docs.digitalocean.com/products/gradient-ai-platform", "bearer", &["DIGITALOCEAN_ACCESS_TOKEN"], "openai", RESELLER, &["gradient_ai", "digitalocean"]),
    ("aiml", "AI/ML API", "https://api.aimlapi.com/v1", "https://docs.aimlapi.com", "bearer", &["AIML_API_KEY"], "openai", RESELLER, &[]),
    ("inception", "Inception", "https://api.inceptionlabs.ai/v1", "https://docs.inceptionlabs.ai", "bearer", &["INCEPTION_API_KEY"], "openai", LAB, &["text-completion-inception"]),
    ("codestral", "Mistral Codestral", "https://codestral.mistral.ai/v1", "https://docs.mistral.ai/capabilities/code_generation", "bearer", &["CODESTRAL_API_KEY"], "openai", LAB, &["text-completion-codestral"]),
    ("soniox", "Soniox", "https://api.soniox.com/v1", "https://soniox.com/docs", "bearer", &["SONIOX_API_KEY"], "custom", LAB, &[]),
    ("tencent", "Tencent TokenHub (Hunyuan)", "https://tokenhub-intl.tencentcloudmaas.com/v1", "https://cloud.tencent.com/document/product/1823", "bearer", &["TENCENT_API_KEY"], "openai", LAB, &[]),
    ("reka", "Reka", "https://api.reka.ai/v1", "https://docs.reka.ai", "bearer", &["REKA_API_KEY"], "openai", LAB, &[]),
    ("arcee", "Arcee", "https://api.arcee.ai/api/v1", "https://docs.arcee.ai", "bearer", &["ARCEE_API_KEY"], "openai", LAB, &[]),
    ("heroku", "Heroku Inference", "https://us.inference.heroku.com/v1", "https://devcenter.heroku.com/articles/heroku-inference", "bearer", &["HEROKU_API_KEY", "INFERENCE_KEY"], "openai", RESELLER, &[]),
    ("avian", "Avian", "https://api.avian.io/v1", "https://avian.io/docs", "bearer", &["AVIAN_API_KEY"], "openai", RESELLER, &[]),
    ("doubleword", "Doubleword", "https://api.doubleword.ai/v1", "https://docs.doubleword.ai", "bearer", &["DOUBLEWORD_API_KEY"], "openai", RESELLER, &[]),
];

/// Other hosts of the same API that take the same key.
pub(crate) const OTHER_HOSTS: &[(&str, &[&str])] = &[
    ("openai", &["eu.api.openai.com", "us.api.openai.com"]),
    ("xai", &["us-east-1.api.x.ai", "eu-west-1.api.x.ai"]),
    ("cohere", &["api.cohere.com"]),
    ("together", &["api.together.ai"]),
    ("nebius", &["api.tokenfactory.nebius.com"]),
    ("elevenlabs", &["api.us.elevenlabs.io", "api.eu.residency.elevenlabs.io", "api.in.residency.elevenlabs.io"]),
    ("deepgram", &["api.eu.deepgram.com"]),
    ("assemblyai", &["api.eu.assemblyai.com"]),
    ("azure", &["{resource}.cognitiveservices.azure.com"]),
    ("vertex", &["aiplatform.googleapis.com"]),
];

/// Where answers say what they cost, and in which unit; each from its provider's documentation.
pub(crate) const REPORTED_COST: &[(&str, &str, &str)] = &[
    ("openrouter", "usage.cost", "usd"),
    ("perplexity", "usage.cost.total_cost", "usd"),
    ("deepinfra", "usage.estimated_cost", "usd"),
    ("xai", "usage.cost_in_usd_ticks", "usd_ticks"),
];

/// What can be asked for nothing with a key, and is refused without a good one, for those whose list of models is open to everybody or is not below their address;
/// each from its provider's documentation.
pub(crate) const KEY_CHECK: &[(&str, &str)] = &[
    ("openrouter", "https://openrouter.ai/api/v1/key"),
    ("cohere", "https://api.cohere.com/v1/models"),
    ("deepinfra", "https://api.deepinfra.com/v1/me"),
    ("huggingface", "https://huggingface.co/api/whoami-v2"),
    ("perplexity", "https://api.perplexity.ai/v1/models"),
    ("vercel-ai-gateway", "https://ai-gateway.vercel.sh/v1/credits"),
];

/// Who refuses a streamed request with `stream_options`, and where that is reported.
pub(crate) const NO_STREAM_OPTIONS: &[(&str, &str)] = &[
    // "extra_forbidden", body.stream_options; usage comes with the last chunk anyway.
    ("mistral", "https://github.com/openai/openai-agents-python/issues/442"),
    // The same API at another address.
    ("codestral", "https://github.com/openai/openai-agents-python/issues/442"),
    // "json: unknown field \"stream_options\"".
    ("databricks", "https://github.com/continuedev/continue/issues/12936"),
];

/// Every row under the names of its fields.
pub(crate) fn all() -> impl Iterator<Item = Known> {
    ROWS.iter().map(|&(id, name, base_url, docs, auth, env, dialect, first_party, also)| Known {
        id,
        name,
        base_url,
        docs,
        auth,
        env,
        dialect,
        first_party,
        also,
    })
}
