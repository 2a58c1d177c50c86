// Frameworks in JavaScript use the MCP server, each behind the same function: what tools it finds, and what four of them answer.
//
// node mcp_clients.mjs <client> <server as JSON: {command, args, env} or {url, sse}>. What came of it is the JSON in the last line.
const CALLS = [
  ["login", {}],
  ["search", { query: "gpt-4o-mini", kind: "model", limit: 1 }],
  ["prompt", { model: "gpt-4o-mini", input: "hi" }],
  ["usage", {}],
];

async function answers(call) {
  const found = {};
  for (const [name, values] of CALLS) found[name] = JSON.stringify(await call(name, values));
  return found;
}

const clients = {
  async "ai-sdk-mcp"({ url, sse, ...server }) {
    const { createMCPClient } = await import("@ai-sdk/mcp");
    const { Experimental_StdioMCPTransport: Stdio } = await import("@ai-sdk/mcp/mcp-stdio");
    const client = await createMCPClient({ transport: url ? { type: sse ? "sse" : "http", url } : new Stdio(server) });
    const tools = await client.tools();
    const found = await answers((name, values) => tools[name].execute(values, { toolCallId: name, messages: [] }));
    await client.close();
    return { tools: Object.keys(tools), answers: found };
  },
  async "langchain-mcp-adapters-js"({ url, sse, ...server }) {
    const { MultiServerMCPClient } = await import("@langchain/mcp-adapters");
    const lava = url ? { transport: sse ? "sse" : "http", url } : { transport: "stdio", ...server };
    const client = new MultiServerMCPClient({ mcpServers: { lava } });
    const tools = Object.fromEntries((await client.getTools()).map((tool) => [tool.name, tool]));
    const found = await answers((name, values) => tools[name].invoke(values));
    await client.close();
    return { tools: Object.keys(tools), answers: found };
  },
};

const [name, server] = process.argv.slice(2);
console.log(JSON.stringify(await clients[name](JSON.parse(server))));
process.exit(0);
