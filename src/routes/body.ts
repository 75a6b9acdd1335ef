/**
 * Request bodies: JSON, or nothing.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RequestError, shown } from '../errors.ts';
import { parseBody } from '../json.ts';

export const bodyLimitBytes = 1024 * 1024;

/** Makes the error that says that no body is taken here: to one of another type, JSON would be bad advice. */
export type BodyRefusal = () => RequestError;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set for the routes that read the bytes of their body themselves. */
    readsBytes?: boolean;
  }
  interface FastifyRequest {
    /** What any body is answered with; null where one is taken. Set by `checkBodyType`. */
    bodyRefusal: BodyRefusal | null;
  }
}

/** After this, `request.body` is a `JsonBody`, or undefined when nothing was sent; bytes where the route reads them itself. */
export function readJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.decorateRequest('bodyRefusal', null);
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    const type = request.headers['content-type'];
    if (bytes.length > 0 && type !== 'application/json' && !isJson(type)) throw notJson(request);
    done(null, request.routeOptions.config.readsBytes ? bytes : parseBody(bytes as Buffer));
  });
  // Any other type is fine as long as it is the type of nothing, which a chunked body shows only when it is read.
  app.addContentTypeParser('*', (request, payload, done) => {
    payload.once('readable', () => {
      if (payload.read() === null) done(null, undefined);
      else done(notJson(request));
    });
  });
}

/**
 * Throws a 415 for a body that is not plain JSON in UTF-8, as far as its headers tell: before any of it is read. Where no body is
 * taken, it throws the `refusal` instead; a body of JSON is left to the route, which has more important things to say before.
 */
export function checkBodyType(request: FastifyRequest, refusal: BodyRefusal | null): void {
  request.bodyRefusal = refusal;
  const { headers } = request;
  const { 'content-type': type, 'content-encoding': encoding } = headers;
  if (type === 'application/json' && encoding === undefined) return;
  const length = Number(headers['content-length'] ?? 0);
  if (length === 0 && headers['transfer-encoding'] === undefined) return;
  if (encoding !== undefined && encoding !== 'identity') {
    if (refusal && length > 0) throw refusal();
    const detail = `A body with Content-Encoding ${shown(encoding)} is not read. Send it without.`;
    throw new RequestError('unsupported-media-type', detail, { headers: { 'accept-encoding': 'identity' } });
  }
  if (length > 0 && !isJson(type)) throw notJson(request);
}

/** `application/json`, whose only encoding is UTF-8 (RFC 8259, section 8.1). Types that end in `+json` mean more than JSON. */
function isJson(type: string | undefined): boolean {
  const [mediaType, ...parameters] = (type ?? '').toLowerCase().split(';');
  if (mediaType?.trim() !== 'application/json') return false;
  return parameters.every((parameter) => {
    const [name, value = ''] = parameter.split('=');
    return name?.trim() !== 'charset' || /^\s*"?utf-?8"?\s*$/.test(value);
  });
}

function notJson({ headers: { 'content-type': type }, bodyRefusal }: FastifyRequest): RequestError {
  if (bodyRefusal) return bodyRefusal();
  const found = type === undefined ? 'has no Content-Type' : `is ${shown(type)}`;
  return new RequestError(
    'unsupported-media-type',
    `The body ${found}. Send JSON, encoded as UTF-8, with the header "Content-Type: application/json".`,
  );
}
