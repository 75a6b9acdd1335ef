import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { openDatabase } from '../../src/engines/sqlite/driver.ts';
import { malformedFrames } from '../support/malformedFrames.ts';
import { malformedRequests } from '../support/malformedRequests.ts';
import { malformedUpgrades } from '../support/malformedUpgrades.ts';
import { type Random, seededRandom } from '../support/random.ts';
import { type RawAnswer, sendRaw } from '../support/rawHttp.ts';
import { RawWatcher } from '../support/rawWatcher.ts';
import { Home, type ServerProcess } from '../support/serverProcess.ts';

let random: Random;
beforeAll(() => {
  random = seededRandom('malformed');
});

/** What is wrong with how the cases were taken: a line for each, in a few lanes side by side. */
async function faultsOf<T>(
  cases: readonly T[],
  faultOf: (one: T) => Promise<string | null>,
): Promise<string[]> {
  const faults: string[] = [];
  const waiting = cases.values();
  const lane = async () => {
    for (const one of waiting) {
      const fault = await faultOf(one).catch(
        (error: Error) => `${error.message}: ${JSON.stringify(one).slice(0, 500)}`,
      );
      if (fault !== null) faults.push(fault);
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  return faults;
}

/** What is wrong with a refusal: it is to be a problem document (RFC 9457) with one of these statuses. */
function faultOfRefusal(answer: RawAnswer, statuses: readonly number[]): string | null {
  const { status, type, body } = answer;
  if (!statuses.includes(status)) return `${status} instead of ${statuses}: ${body}`;
  if (!type.startsWith('application/problem+json')) return `${status} as ${type}: ${body}`;
  const problem = JSON.parse(body) as Record<string, unknown>;
  const isWhole = ['type', 'title', 'detail'].every(
    (key) => typeof problem[key] === 'string' && problem[key] !== '',
  );
  return isWhole && problem.status === status ? null : `not a whole problem document: ${body}`;
}

function shown(parts: readonly (string | Buffer)[]): string {
  const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return JSON.stringify(bytes.toString('latin1', 0, 500));
}

/** That the server has taken no harm, and that there was never any run but the `known` ones. */
async function expectUnmoved(home: Home, server: ServerProcess, known: number): Promise<void> {
  for (const path of ['healthz', 'readyz']) expect((await fetch(`${server.url}/${path}`)).status).toBe(200);
  expect(server.log.filter(({ level }) => level !== 'info')).toEqual([]);
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  const database = openDatabase(join(home.data, 'spyglass.db'));
  const stored = database.prepare('SELECT count(*) AS count FROM runs').get()?.count;
  database.close();
  expect(stored).toBe(known);
}

test('1,500 malformed requests are each refused with a problem document, and leave no trace', async () => {
  const home = new Home();
  const server = await home.serve();
  const requests = malformedRequests(random, new URL(server.url).host, 1500);
  const faults = await faultsOf(requests, async ({ what, statuses, parts, breaksOff }) => {
    const answer = await sendRaw(server.url, { parts, fin: breaksOff });
    const fault = answer ? faultOfRefusal(answer, statuses) : breaksOff ? null : 'hung up without an answer';
    return fault && `${what}: ${fault}: ${shown(parts)}`;
  });
  expect(faults).toEqual([]);
  await expectUnmoved(home, server, 0);
}, 60_000);

test('200 malformed upgrades are each refused with a problem document', async () => {
  const home = new Home();
  const server = await home.serve();
  const { task_id: id } = await server.api.started('quick');
  const upgrades = malformedUpgrades(random, new URL(server.url).host, `/ws/lab/task/ws/${id}`, 200);
  const faults = await faultsOf(upgrades, async ({ what, text, statuses }) => {
    const answer = await sendRaw(server.url, { parts: [text] });
    const fault = answer ? faultOfRefusal(answer, statuses) : 'hung up without an answer';
    return fault && `${what}: ${fault}: ${shown([text])}`;
  });
  expect(faults).toEqual([]);
  await expectUnmoved(home, server, 1);
});

test('300 malformed frames are each answered with the close code that says why', async () => {
  const home = new Home();
  const server = await home.serve();
  const { task_id: id } = await server.api.started('endless');
  const faults = await faultsOf(malformedFrames(random, 300), async ({ what, bytes, codes }) => {
    const watcher = await new RawWatcher(`${server.ws}/ws/lab/task/ws/${id}`).open();
    watcher.read();
    watcher.socket.write(bytes);
    if (codes.length > 0) await watcher.until(() => watcher.closed !== undefined);
    watcher.socket.end();
    await watcher.ended();
    const code = watcher.closed?.code;
    return codes.length === 0 || codes.includes(code ?? 0) ? null : `${what}: ${code}: ${shown([bytes])}`;
  });
  expect(faults).toEqual([]);
  expect((await server.api.result(id)).status).toBe('Processing');
  await server.api.cancel(id);
  await expectUnmoved(home, server, 1);
}, 60_000);
