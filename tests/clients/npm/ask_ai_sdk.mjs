// Vercel's AI SDK with the environment that `lais connect env` prints: text, stream, a tool loop.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'

const provider = createOpenAICompatible({
  name: 'local',
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
})
const model = provider(process.env.OPENAI_MODEL)

const whole = await generateText({ model, prompt: 'Hello' })
let streamed = ''
for await (const piece of streamText({ model, prompt: 'Hello' }).textStream) streamed += piece

const asked = []
const looped = await generateText({
  model,
  prompt: 'How is the weather?',
  stopWhen: stepCountIs(3),
  tools: {
    get_weather: tool({
      description: 'The weather of a city',
      inputSchema: jsonSchema({
        type: 'object',
        properties: { city: { type: 'string' } },
        required: ['city'],
      }),
      execute: async ({ city }) => {
        asked.push(city)
        return 'sunny'
      },
    }),
  },
})
console.log(JSON.stringify({ whole: whole.text, streamed, asked, looped: looped.text }))
