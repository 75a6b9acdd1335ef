/**
 * Which form of an answer its caller wants (RFC 9110, section 12.5.1).
 */
import type { FastifyRequest } from 'fastify';

/**
 * Whether the caller names the media type and wants it more than JSON. Who takes anything, or says nothing, gets JSON; so does
 * who would take neither, which is more use than a refusal.
 */
export function prefers(request: FastifyRequest, mediaType: string): boolean {
  const { accept } = request.headers;
  if (accept === undefined || accept === '*/*' || accept === 'application/json') return false;
  const ranges = accept.toLowerCase().split(',').map(parseRange);
  const named = ranges.find(({ range }) => range === mediaType);
  if (!named) return false;
  const json = ['application/json', 'application/*', '*/*'].flatMap((range) =>
    ranges.filter((each) => each.range === range),
  );
  return named.quality > (json[0]?.quality ?? 0);
}

function parseRange(text: string): { range: string; quality: number } {
  const [range = '', ...parameters] = text.split(';').map((part) => part.trim());
  const quality = parameters.map((parameter) => /^q\s*=\s*([\d.]{1,5})$/.exec(parameter)?.[1]).find(Boolean);
  return { range, quality: quality === undefined ? 1 : Number(quality) || 0 };
}
