/**
 * Everything that a watcher can get wrong: frames that RFC 6455 forbids, or that a stream which only sends does not take.
 */
import type { Random } from './random.ts';

export interface MalformedFrames {
  what: string;
  /** The close codes that are right (RFC 6455, section 7.4.1); none: it is for us to hang up. */
  codes: readonly number[];
  bytes: Buffer;
}

const text = 1;
const binary = 2;
const close = 8;
const ping = 9;
const pong = 10;

interface FrameParts {
  fin?: boolean;
  /** The three reserved bits. */
  reserved?: number;
  masked?: boolean;
  /** What the frame says of its length, instead of the truth. */
  claimed?: bigint;
}

/** A frame as a client sends it (RFC 6455, section 5.2), but for what `parts` say. */
function frame(
  random: Random,
  opcode: number,
  payload: Buffer | string = '',
  parts: FrameParts = {},
): Buffer {
  const { fin = true, reserved = 0, masked = true } = parts;
  const data = Buffer.from(payload);
  const length = parts.claimed ?? BigInt(data.length);
  const short = length < 126n ? Number(length) : length < 65_536n ? 126 : 127;
  const head = Buffer.from([(fin ? 0x80 : 0) | (reserved << 4) | opcode, (masked ? 0x80 : 0) | short]);
  const rest = Buffer.alloc(short === 126 ? 2 : short === 127 ? 8 : 0);
  if (short === 126) rest.writeUInt16BE(Number(length));
  if (short === 127) rest.writeBigUInt64BE(length);
  if (!masked) return Buffer.concat([head, rest, data]);
  const mask = random.bytes(4);
  return Buffer.concat([head, rest, mask, data.map((byte, at) => byte ^ (mask[at % 4] as number))]);
}

function closePayload(code: number, reason: Buffer | string = ''): Buffer {
  return Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);
}

const badUtf8 = Buffer.from([0x68, 0xff, 0xfe]);
const unfinished = { fin: false };

const noSuchCodes = [0, 999, 1004, 1005, 1006, 1015, 2000, 5000];
const farewells = [1000, 1001, 3000, 4999];

/** What is wrong, the close codes that are right, and how it is made. */
const kinds: readonly [what: string, codes: number[], make: (random: Random) => Buffer | Buffer[]][] = [
  ['a text', [1003], (random) => frame(random, text, 'hello')],
  ['a binary', [1003], (random) => frame(random, binary, random.bytes(50))],
  [
    'a text in pieces',
    [1003],
    (random) => [
      frame(random, text, 'he', unfinished),
      frame(random, 0, 'll', unfinished),
      frame(random, ping),
      frame(random, 0, 'o'),
    ],
  ],
  ['no mask', [1002], (random) => frame(random, text, 'hi', { masked: false })],
  [
    'reserved bits',
    [1002],
    (random) => frame(random, random.pick([text, binary, ping]), 'hi', { reserved: random.whole(1, 7) }),
  ],
  [
    'no such opcode',
    [1002],
    (random) => frame(random, random.pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), 'hi'),
  ],
  ['a piece of nothing', [1002], (random) => frame(random, 0, 'hi')],
  ['a text in a text', [1002], (random) => [frame(random, text, 'a', unfinished), frame(random, text, 'b')]],
  [
    'half a control frame',
    [1002],
    (random) => frame(random, random.pick([close, ping, pong]), '', unfinished),
  ],
  [
    'a long control frame',
    [1002],
    (random) => frame(random, random.pick([close, ping, pong]), random.bytes(random.whole(126, 300))),
  ],
  ['a long frame', [1009], (random) => frame(random, text, 'x'.repeat(random.whole(1025, 70_000)))],
  [
    'a boundless frame',
    [1009],
    (random) => frame(random, binary, 'x', { claimed: random.pick([2n ** 32n, 2n ** 53n, 2n ** 63n - 1n]) }),
  ],
  [
    'long pieces',
    [1009],
    (random) => [frame(random, text, 'x'.repeat(600), unfinished), frame(random, 0, 'x'.repeat(600))],
  ],
  ['a text that is not UTF-8', [1007], (random) => frame(random, text, badUtf8)],
  ['no such close code', [1002], (random) => frame(random, close, closePayload(random.pick(noSuchCodes)))],
  ['half a close code', [1002], (random) => frame(random, close, '\u0003')],
  ['a reason that is not UTF-8', [1007], (random) => frame(random, close, closePayload(1000, badUtf8))],
  ['a farewell', farewells, (random) => frame(random, close, closePayload(random.pick(farewells), 'bye'))],
  ['half a frame', [], (random) => frame(random, text, 'hello').subarray(0, random.whole(1, 9))],
  ['one piece of many', [], (random) => frame(random, text, 'a', unfinished)],
  ['many pings', [], (random) => Array.from({ length: 20 }, () => frame(random, ping, 'hi'))],
];

/** So many of all kinds, each kind as often. */
export function malformedFrames(random: Random, count: number): MalformedFrames[] {
  return Array.from({ length: count }, (_, place) => {
    const [what, codes, make] = kinds[place % kinds.length] as (typeof kinds)[number];
    const made = make(random);
    return { what, codes, bytes: Array.isArray(made) ? Buffer.concat(made) : made };
  });
}
