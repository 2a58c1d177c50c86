// The login of Lava's SDK as its README shows it, and a first use of what it brought.
import { Lava } from '@lavapayments/nodejs';
import { baseURL, report, root } from './report.mjs';

try {
  const credentials = await Lava.login({ baseUrl: root });
  const lava = new Lava(credentials.secret_key, { baseUrl: `${baseURL}/` });
  const created = await lava.spendKeys.create({ name: 'after a login', spend_limit: { amount: '1.00', cycle: 'daily' } });
  report({ credentials, created, listed: (await lava.spendKeys.list()).data });
} catch (error) {
  report({ failed: error.message });
}
