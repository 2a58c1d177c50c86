// One question with an official SDK as it comes: node ask.mjs openai|anthropic plain|stream '{"model": …}' [max retries]
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import { baseURL, report, root } from './report.mjs';

const [sdk, how, body, maxRetries] = process.argv.slice(2);
const apiKey = process.env.SPEND_KEY;
const request = { messages: [{ role: 'user', content: 'Hello!' }], max_tokens: 100, ...JSON.parse(body) };
const options = maxRetries === undefined ? {} : { maxRetries: Number(maxRetries) };

const ways = {
  openai: {
    async plain() {
      const answer = await new OpenAI({ apiKey, baseURL, ...options }).chat.completions.create(request);
      const { prompt_tokens: input, completion_tokens: output } = answer.usage;
      return { text: answer.choices[0].message.content, pieces: 1, input, output };
    },
    async stream() {
      const stream = await new OpenAI({ apiKey, baseURL, ...options }).chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
      const found = { text: '', pieces: 0 };
      for await (const chunk of stream) {
        const piece = chunk.choices[0]?.delta.content;
        if (piece) { found.text += piece; found.pieces++; }
        if (chunk.usage) { found.input = chunk.usage.prompt_tokens; found.output = chunk.usage.completion_tokens; }
      }
      return found;
    }
  },
  anthropic: {
    async plain() {
      const answer = await new Anthropic({ apiKey, baseURL: root, ...options }).messages.create(request);
      const { input_tokens: input, output_tokens: output } = answer.usage;
      return { text: answer.content[0].text, pieces: 1, input, output };
    },
    async stream() {
      const found = { pieces: 0 };
      const stream = new Anthropic({ apiKey, baseURL: root, ...options }).messages.stream(request).on('text', () => found.pieces++);
      const answer = await stream.finalMessage();
      const { input_tokens: input, output_tokens: output } = answer.usage;
      return { ...found, text: answer.content[0].text, input, output };
    }
  }
};

try {
  report(await ways[sdk][how]());
} catch (error) {
  // Anthropic's SDK keeps the whole body, OpenAI's what is in its `error`.
  const inner = sdk === 'anthropic' ? error.error?.error : error.error;
  report({ status: error.status, code: inner?.code, type: inner?.type, message: error.message });
}
