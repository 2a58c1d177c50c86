// Lava's page "Manage AI Spend & API Keys", snippet by snippet. Only the base URLs are ours.
import { Lava } from '@lavapayments/nodejs';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import { baseURL, refused, report, root } from './report.mjs';

const lava = new Lava(process.env.LAVA_SECRET_KEY, { baseUrl: `${baseURL}/` });

// Create a Spend Key
const spendKey = await lava.spendKeys.create({
  name: 'Agent - Production',
  allowed_providers: ['openai', 'anthropic'],
  allowed_models: ['gpt-4o-mini', 'claude-sonnet-4-20250514'],
  spend_limit: {
    amount: '50.00',
    cycle: 'monthly'
  },
  rate_limit: {
    rpm: 60
  }
});

console.log('Spend key:', spendKey.key);
console.log('Key ID:', spendKey.spend_key_id);

// With the OpenAI SDK
const openai = new OpenAI({
  apiKey: spendKey.key,
  baseURL
});

const completion = await openai.chat.completions.create({
  model: 'gpt-4o-mini',
  messages: [{ role: 'user', content: 'Hello!' }]
});

// With the Anthropic SDK
const anthropicKey = await lava.spendKeys.create({
  name: 'Agent - Anthropic',
  request_shape: 'anthropic',
  allowed_providers: ['anthropic'],
  spend_limit: { amount: '100.00', cycle: 'monthly' }
});

let message, anthropicError;
try {
  const anthropic = new Anthropic({
    apiKey: anthropicKey.key,
    baseURL: root  // No /v1 — Anthropic SDK appends it
  });

  message = await anthropic.messages.create({
    model: 'claude-sonnet-4-20250514',
    max_tokens: 1024,
    messages: [{ role: 'user', content: 'Hello!' }]
  });
} catch (error) {
  // The rest of the page is still to be seen.
  anthropicError = String(error);
}

// Update a Spend Key
const updated = await lava.spendKeys.update(spendKey.spend_key_id, {
  allowed_models: ['gpt-4o-mini'],  // Restrict to a cheaper model
  spend_limit: { amount: '100.00', cycle: 'monthly' }  // Increase limit
});
const ask = (apiKey, model) => new OpenAI({ apiKey, baseURL }).chat.completions.create({ model, messages: [{ role: 'user', content: 'Hello!' }] });
const restricted = await refused(() => ask(spendKey.key, 'claude-sonnet-4-20250514'));

// Rotate a Key
const rotated = await lava.spendKeys.rotate(spendKey.spend_key_id);
console.log('New key:', rotated.key);  // Full key, shown once
const oldKey = await refused(() => ask(spendKey.key, 'gpt-4o-mini'));
const withNewKey = await ask(rotated.key, 'gpt-4o-mini');

// Monitor Spend
const keys = await lava.spendKeys.list();

for (const key of keys.data) {
  console.log(`${key.name}: $${key.current_spend} spent (limit: $${key.spend_limit?.amount ?? 'none'})`);
  console.log(`  ${key.current_requests} requests, last used: ${key.last_used_at ?? 'never'}`);
}
const retrieved = await lava.spendKeys.retrieve(spendKey.spend_key_id);

// Revoke a Key
const revoked = await lava.spendKeys.revoke(spendKey.spend_key_id);
const revokedKey = await refused(() => ask(rotated.key, 'gpt-4o-mini'));
const afterRevoking = await lava.spendKeys.list();

report({
  spendKey, completion, anthropicKey, message, anthropicError, updated, restricted, rotated, oldKey, withNewKey, keys, retrieved, revoked, revokedKey,
  afterRevoking
});
