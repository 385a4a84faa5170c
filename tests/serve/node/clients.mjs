// Clients for Node against the server: `node clients.mjs BASE_URL` prints one line of JSON for each client and case.
// A case is a task chain of the server's configuration, whose first model fails in one way (test_node.py).
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject, generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const baseURL = process.argv[2];
const SAY = "Say something";
const messages = [{ role: "user", content: SAY }];
const City = z.object({ city: z.string(), people: z.number() });
const Query = z.object({ query: z.string() });
const parameters = { type: "object", properties: { query: { type: "string" } }, required: ["query"] };

const openai = new OpenAI({ baseURL, apiKey: "none" });
const provider = createOpenAICompatible({ name: "fallback", baseURL, apiKey: "none", includeUsage: true, supportsStructuredOutputs: true });
const maxRetries = 0; // the chain has retried; only the openai client reads x-should-retry, so it keeps its default
const langchain = (model) => new ChatOpenAI({ model, apiKey: "none", configuration: { baseURL }, useResponsesApi: false, maxRetries });

const joined = async (pieces, text = (piece) => piece) => {
  let all = "";
  for await (const piece of pieces) all += text(piece) ?? "";
  return all;
};
const abortSoon = async (begin, next) => {
  const controller = new AbortController();
  const pieces = (await begin(controller.signal))[Symbol.asyncIterator]();
  await next(pieces);
  controller.abort();
  try {
    while (!(await pieces.next()).done);
  } catch (error) {
    return error.name;
  }
  return "ended";
};

const clients = {
  openai: {
    text: async (model) => (await openai.chat.completions.create({ model, messages })).choices[0].message.content,
    stream: async (model) =>
      joined(await openai.chat.completions.create({ model, messages, stream: true }), (chunk) => chunk.choices[0]?.delta.content),
    tools: async (model) => {
      const tools = [{ type: "function", function: { name: "look_up", parameters } }];
      const answer = await openai.chat.completions.create({ model, messages, tools });
      return answer.choices[0].message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
    },
    streamedTools: async (model) => {
      const tools = [{ type: "function", function: { name: "look_up", parameters } }];
      const answer = await openai.chat.completions.stream({ model, messages, tools }).finalChatCompletion();
      return answer.choices[0].message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
    },
    structured: async (model) =>
      (await openai.chat.completions.parse({ model, messages, response_format: zodResponseFormat(City, "city") })).choices[0].message.parsed,
    abort: async (model) =>
      abortSoon((signal) => openai.chat.completions.create({ model, messages, stream: true }, { signal }), (pieces) => pieces.next()),
  },
  ai: {
    text: async (model) => (await generateText({ maxRetries, model: provider(model), prompt: SAY })).text,
    stream: async (model) => {
      let failed;
      const text = await joined(streamText({ maxRetries, model: provider(model), prompt: SAY, onError: ({ error }) => (failed = error) }).textStream);
      if (failed) throw failed;
      return text;
    },
    tools: async (model) => {
      const tools = { look_up: tool({ inputSchema: Query }) };
      return (await generateText({ maxRetries, model: provider(model), prompt: SAY, tools })).toolCalls.map((call) => [call.toolName, call.input]);
    },
    streamedTools: async (model) => {
      const tools = { look_up: tool({ inputSchema: Query }) };
      return (await streamText({ maxRetries, model: provider(model), prompt: SAY, tools }).toolCalls).map((call) => [call.toolName, call.input]);
    },
    structured: async (model) => (await generateObject({ maxRetries, model: provider(model), prompt: SAY, schema: City })).object,
    abort: async (model) =>
      abortSoon(
        async (abortSignal) => streamText({ maxRetries, model: provider(model), prompt: SAY, abortSignal, onError: () => {} }).textStream,
        (pieces) => pieces.next(),
      ),
  },
  langchain: {
    text: async (model) => (await langchain(model).invoke(SAY)).content,
    stream: async (model) => joined(await langchain(model).stream(SAY), (chunk) => chunk.content),
    tools: async (model) => {
      const tools = [langchainTool(() => "", { name: "look_up", schema: Query })];
      return (await langchain(model).bindTools(tools).invoke(SAY)).tool_calls.map((call) => [call.name, call.args]);
    },
    streamedTools: async (model) => {
      const tools = [langchainTool(() => "", { name: "look_up", schema: Query })];
      let whole;
      for await (const chunk of await langchain(model).bindTools(tools).stream(SAY)) whole = whole ? whole.concat(chunk) : chunk;
      return whole.tool_calls.map((call) => [call.name, call.args]);
    },
    structured: async (model) => langchain(model).withStructuredOutput(City, { method: "jsonSchema" }).invoke(SAY),
    abort: async (model) => abortSoon((signal) => langchain(model).stream(SAY, { signal }), (pieces) => pieces.next()),
  },
};

// Case -> the ways to call it is called in.
const TEXTS = ["text", "stream"];
const cases = {
  healthy: TEXTS,
  before: TEXTS,
  within: TEXTS,
  after: TEXTS,
  tools: ["tools", "streamedTools"],
  structured: ["structured"],
  endless: ["abort"],
  broken: TEXTS,
  interrupted: ["stream"],
  wrong: ["text"],
};

for (const [name, ways] of Object.entries(clients)) {
  for (const [kind, how] of Object.entries(cases)) {
    for (const way of how) {
      const said = { client: name, case: kind, way };
      try {
        said.result = await ways[way](`task:${kind}`);
      } catch (error) {
        const cause = error.lastError ?? error;
        said.error = { name: error.constructor.name, status: cause.status ?? cause.statusCode ?? null, message: String(cause.message) };
      }
      console.log(JSON.stringify(said));
    }
  }
}
