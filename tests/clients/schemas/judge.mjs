// Reads tools from stdin as tools/list returns them, gives them to the AI SDK with @ai-sdk/google, and writes the function declarations that Gemini would get.
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { dynamicTool, generateText, jsonSchema } from "ai";

let text = "";
for await (const piece of process.stdin) text += piece;
const given = JSON.parse(text);

let sent;
const fetch = async (_address, request) => {
  sent = JSON.parse(request.body);
  const answer = { candidates: [{ content: { role: "model", parts: [{ text: "hi" }] }, finishReason: "STOP" }], usageMetadata: {} };
  return new Response(JSON.stringify(answer), { headers: { "content-type": "application/json" } });
};
const google = createGoogleGenerativeAI({ apiKey: "nobody's", fetch });
const tools = Object.fromEntries(
  given.map(({ name, description, inputSchema }) => [name, dynamicTool({ description, inputSchema: jsonSchema(inputSchema), execute: async () => "" })]),
);
const { text: said } = await generateText({ model: google("gemini-3-flash"), prompt: "hi", tools });
if (said !== "hi") throw new Error(`the answer was ${said}`);
console.log(JSON.stringify(sent.tools.flatMap((tool) => tool.functionDeclarations ?? [])));
