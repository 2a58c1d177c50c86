// One of the two official TypeScript SDKs does the whole job over one transport; what it saw is the JSON in the last line.
//
// node mcp_client.mjs <client|sdk> <legacy|auto> <stdio|http|sse> <target as JSON: {command, args, env} or {url}>
import * as client from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as SdkClient } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport as SdkSse } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport as SdkStdio } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport as SdkHttp } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [sdk, mode, transport, json] = process.argv.slice(2);
const target = JSON.parse(json);
const about = { name: "lava-mcp-tests", version: "1" };

const kinds = {
  client: { stdio: StdioClientTransport, http: client.StreamableHTTPClientTransport, sse: client.SSEClientTransport },
  sdk: { stdio: SdkStdio, http: SdkHttp, sse: SdkSse },
}[sdk];
const mcp = sdk === "client" ? new client.Client(about, { versionNegotiation: { mode } }) : new SdkClient(about);
const pipe = transport === "stdio" ? new kinds.stdio(target) : new kinds[transport](new URL(target.url));

await mcp.connect(pipe);
const found = {
  server: mcp.getServerVersion()?.name,
  // The older SDK keeps it where only HTTP needs it.
  protocol: mcp.getNegotiatedProtocolVersion?.() ?? pipe.protocolVersion ?? null,
  instructions: mcp.getInstructions() ?? "",
  tools: (await mcp.listTools()).tools.map((tool) => tool.name),
  answers: {},
};
// Both SDKs check structured content against the tool's output schema.
const call = async (name, args) => {
  const { isError = false, structuredContent, content } = await mcp.callTool({ name, arguments: args });
  found.answers[name] = { isError, structuredContent, text: content.map((part) => part.text ?? "").join("\n") };
};
await call("login", {});
await call("search", { query: "gpt-4o-mini", kind: "model", limit: 2 });
await call("prompt", { model: "gpt-4o-mini", input: "hi" });
await call("usage", {});
await call("get_provider_docs", { provider: "no such provider" });
await mcp.close();
console.log(JSON.stringify(found));
