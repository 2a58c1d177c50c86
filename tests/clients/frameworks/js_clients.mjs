// Clients in JavaScript, each behind the same few functions: a plain answer, a streamed one, and one that needs a tool.
//
// node js_clients.mjs <client> <steps as JSON: [{step, root, key, model}]>. What came of each step is a line of JSON: {step, text, pieces} or {step, error}.
// Nothing but key, base URL and model is set: what a client does by itself is what its users meet.
import { z } from "zod";

const QUESTION = "How warm is it in Graz?";
const weather = ({ city }) => `17 degrees in ${city}`;
const description = "How warm it is in a city.";
const city = z.object({ city: z.string() });
// What an answer has to look like, where a client asks for a form.
const form = z.object({ degrees: z.number().int() });

// A page without anything on it.
const PDF = Buffer.from(`%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 144]>>endobj
trailer<</Root 1 0 R>>
%%EOF
`);

async function joined(stream, text = (piece) => piece) {
  const pieces = [];
  for await (const piece of stream) if (text(piece)) pieces.push(text(piece));
  return [pieces.join(""), pieces.length];
}

async function ai({ step }, model) {
  const { generateText, Output, stepCountIs, streamText, tool } = await import("ai");
  const ask = { model, prompt: QUESTION };
  if (step === "pdf") {
    const content = [{ type: "text", text: QUESTION }, { type: "file", mediaType: "application/pdf", data: PDF }];
    return (await generateText({ model, messages: [{ role: "user", content }] })).text;
  }
  if (step === "form") return String((await generateText({ ...ask, output: Output.object({ schema: form }) })).output.degrees);
  if (step === "stream") {
    let failed;
    const answer = await joined(streamText({ ...ask, onError: ({ error }) => (failed = error) }).textStream);
    if (failed) throw failed;
    return answer;
  }
  const tools = { weather: tool({ description, inputSchema: city, execute: weather }) };
  return (await generateText(step === "tool" ? { ...ask, tools, stopWhen: stepCountIs(5) } : ask)).text;
}

async function langchain({ step }, model) {
  const { HumanMessage } = await import("@langchain/core/messages");
  const { tool } = await import("@langchain/core/tools");
  if (step === "stream") return joined(await model.stream(QUESTION), (chunk) => chunk.text);
  if (step === "form") return String((await model.withStructuredOutput(form, { method: "jsonSchema" }).invoke(QUESTION)).degrees);
  if (step !== "tool") return (await model.invoke(QUESTION)).text;
  const tools = { weather: tool(weather, { name: "weather", description, schema: city }) };
  const bound = model.bindTools(Object.values(tools));
  const asked = await bound.invoke(QUESTION);
  const answers = await Promise.all(asked.tool_calls.map((call) => tools[call.name].invoke(call)));
  return (await bound.invoke([new HumanMessage(QUESTION), asked, ...answers])).text;
}

const clients = {
  "ai-openai-chat": async (step) => ai(step, (await import("@ai-sdk/openai")).createOpenAI({ apiKey: step.key, baseURL: `${step.root}/v1` }).chat(step.model)),
  "ai-openai-responses": async (step) => ai(step, (await import("@ai-sdk/openai")).createOpenAI({ apiKey: step.key, baseURL: `${step.root}/v1` })(step.model)),
  "ai-compatible": async (step) => {
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    // What it asks for by itself is any JSON object, which no form could be filled from.
    const options = { name: "lava", apiKey: step.key, baseURL: `${step.root}/v1`, supportsStructuredOutputs: step.step === "form" };
    return ai(step, createOpenAICompatible(options)(step.model));
  },
  "ai-anthropic": async (step) =>
    ai(step, (await import("@ai-sdk/anthropic")).createAnthropic({ apiKey: step.key, baseURL: `${step.root}/v1` })(step.model)),
  "langchain-openai-js": async (step) => {
    const { ChatOpenAI } = await import("@langchain/openai");
    return langchain(step, new ChatOpenAI({ model: step.model, apiKey: step.key, configuration: { baseURL: `${step.root}/v1` } }));
  },
  "langchain-anthropic-js": async (step) => {
    const { ChatAnthropic } = await import("@langchain/anthropic");
    return langchain(step, new ChatAnthropic({ model: step.model, apiKey: step.key, anthropicApiUrl: step.root }));
  },
  "openai-agents-js": async (step) => {
    const { Agent, OpenAIProvider, Runner, setTracingDisabled, tool } = await import("@openai/agents");
    // It would report every run to its maker.
    setTracingDisabled(true);
    const modelProvider = new OpenAIProvider({ apiKey: step.key, baseURL: `${step.root}/v1`, useResponses: false });
    const tools = step.step === "tool" ? [tool({ name: "weather", description, parameters: city, execute: async (values) => weather(values) })] : [];
    const outputType = step.step === "form" ? { outputType: form } : {};
    const agent = new Agent({ name: "weatherman", instructions: "Say how warm it is.", model: step.model, tools, ...outputType });
    const runner = new Runner({ modelProvider, tracingDisabled: true });
    if (step.step === "form") return String((await runner.run(agent, QUESTION)).finalOutput.degrees);
    if (step.step !== "stream") return (await runner.run(agent, QUESTION)).finalOutput;
    const run = await runner.run(agent, QUESTION, { stream: true });
    const answer = await joined(run.toTextStream());
    await run.completed;
    return answer;
  },
};

const [name, steps] = process.argv.slice(2);
for (const step of JSON.parse(steps)) {
  let outcome;
  try {
    const answer = await clients[name](step);
    const [text, pieces] = Array.isArray(answer) ? answer : [answer, 1];
    outcome = { text, pieces };
  } catch (error) {
    outcome = { error: String(error) };
  }
  console.log(JSON.stringify({ step: step.step, ...outcome }));
}
process.exit(0);
