/**
 * Requests for a stream that must be refused.
 */
import type { Random } from './random.ts';

export interface MalformedUpgrade {
  what: string;
  /** The statuses that are right. */
  statuses: readonly number[];
  text: string;
}

/** What differs from a good upgrade. A header that is null is left out. */
interface Difference {
  method?: string;
  path?: string;
  headers?: Record<string, string | null>;
}

function upgrade(random: Random, host: string, { method = 'GET', path, headers }: Difference): string {
  const all: Record<string, string | null> = {
    Host: host,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': random.bytes(16).toString('base64'),
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== null);
  return [`${method} ${path} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`), '\r\n'].join(
    '\r\n',
  );
}

const badSince = ['', '-1', 'x', '1e3', '999999', '1&since=2', '1&a=b'];
const badIds = ['nobody', '%00', '__proto__', 'x'.repeat(300)];
const badTokens = ['st_nobody', '%20', 'x'.repeat(300)];
const badKeys = ['', 'short', '!'.repeat(24), 'A'.repeat(1000)];

/** What is wrong, the statuses that are right, and how it differs from an upgrade of `stream`, the path of a run's stream. */
const kinds: readonly [
  what: string,
  statuses: number[],
  make: (random: Random, stream: string) => Difference,
][] = [
  [
    'version',
    [400],
    (random) => ({ headers: { 'Sec-WebSocket-Version': random.pick(['0', '12', '14', 'x']) } }),
  ],
  ['no version', [400], () => ({ headers: { 'Sec-WebSocket-Version': null } })],
  ['key', [400], (random) => ({ headers: { 'Sec-WebSocket-Key': random.pick(badKeys) } })],
  ['no key', [400], () => ({ headers: { 'Sec-WebSocket-Key': null } })],
  [
    'protocols',
    [400],
    (random) => ({ headers: { 'Sec-WebSocket-Protocol': random.pick([',', 'a,,b', 'a, a', '"']) } }),
  ],
  ['method', [405], (random) => ({ method: random.pick(['POST', 'PUT', 'DELETE']) })],
  [
    'origin',
    [403],
    (random) => ({ headers: { Origin: random.pick(['https://evil.example', 'null', 'file://']) } }),
  ],
  ['site', [403], () => ({ headers: { 'Sec-Fetch-Site': 'cross-site' } })],
  ['host', [400, 403], (random) => ({ headers: { Host: random.pick(['evil.example', '', 'a b']) } })],
  ['since', [400], (random, stream) => ({ path: `${stream}?since=${random.pick(badSince)}` })],
  ['run', [404], (random, stream) => ({ path: stream.replace(/[^/]+$/, random.pick(badIds)) })],
  ['token', [401], (random) => ({ path: `/ws/lab/tasks/${random.pick(badTokens)}` })],
  ['state', [404], (_random, stream) => ({ path: stream.replace('/lab/', '/nowhere/') })],
  ['route', [404], (random) => ({ path: random.pick(['/healthz', '/api/tasks', '/docs/json', '/nothing']) })],
  ['no upgrade at all', [426], () => ({ headers: { Upgrade: null, Connection: null } })],
];

/** So many of all kinds, each kind as often. */
export function malformedUpgrades(
  random: Random,
  host: string,
  stream: string,
  count: number,
): MalformedUpgrade[] {
  return Array.from({ length: count }, (_, place) => {
    const [what, statuses, make] = kinds[place % kinds.length] as (typeof kinds)[number];
    return { what, statuses, text: upgrade(random, host, { path: stream, ...make(random, stream) }) };
  });
}
