// A headless Chromium in the hand of a test: reads one step a line, as JSON, and answers each with what a person would then see.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [profile, executablePath] = process.argv.slice(2);
const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'
];
const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args, timeout: 30_000 });
context.setDefaultTimeout(10_000);
let page = await context.newPage();
let seen = { requests: [], complaints: [] };
context.on('request', (request) => seen.requests.push(request.url()));
context.on('console', (message) => seen.complaints.push(message.text()));

const steps = {
  open: ({ url }) => page.goto(url),
  fill: async ({ label, text }) => void await page.getByLabel(label, { exact: true }).fill(text),
  // What the page leads to is part of the step; where it leads nowhere, the step fails.
  press: async ({ name, key }) => {
    const button = page.getByRole('button', { name, exact: true }).or(page.getByRole('link', { name, exact: true }));
    const [answer] = await Promise.all([page.waitForNavigation(), key ? page.keyboard.press(key) : button.click()]);
    return answer;
  },
  // A fresh tab, as when a person starts anew.
  tab: async () => {
    await page.close();
    page = await context.newPage();
    seen = { requests: [], complaints: [] };
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  const step = JSON.parse(line);
  let status = null;
  let failed = null;
  try {
    status = (await steps[step.do](step))?.status() ?? null;
  } catch (error) {
    failed = error.message;
  }
  // A browser's own page about an address that does not answer cannot be read.
  const text = await page.locator('body').innerText({ timeout: 2_000 }).catch(() => null);
  const frames = page.frames().slice(1).map((frame) => frame.url());
  console.log(JSON.stringify({ url: page.url(), title: await page.title(), status, failed, text, frames, ...seen }));
}
await context.close();
