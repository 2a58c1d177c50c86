// What the scripts here share: the addresses a test hands over, and how its findings get back.

// The base URL as the Lava and OpenAI SDKs take it; Anthropic's takes the root.
export const root = process.env.GATEWAY_ROOT;
export const baseURL = `${root}/v1`;

/** Prints what was found: the last line of the output, which the test reads. */
export function report(found) {
  console.log(JSON.stringify(found));
}

/** An error as a caller sees it. Nothing else may come out of `attempt`. */
export async function refused(attempt) {
  try {
    await attempt();
  } catch (error) {
    return { status: error.status, code: error.code, type: error.type, message: error.message, body: error.error };
  }
  throw new Error('this should have been refused');
}
