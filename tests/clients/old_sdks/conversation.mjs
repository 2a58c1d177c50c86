// A conversation in the TypeScript SDK of an earlier release: node conversation.mjs <package> <stdio|http|sse> <program, or address>.
// Prints one line of JSON: what came back, and every error that the SDK told of on the way.
const [release, transport, target] = process.argv.slice(2);
const load = (path) => import(`${release}/${path}`);
const { Client } = await load("client/index.js");
const errors = [];

async function connection() {
  if (transport === "stdio") {
    const { StdioClientTransport } = await load("client/stdio.js");
    return new StdioClientTransport({ command: target, args: ["--sandbox"], env: process.env, stderr: "inherit" });
  }
  if (transport === "sse") {
    const { SSEClientTransport } = await load("client/sse.js");
    return new SSEClientTransport(new URL(`${target}/sse`));
  }
  const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
  return new StreamableHTTPClientTransport(new URL(`${target}/mcp`));
}

const client = new Client({ name: `old ${release}`, version: "1" }, { capabilities: {} });
client.onerror = (error) => errors.push(String(error));
const wire = await connection();
await client.connect(wire);
const call = async (name, args, options) => {
  const result = await client.callTool({ name, arguments: args }, undefined, options);
  if (result.isError) errors.push(`${name}: ${JSON.stringify(result.content)}`);
  return result;
};
const notes = [];
const tools = (await client.listTools()).tools.map((tool) => tool.name);
await call("login", {});
const found = await call("search", { query: "gpt-4o-mini", limit: 2 });
const asked = { model: "gpt-4o-mini", input: "Hi", max_tokens: 60 };
const plain = await call("prompt", asked);
const streamed = await call("prompt", asked, { onprogress: (note) => notes.push(note.progress) });
const usage = await call("usage", {});
const { resources } = await client.listResources();
const { resourceTemplates } = await client.listResourceTemplates();
const read = await client.readResource({ uri: resources[0].uri });
const { prompts } = await client.listPrompts();
const prompt = await client.getPrompt({ name: "spend_report" });
await client.ping();
const refused = await client.callTool({ name: "no such tool", arguments: {} }).catch((error) => error.code);
if (wire.terminateSession) await wire.terminateSession();
// What a closed stream says afterwards is about our end of it.
client.onerror = () => {};
await client.close();
console.log(
  JSON.stringify({
    errors,
    tools,
    hit: found.structuredContent?.results?.[0]?.id,
    plain: plain.content[0].text,
    streamed: streamed.content[0].text,
    notes: notes.length,
    usage: usage.content[0].text,
    lists: [resources.length, resourceTemplates.length, read.contents.length, prompts.length, prompt.messages.length],
    refused,
  }),
);
