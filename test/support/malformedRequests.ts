/**
 * Requests that a server must refuse, by the thousand: bad bodies, and whatever else a client can get wrong around them.
 */
import {
  bodyForNothing,
  boundlessNumbers,
  brokenJson,
  deepJson,
  goodBody,
  invalidUtf8,
  prototypeKeys,
  tooLarge,
  wrongValue,
} from './malformedBodies.ts';
import type { Random } from './random.ts';

export interface MalformedRequest {
  what: string;
  /** The statuses that are right. */
  statuses: readonly number[];
  /** Written one after the other. */
  parts: readonly (string | Buffer)[];
  /** It breaks off there, and our half of the connection is closed: hanging up without an answer is right, too. */
  breaksOff: boolean;
}

const start = '/api/lab/task/start';
const mirror = `${start}/mirror`;

interface Envelope {
  path?: string;
  host?: string;
  headers?: readonly string[];
  /** null: none is sent. */
  type?: string | null;
}

/** A start that is right but for what it is given. */
function post(host: string, body: string | Buffer, envelope: Envelope = {}): Buffer {
  const { path = mirror, headers = [], type = 'application/json' } = envelope;
  const lines = [
    `POST ${path} HTTP/1.1`,
    `Host: ${envelope.host ?? host}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(type === null ? [] : [`Content-Type: ${type}`]),
    ...headers,
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body)]);
}

/** The beginning of a start whose body comes in chunks. */
function chunked(host: string): string {
  const type = 'Content-Type: application/json';
  return `POST ${mirror} HTTP/1.1\r\nHost: ${host}\r\n${type}\r\nTransfer-Encoding: chunked\r\n\r\n`;
}

/** A start with a length of our choice. */
function lengthy(host: string, length: string, body: string): string {
  const type = 'Content-Type: application/json';
  return `POST ${mirror} HTTP/1.1\r\nHost: ${host}\r\n${type}\r\nContent-Length: ${length}\r\n\r\n${body}`;
}

const wrongTypes = [
  null,
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/json; charset=latin1',
  'application/json; charset=utf-16',
  'application/vnd.api+json',
  'application/json2',
  'json',
  '/',
  ';;;',
  'é',
  'application/json, text/plain',
];

const badChunks = [
  'zz\r\n{}\r\n0\r\n\r\n',
  '-1\r\n{}\r\n0\r\n\r\n',
  '2\r\n{}X\r\n0\r\n\r\n',
  'fffffffffffffffff\r\n{}\r\n',
  '2{}\r\n0\r\n\r\n',
  '\r\n\r\n',
  `2;${'x'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
  '1\r\n{\r\n0\r\n\r\n',
  '2\r\n{}\r\n0\r\nBad Trailer\r\n\r\n',
];

function badHead(random: Random, host: string): string {
  return random.pick([
    `post ${mirror} HTTP/1.1\r\nHost: ${host}`,
    `POST ${mirror} HTTP/9.9\r\nHost: ${host}`,
    `POST ${mirror}\r\nHost: ${host}`,
    `POST ${mirror} HTTP/1.1\r\nHost: ${host}\r\nBad Header: x`,
    `POST ${mirror} HTTP/1.1\r\nHost: ${host}\r\nX: a\u0000b`,
    `POST ${mirror} HTTP/1.1\r\nHost: ${host}\r\n: empty`,
    `POST ${mirror} HTTP/1.1`,
    `POST ${mirror} HTTP/1.1\r\nHost:`,
    `POST ${mirror} HTTP/1.1\r\nHost: a b`,
    `POST ${mirror}\u0000 HTTP/1.1\r\nHost: ${host}`,
    `BREW /pot HTTP/1.1\r\nHost: ${host}`,
    'PRI * HTTP/2.0\r\n\r\nSM',
    random
      .bytes(30)
      .toString('latin1')
      .replace(/[\r\n]/g, ' '),
  ]);
}

function nowhere(random: Random): string {
  return random.pick([
    `${mirror}%`,
    `${mirror}%ff`,
    `${mirror}?a=1`,
    `${mirror}?text=x&text=y`,
    `${mirror}/`,
    `${start}/__proto__`,
    `${start}/toString`,
    mirror.replace('lab', 'constructor'),
    mirror.replace('lab', '%00'),
    mirror.replace('lab', 'x'.repeat(5000)),
    mirror.replace('/task/', '/tasks/st_nobody/'),
    mirror.replace('/task/', `/tasks/${'%F0%9F%98%80'.repeat(20)}/`),
    mirror.replace('start', '..%2f..'),
    '//',
    '/api//task/start/mirror',
    '*',
  ]);
}

function foreign(random: Random, host: string): Buffer {
  const envelope = random.pick<Envelope>([
    { host: 'evil.example' },
    { host: `127.0.0.1.evil.example` },
    { headers: ['Origin: https://evil.example'] },
    { headers: ['Origin: null'] },
    { headers: ['Sec-Fetch-Site: cross-site'] },
  ]);
  return post(host, goodBody, envelope);
}

function contradiction(random: Random, host: string): string | Buffer {
  return random.pick([
    post(host, '{}', { headers: ['Content-Length: 3'] }),
    post(host, '{}', { headers: ['Transfer-Encoding: chunked'] }),
    post(host, '{}', { headers: ['Transfer-Encoding: gzip'] }),
    lengthy(host, random.pick(['-1', '+2', '2, 3', '0x2', 'two', '2 2', '']), '{}'),
  ]);
}

/** One that looks at its input, or one that takes whatever it gets. */
function anyTask(random: Random): string {
  return random.pick([mirror, `${start}/anything`]);
}

type Maker = (random: Random, host: string) => string | Buffer | (string | Buffer)[];

/** What is wrong, the statuses that are right, how many of a thousand are so, and how one is made. */
const kinds: readonly [what: string, statuses: number[], share: number, make: Maker][] = [
  ['broken JSON', [400], 220, (random, host) => post(host, brokenJson(random))],
  ['a wrong value', [400], 140, (random, host) => post(host, wrongValue(random))],
  ['deep JSON', [400], 60, (random, host) => post(host, deepJson(random), { path: anyTask(random) })],
  [
    'prototype keys',
    [400],
    60,
    (random, host) => post(host, prototypeKeys(random), { path: anyTask(random) }),
  ],
  ['invalid UTF-8', [400], 40, (random, host) => post(host, invalidUtf8(random))],
  [
    'boundless numbers',
    [400],
    30,
    (random, host) => post(host, boundlessNumbers(random), { path: `${start}/brief` }),
  ],
  [
    'input for none',
    [400],
    40,
    (random, host) => post(host, bodyForNothing(random), { path: `${start}/quick` }),
  ],
  ['no input', [400], 12, (_random, host) => post(host, '')],
  ['a wrong type', [415], 60, (random, host) => post(host, goodBody, { type: random.pick(wrongTypes) })],
  [
    'a compressed body',
    [415],
    20,
    (random, host) => {
      const encoding = random.pick(['gzip', 'br', 'deflate', 'x', 'identity, gzip']);
      return post(host, random.bytes(40), { headers: [`Content-Encoding: ${encoding}`] });
    },
  ],
  ['a large body', [413], 12, (random, host) => post(host, tooLarge(random))],
  [
    'a large body in chunks',
    [413],
    12,
    (random, host) => [
      chunked(host),
      ...Array(random.whole(17, 20)).fill(`10000\r\n${' '.repeat(65_536)}\r\n`),
    ],
  ],
  [
    'a boundless body',
    [413],
    20,
    (random, host) => lengthy(host, random.pick(['1048577', '999999999999999', '18446744073709551615']), '{'),
  ],
  ['bad chunks', [400, 413], 60, (random, host) => chunked(host) + random.pick(badChunks)],
  ['lengths that contradict', [400], 40, contradiction],
  ['a bad head', [400], 40, (random, host) => Buffer.from(`${badHead(random, host)}\r\n\r\n`, 'latin1')],
  [
    'a boundless head',
    [431],
    10,
    (_random, host) => [post(host, '').subarray(0, -2), `X: ${'y'.repeat(20_000)}\r\n`],
  ],
  [
    'a boundless address',
    [431],
    10,
    (_random, host) => post(host, goodBody, { path: `/${'q'.repeat(20_000)}` }),
  ],
  ['a foreign host or origin', [403], 20, foreign],
  [
    'an address that is none',
    [400, 401, 404],
    60,
    (random, host) => post(host, goodBody, { path: nowhere(random) }),
  ],
  [
    'a request that breaks off',
    [400],
    24,
    (random, host) => post(host, goodBody).subarray(0, random.whole(1, 120)),
  ],
  ['a body that breaks off', [400], 10, (_random, host) => `${chunked(host)}10\r\n{"text":`],
];

/** So many requests of all kinds, in no order. */
export function malformedRequests(random: Random, host: string, count: number): MalformedRequest[] {
  const lots = kinds.flatMap((kind) => Array<typeof kind>(kind[2]).fill(kind));
  return Array.from({ length: count }, () => {
    const [what, statuses, , make] = random.pick(lots);
    const made = make(random, host);
    return {
      what,
      statuses,
      parts: Array.isArray(made) ? made : [made],
      breaksOff: what.endsWith('breaks off'),
    };
  });
}
