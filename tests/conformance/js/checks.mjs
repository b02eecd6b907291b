// The JavaScript SDKs against one server: node checks.mjs URL EMBED_URL prints {"name": "ok" | "what differs"}.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, streamText, stepCountIs, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const [, , url, embedUrl] = process.argv;
const key = "sk-placeholder";
const model = "local-chat";
const HELLO = "Hello from the scripted model.";
const SUNNY = "It is sunny in Seoul, 21 degrees.";
const GOES_ON = " and so the text goes on.";
const user = (content) => [{ role: "user", content }];

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: null, authToken: key, maxRetries: 0 });
const viaResponses = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const viaMessages = createAnthropic({ baseURL: `${url}/v1`, apiKey: key });
const compatible = createOpenAICompatible({
  name: "local", baseURL: `${url}/v1`, apiKey: key, includeUsage: true, supportsStructuredOutputs: true,
});

const parameters = {
  type: "object", properties: { city: { type: "string" } }, required: ["city"],
  additionalProperties: false,
};
const weather = { type: "function", function: { name: "get_weather", parameters } };
const aiTools = {
  get_weather: tool({
    description: "The weather in a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  }),
};
const quiet = { maxRetries: 0, onError: () => {} };

async function steps(languageModel, streamed) {
  const request = {
    model: languageModel, prompt: "weather", tools: aiTools, stopWhen: stepCountIs(3),
    maxOutputTokens: 100, ...quiet,
  };
  if (!streamed) return (await generateText(request)).text;
  return await streamText(request).text;
}

const checks = {
  "openai: chat streamed": async () => {
    const runner = openai.chat.completions.stream({ model, messages: user("hi") });
    assert.equal(await runner.finalContent(), HELLO);
  },
  "openai: chat tool call streamed": async () => {
    const runner = openai.chat.completions.stream({ model, messages: user("weather"), tools: [weather] });
    const call = await runner.finalFunctionToolCall();
    assert.deepEqual(JSON.parse(call.arguments), { city: "Seoul" });
  },
  "openai: completions streamed": async () => {
    let text = "";
    const stream = await openai.completions.create({ model, prompt: "Once", max_tokens: 20, stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.text;
    assert.equal(text, GOES_ON);
  },
  "openai: responses streamed": async () => {
    const stream = openai.responses.stream({ model, input: "hi" });
    assert.equal((await stream.finalResponse()).output_text, HELLO);
  },
  "openai: responses tool call streamed": async () => {
    const tools = [{ type: "function", name: "get_weather", parameters, strict: true }];
    const stream = openai.responses.stream({ model, input: "weather", tools });
    const [call] = (await stream.finalResponse()).output;
    assert.deepEqual([call.type, JSON.parse(call.arguments)], ["function_call", { city: "Seoul" }]);
  },
  "openai: embeddings": async () => {
    const embedder = new OpenAI({ baseURL: `${embedUrl}/v1`, apiKey: key, maxRetries: 0 });
    const said = await embedder.embeddings.create({ model: "local-embed", input: "a" });
    assert.ok(Array.isArray(said.data[0].embedding) && said.data[0].embedding.length > 8);
  },
  "openai: unknown model is NotFoundError": async () => {
    await assert.rejects(
      openai.chat.completions.create({ model: "nobody", messages: user("hi") }), OpenAI.NotFoundError,
    );
  },
  "openai: overflow has its code": async () => {
    const long = "hello ".repeat(25000);
    await assert.rejects(openai.chat.completions.create({ model, messages: user(long) }), (error) => {
      assert.equal(error.code, "context_length_exceeded");
      return true;
    });
  },
  "anthropic: messages streamed": async () => {
    const stream = anthropic.messages.stream({ model, max_tokens: 60, messages: user("hi") });
    assert.equal(await stream.finalText(), HELLO);
  },
  "anthropic: tool use streamed": async () => {
    const tools = [{ name: "get_weather", input_schema: parameters }];
    const stream = anthropic.messages.stream({ model, max_tokens: 60, messages: user("weather"), tools });
    const { content } = await stream.finalMessage();
    assert.deepEqual(content.at(-1).input, { city: "Seoul" });
  },
  "anthropic: counted tokens": async () => {
    const said = await anthropic.messages.countTokens({ model, messages: user("hi") });
    assert.ok(said.input_tokens > 1);
  },
};

for (const [name, languageModel] of Object.entries({
  "ai, chat": compatible(model),
  "ai, responses": viaResponses.responses(model),
  "ai, messages": viaMessages(model),
})) {
  checks[`${name}: text`] = async () => {
    const said = await generateText({ model: languageModel, prompt: "hi", maxOutputTokens: 100, ...quiet });
    assert.equal(said.text, HELLO);
  };
  checks[`${name}: text streamed`] = async () => {
    const said = streamText({ model: languageModel, prompt: "hi", maxOutputTokens: 100, ...quiet });
    assert.equal(await said.text, HELLO);
    assert.ok((await said.usage).totalTokens > 0, "no usage");
  };
  checks[`${name}: tool, result, text`] = async () => assert.equal(await steps(languageModel, false), SUNNY);
  checks[`${name}: tool, result, text streamed`] = async () =>
    assert.equal(await steps(languageModel, true), SUNNY);
}
for (const [name, languageModel] of Object.entries({
  "ai, chat": compatible(model),
  "ai, responses": viaResponses.responses(model),
})) {
  checks[`${name}: object`] = async () => {
    const schema = z.object({ answer: z.number().int() });
    const said = await generateObject({ model: languageModel, prompt: "as JSON", schema, maxRetries: 0 });
    assert.deepEqual(said.object, { answer: 42 });
  };
}
checks["ai, completions: text streamed"] = async () => {
  const said = streamText({
    model: compatible.completionModel(model), prompt: "Once", maxOutputTokens: 20, ...quiet,
  });
  assert.equal(await said.text, GOES_ON);
};

const found = {};
for (const [name, run] of Object.entries(checks)) {
  try {
    await run();
    found[name] = "ok";
  } catch (error) {
    const status = error.statusCode ?? error.status ?? "";
    const kind = error.name === "Error" ? error.constructor.name : error.name;
    found[name] = error.code === "ERR_ASSERTION" ? "another answer" : `${kind} ${status}`.trim();
    if (process.env.VERBOSE) console.error(name, error);
  }
}
console.log(JSON.stringify(found));
process.exit(0);
