// The calls of the Lava SDK that go through the gateway with the secret key itself: it always presents it as a forward token, base64 over JSON.
import { Lava } from '@lavapayments/nodejs';
import { baseURL, refused, report } from './report.mjs';

const lava = new Lava(process.env.LAVA_SECRET_KEY, { baseUrl: `${baseURL}/` });
const messages = [{ role: 'user', content: 'Hello!' }];
const steps = {
  models: () => lava.models.list(),
  openai: () => lava.gateway('https://api.openai.com/v1/chat/completions', { body: { model: 'gpt-4o-mini', max_tokens: 50, messages } }),
  anthropic: () => lava.gateway('https://api.anthropic.com/v1/messages', {
    headers: { 'anthropic-version': '2023-06-01' },
    body: { model: 'claude-sonnet-4-20250514', max_tokens: 50, messages }
  }),
  // The addresses in `lava.providers` are not encoded in the query.
  providers: async () => {
    const answer = await fetch(`${lava.providers.openai}/chat/completions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${lava.generateForwardToken({ customer_id: null, meter_slug: null })}` },
      body: JSON.stringify({ model: 'gpt-4o-mini', max_tokens: 50, messages })
    });
    return answer.json();
  },
  requests: () => lava.requests.list({ limit: 5 }),
  unsupported: () => refused(() => lava.gateway('https://nobody.example/v1/chat/completions', { body: { model: 'gpt-4o-mini', messages } })),
  stranger: () => refused(() => new Lava('aks_live_unknown', { baseUrl: `${baseURL}/` })
    .gateway('https://api.openai.com/v1/chat/completions', { body: { model: 'gpt-4o-mini', messages } }))
};
// One step that fails shall not hide the others.
const found = {};
for (const [name, step] of Object.entries(steps)) {
  found[name] = await step().catch((error) => ({ failed: String(error) }));
}
report(found);
