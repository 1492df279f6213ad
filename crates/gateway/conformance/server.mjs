// The tools that the conformance suite calls, as an MCP server of their own (@modelcontextprotocol/server) on standard input and
// output: the gateway takes them in by the pack `suite`.
import { McpServer } from "@modelcontextprotocol/server";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";

const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
const wav = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA==";
const text = (text) => ({ type: "text", text });
const image = { type: "image", data: png, mimeType: "image/png" };
const resource = (uri, mimeType, text) => ({ type: "resource", resource: { uri, mimeType, text } });
const answers = {
  test_simple_text: [text("This is a simple text response for testing.")],
  test_image_content: [image],
  test_audio_content: [{ type: "audio", data: wav, mimeType: "audio/wav" }],
  test_embedded_resource: [
    resource("test://embedded-resource", "text/plain", "This is an embedded resource content."),
  ],
  test_multiple_content_types: [
    text("Multiple content types test:"),
    image,
    resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
  ],
};

const server = new McpServer({ name: "suite", version: "1" });
for (const [name, content] of Object.entries(answers)) {
  server.registerTool(name, { description: `answers with ${content.map(({ type }) => type).join(", ")}` }, async () => ({
    content,
  }));
}
server.registerTool("test_error_handling", { description: "fails" }, async () => ({
  isError: true,
  content: [text("This tool intentionally returns an error for testing")],
}));
server.registerTool("test_tool_with_progress", { description: "tells how it goes" }, async (context) => {
  const progressToken = context.mcpReq._meta?.progressToken;
  for (const progress of [0, 50, 100]) {
    if (progressToken !== undefined) {
      const params = { progressToken, progress, total: 100 };
      await context.mcpReq.notify({ method: "notifications/progress", params });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { content: [text("done")] };
});
await server.connect(new StdioServerTransport());
