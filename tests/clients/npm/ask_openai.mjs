// OpenAI's own library with the environment that `lais connect env` prints.
import OpenAI from 'openai'

const client = new OpenAI()
const model = process.env.OPENAI_MODEL
const messages = [{ role: 'user', content: 'Hello' }]

const answer = await client.chat.completions.create({ model, messages })
const whole = answer.choices[0].message.content
let streamed = ''
const stream = await client.chat.completions.create({ model, messages, stream: true })
for await (const chunk of stream) streamed += chunk.choices[0]?.delta?.content ?? ''

const asked = []
const runner = client.chat.completions.runTools({
  model,
  messages: [{ role: 'user', content: 'How is the weather?' }],
  tools: [
    {
      type: 'function',
      function: {
        name: 'get_weather',
        description: 'The weather of a city',
        parse: JSON.parse,
        parameters: {
          type: 'object',
          properties: { city: { type: 'string' } },
          required: ['city'],
        },
        function: ({ city }) => {
          asked.push(city)
          return 'sunny'
        },
      },
    },
  ],
})
const looped = await runner.finalContent()
console.log(JSON.stringify({ whole, streamed, asked, looped }))
