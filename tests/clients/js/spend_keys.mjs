// What the page says in its table of options, and what goes wrong: every option, pages of a list, errors.
import { Lava } from '@lavapayments/nodejs';
import { baseURL, refused, report } from './report.mjs';

const connect = (key) => new Lava(key, { baseUrl: `${baseURL}/` });
const lava = connect(process.env.LAVA_SECRET_KEY);

const options = {
  name: 'every option',
  status: 'paused',
  request_shape: 'anthropic',
  allowed_models: ['claude-sonnet-4-20250514'],
  allowed_providers: ['anthropic'],
  spend_limit: { amount: '0.50', cycle: 'daily' },
  request_limit: { count: 100, cycle: 'weekly' },
  rate_limit: { rpm: 60, burst: 5 },
  expires_at: '2126-01-31T00:00:00Z'
};
const created = await lava.spendKeys.create(options);
const lifted = await lava.spendKeys.update(created.spend_key_id, {
  status: 'active', request_shape: 'openai', allowed_models: null, allowed_providers: null, spend_limit: null, request_limit: null, rate_limit: null,
  expires_at: null
});
const totals = [];
for (const cycle of ['weekly', 'monthly', 'total']) {
  totals.push((await lava.spendKeys.update(created.spend_key_id, { spend_limit: { amount: '1', cycle } })).spend_limit);
}

for (let number = 0; number < 11; number++) {
  await lava.spendKeys.create({ name: `key ${number}` });
}
const first = await lava.spendKeys.list();
const second = await lava.spendKeys.list({ cursor: first.next_cursor, limit: 100 });

const message = async (attempt) => (await refused(attempt)).message;
report({
  options, created, lifted, totals, first, second,
  errors: {
    field: await message(() => lava.spendKeys.create({ name: 'x', spend_limit: { amount: '5', cycle: 'hourly' } })),
    name: await message(() => lava.spendKeys.create({})),
    unknown: await message(() => lava.spendKeys.retrieve('spk_unknown')),
    key: await message(() => connect('aks_live_unknown').spendKeys.list()),
    spendKey: await message(() => connect(created.key).spendKeys.list())
  }
});
